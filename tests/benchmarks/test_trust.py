"""Cases of the verdict: failures change the data as described, and fit and test share no subject."""

from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from trust import METHODS, area_under_curve, fit_plans, held_out_plans
from trust_cases import (
    CHECKED,
    CLINICAL,
    FAILURES,
    USUAL,
    VARIED,
    Anatomy,
    Plan,
    is_applicable,
    make_case,
    phantoms,
    plan_cases,
    wrap_ratio_of,
)
from trust_measure import measure_all, methods_of

from cinerecon.metrics.temporal import phase_change
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.operators import Encoding
from cinerecon.reconstruction.trust.calibration import CAUSES

CINES = Path(__file__).parents[2] / "../shared/cines"
PHANTOM = Anatomy("phantom 5", None, 5)


def seed_for(kind):
    return next(
        seed
        for seed in range(100)
        if is_applicable(Plan(PHANTOM, kind, seed)) and is_applicable(Plan(PHANTOM, "coil maps", seed))
    )


def test_sets_share_no_subject():
    if not CINES.is_dir():
        pytest.skip("measured cines are not here")
    fitted, tests = fit_plans(CINES / "train"), held_out_plans(CINES / "report", CINES.parent / "real")
    fitted_subjects, tested_subjects = (
        {plan.anatomy.subject for plan in plans} for plans in (fitted, chain.from_iterable(tests.values()))
    )
    assert not fitted_subjects & tested_subjects
    assert {plan.kind for plan in tests["trust"]} == set(FAILURES) - {"displaced maps"}


def test_every_failure_has_a_name_for_readers():
    assert set(CAUSES) == set(FAILURES) - {"intact"}


def test_kinds_found_by_checks_alone_are_tested_and_not_fitted():
    if not CINES.is_dir():
        pytest.skip("measured cines are not here")
    plans = fit_plans(CINES / "train")
    assert len({plan.name for plan in plans}) == len(plans)
    assert {plan.kind for plan in plans} == set(FAILURES) - set(CHECKED)


def test_every_failure_has_its_twin():
    plans = plan_cases(phantoms(range(20)), 40, 3, seed=1)
    names = {plan.name for plan in plans}
    assert len(names) == len(plans)
    assert all(Plan(plan.anatomy, "intact", plan.seed).name in names for plan in plans)


@pytest.mark.parametrize("kind", ["noise", "coil maps", "missing coil", "breathing", "phase"])
def test_failures_change_the_data_and_not_the_truth(kind):
    seed = seed_for(kind)
    data, twin = (make_case(Plan(PHANTOM, name, seed)) for name in (kind, "intact"))
    assert torch.equal(data.reference, twin.reference)
    assert torch.equal(data.mask, twin.mask)
    true_maps = twin_maps(seed, twin.n_coils, twin.matrix)
    maps = data.csm if kind == "coil maps" else true_maps
    usual, misfit = (
        Encoding(part.mask, csm).relative_residual(twin.reference, part.kspace)
        for part, csm in ((twin, true_maps), (data, maps))
    )
    assert usual < 0.3, "noise alone"
    assert misfit > 2 * usual


def test_varied_scans_have_a_fast_phase_and_other_numbers_of_frames():
    sizes = ((64, 12),)
    smooth, fast = (
        [make_case(Plan(PHANTOM, "intact", seed, replace(USUAL, sizes=sizes, fast_phase=share))) for seed in range(8)]
        for share in (0.0, 1.0)
    )
    changes = [[phase_change(scan.reference).per_frame for scan in group] for group in (smooth, fast)]
    assert np.median(changes[1]) > 1.3 * np.median(changes[0])
    assert all(float(scan.reference.abs().max()) == pytest.approx(1) for scan in fast)
    n_frames = {frames for _, frames in VARIED.sizes}
    assert (min(n_frames), max(n_frames)) == (8, 30)


def test_readouts_are_shorter_but_lines_are_not():
    ranges = replace(CLINICAL, sizes=((80, 8),), columns=(64,))
    data = make_case(Plan(PHANTOM, "intact", 0, ranges))
    assert data.matrix == (80, 64)
    assert float(data.reference.abs().max()) == pytest.approx(1)
    whole = make_case(Plan(PHANTOM, "intact", 0, replace(ranges, columns=())))
    assert whole.matrix == (80, 80)
    lines = {lines for lines, _ in CLINICAL.sizes}
    assert (min(lines), max(lines)) == (64, 208)


def test_displaced_maps_are_the_true_maps_at_other_pixels():
    seed = seed_for("displaced maps")
    data, twin = (make_case(Plan(PHANTOM, name, seed)) for name in ("displaced maps", "intact"))
    assert torch.equal(data.kspace, twin.kspace)
    maps = twin_maps(seed, twin.n_coils, twin.matrix)
    shifts = [(y, x) for y in range(-8, 9) for x in range(-8, 9) if torch.equal(maps.roll((y, x), (-2, -1)), data.csm)]
    assert len(shifts) == 1
    assert 2 <= round(float(np.hypot(*shifts[0]))) <= 8


def test_the_number_of_a_failure_can_differ():
    plans = plan_cases(phantoms(range(20)), 40, 1, seed=1, more={"noise": 3})
    assert Counter(plan.kind for plan in plans) == {**dict.fromkeys(FAILURES, 1), "intact": 40, "noise": 3}


def test_the_same_subject_has_another_phase_in_each_scan():
    plans = [Plan(PHANTOM, "intact", seed, replace(VARIED, sizes=((64, 8),), fast_phase=1.0)) for seed in (0, 1)]
    first, second = (make_case(plan).reference for plan in plans)
    product = first * second.conj()
    assert float(product.sum().abs() / product.abs().sum()) < 0.99


def test_wrap_around_folds_the_body():
    seed = seed_for("wrap-around")
    data, twin = (make_case(Plan(PHANTOM, name, seed)) for name in ("wrap-around", "intact"))
    whole, rows = twin.reference, data.reference.shape[1]
    assert rows == round(whole.shape[1] / wrap_ratio_of(seed))
    first = (whole.shape[1] - rows) // 2
    assert torch.equal(data.reference, whole[:, first : first + rows])
    index = (torch.arange(whole.shape[1]) - first) % rows
    folded = torch.zeros(len(whole), data.n_coils, rows, whole.shape[2], dtype=whole.dtype)
    coils = whole[:, None] * twin_maps(seed, data.n_coils, whole.shape[-2:])
    folded.index_add_(2, index, coils)
    expected = fft2c(folded) * data.mask
    error = (data.kspace - expected).abs().square().sum() / expected.abs().square().sum()
    assert float(error.sqrt()) < 0.3, "noise alone"


def twin_maps(seed, n_coils, size):
    from cinerecon.simulation.phantom import draw_coil_maps

    return draw_coil_maps(seed, n_coils, size)


def test_area_under_curve_is_the_share_of_ordered_pairs():
    assert area_under_curve([3, 2, 1, 0], [True, True, False, False]) == 1
    assert area_under_curve([1, 1, 1], [True, False, False]) == 0.5
    assert np.isnan(area_under_curve([1, 2], [False, False]))


def test_only_missing_methods_are_measured(tmp_path):
    plan = Plan(PHANTOM, "intact", seed_for("noise"))
    path = tmp_path / "records.jsonl"
    (first,) = measure_all([plan], ["zerofilled"], path)
    same, second = measure_all([plan], ["zerofilled", "viewshared"], path)
    assert (same.method, same.psnr, same.seconds) == (first.method, first.psnr, first.seconds), "from the file"
    assert second.method == "viewshared"
    assert second.psnr != first.psnr
    assert len(path.read_text().splitlines()) == 2


def test_damaged_networks_are_networks():
    plans = [Plan(PHANTOM, kind, 0) for kind in ("intact", "network")]
    assert [methods_of(plan, METHODS) for plan in plans] == [["ktslr", "slrnet", "stvarnet"], ["slrnet", "stvarnet"]]
