"""Volumes of stacks, limits of agreement, and their part in the results of an evaluation."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cinerecon.evaluation.charts import draw_function_curves
from cinerecon.evaluation.compare_files import compare_files
from cinerecon.evaluation.figures import draw_figures
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.results import write_results, write_summary
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import Score, coils_in_words
from cinerecon.evaluation.ventricle import function_tables, limits_of, slice_functions, stack_functions
from cinerecon.simulation.scan import SimulateConfig, simulate_scan


def score(number, position, area, true_area, method="ktslr", centre=(0.0, 0.0)):
    return Score(
        *("scan", number, 4, "gaussian:8", method, 30.0, 0.9, 0.01, 1.0),
        ventricle_mm=(position, *centre) if position is not None else (),
        frame_area=tuple(area),
        frame_reference_area=tuple(true_area),
    )


def test_the_volume_of_a_stack_is_the_sum_of_its_discs():
    truth = np.array([[1000, 400], [1500, 600], [2000, 900], [1200, 500]], float)
    scores = [score(n, 8.0 * n, 0.9 * areas, areas) for n, areas in enumerate(truth)]
    (stack,) = stack_functions(scores[::-1])
    volumes = truth.sum(0) * 8 / 1000
    assert stack.n_slices == 4
    assert stack.reference_curve == pytest.approx(volumes)
    assert stack.pairs["EDV [ml]"] == pytest.approx((0.9 * volumes[0], volumes[0]))
    assert stack.pairs["ESV [ml]"] == pytest.approx((0.9 * volumes[1], volumes[1]))
    assert stack.pairs["EF [%]"] == pytest.approx((100 * (1 - volumes[1] / volumes[0]),) * 2)


def test_a_missing_slice_is_bridged_and_another_chamber_is_not_part_of_the_stack():
    areas = (1000.0, 500.0)
    scores = [score(n, 8.0 * n, areas, areas) for n in (0, 1, 3, 4)]
    scores.append(score(5, 40.0, (9999.0, 1.0), (9999.0, 1.0), centre=(50.0, 0.0)))
    (stack,) = stack_functions(scores)
    assert stack.n_slices == 4
    assert stack.reference_curve[0] == pytest.approx(1000 * 5 * 8 / 1000)
    assert not stack_functions(scores[:2])
    assert not stack_functions([score(n, None, areas, areas) for n in range(4)])
    assert len(slice_functions([*scores, score(6, None, (), ())])) == 5


def test_an_image_without_blood_has_no_ejection_fraction(tmp_path):
    areas = (1000.0, 500.0)
    scores = [score(n, 8.0 * n, (0.0, 0.0), areas) for n in range(3)]
    content = write_summary(scores, tmp_path).read_text()
    stack = json.loads(content, parse_constant=pytest.fail)["ventricle"][0]
    assert stack["pairs"]["EDV [ml]"] == [0, pytest.approx(24)]
    assert stack["pairs"]["EF [%]"] == [None, pytest.approx(50)]


def test_limits_of_agreement():
    pairs = [(10.0, 11.0), (12.0, 11.0), (15.0, 12.0), (math.nan, 1.0)]
    limits = limits_of(pairs)
    differences = np.array([-1.0, 1.0, 3.0])
    assert limits.n == 3
    assert (limits.bias, limits.low, limits.high) == pytest.approx((1.0, 1 - 1.96 * 2, 1 + 1.96 * 2))
    assert differences.std(ddof=1) == 2
    assert math.isnan(limits_of(pairs[:2]).low)


def test_tables_name_the_quantities_and_the_truth():
    areas = np.array([1000.0, 400.0])
    scores = [score(n, 8.0 * n, areas * (1 + 0.1 * n), areas) for n in range(3)]
    volumes, slices = function_tables(scores)
    assert [cell.text for cell in volumes.rows[-1]] == ["mean of the reference", "1", "24.0", "9.6", "60.0"]
    assert volumes.rows[0][2].text == "+2.4"
    assert [cell.text for cell in slices.rows[0]][2] == "+100.0 [-96.0, +296.0]"
    assert volumes.notes[-1] == "bias: mean of image minus reference"
    assert slices.notes[-1] == "bias [limits of agreement, ± 1.96 standard deviations]: mean of image minus reference"
    assert function_tables([score(0, None, (), ())]) == []


def test_each_curve_names_its_slice_and_coils():
    """Slices of equal areas are separate curves."""
    areas = np.array([1000.0, 400.0])
    scores = [score(n, 8.0 * n, areas, areas) for n in range(3)]
    titles = [axis.get_title() for axis in draw_function_curves(slice_functions(scores)).axes]
    assert [title.split("\n")[0] for title in titles] == [f"{scores[0].scan}, slice {n}" for n in range(3)]
    assert titles[0].split("\n")[1] == f"{scores[0].sampling}, {coils_in_words(scores[0].n_coils)}"
    (stack,) = draw_function_curves(stack_functions(scores)).axes
    assert stack.get_title().startswith(f"{scores[0].scan}\n")


def test_agreement_is_plotted_from_three_slices(tmp_path):
    areas = np.array([1000.0, 400.0])
    scores = [score(n, 8.0 * n, areas, areas) for n in range(3)]
    sizes = []
    for n, members in enumerate((scores, [*scores, replace(scores[0], n_coils=1)])):
        drawn = {figure.path.stem: figure.path for figure in draw_figures(members, tmp_path / str(n))}
        with Image.open(drawn["bland_altman_areas"]) as image:
            sizes.append(image.size)
    assert sizes[0] == sizes[1], "a single slice with another number of coils has no row of its own"
    assert not any(figure.path.stem.startswith("bland") for figure in draw_figures(scores[:2], tmp_path / "few"))


@pytest.mark.slow
def test_an_evaluation_reports_volumes_of_a_stack(tmp_path):
    sizes = {"n_frames": 12, "ky": 96, "kx": 96, "n_coils": 4, "n_slices": 4, "view": "short", "noise": 0.005}
    simulate_scan(tmp_path / "stack.h5", SimulateConfig(**sizes))
    out = tmp_path / "out"
    done = evaluate(
        [tmp_path / "stack.h5"], EvaluationRequest(["zerofilled", "viewshared"], ["gaussian:4,acs=4"], output=out)
    )
    write_results(done.complete(), out)
    summary = json.loads((out / "summary.json").read_text())
    stacks = {f["method"]: f["pairs"] for f in summary["ventricle"] if f["is_volume"]}
    ours, truth = stacks["viewshared"]["EF [%]"]
    assert 15 < truth < 80
    assert ours == pytest.approx(truth, abs=10)
    with (out / "frames.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "viewshared" and row["reference_area_mm2"]]
    assert {float(row["area_mm2"]) > 0 for row in rows} == {True}
    sharpness = {s.method: s.border_sharpness for s in done.scores if s.frame_reference_area}
    assert 0 < sharpness["zerofilled"] < sharpness["viewshared"] < 1.1
    names = {path.name for path in (out / "figures").iterdir()}
    assert {"ventricle_volumes.png", "ventricle_areas.png", "bland_altman_areas.png"} <= names


def test_images_of_files_have_ventricles_where_the_pixel_size_is_known(tmp_path):
    image = beating_ventricle()
    directions = {"read_dir": (1.0, 0, 0), "phase_dir": (0, 1.0, 0), "slice_dir": (0, 0, 1.0)}
    place = {name: np.array([value]) for name, value in ({"position_mm": (0.0, 0, 30.0)} | directions).items()}
    np.savez(tmp_path / "truth.npz", image=image, pixel_size_mm=np.array([[1.5, 1.5]]), **place)
    np.savez(tmp_path / "plain.npz", image=image)
    np.savez(tmp_path / "recon.npz", image=0.5 * image)
    (known,) = compare_files([tmp_path / "recon.npz"], tmp_path / "truth.npz")
    assert known.frame_area == known.frame_reference_area
    assert max(known.frame_area) == pytest.approx(np.pi * 14**2 * 1.5**2, rel=0.05)
    assert known.border_sharpness == pytest.approx(1)
    assert known.ventricle_mm == pytest.approx((30.0, 2 * 1.5, -3 * 1.5), abs=1)
    (unknown,) = compare_files([tmp_path / "recon.npz"], tmp_path / "plain.npz")
    assert unknown.frame_area == ()


def beating_ventricle():
    """Bright blood in dark muscle, centred 2 rows below and 3 columns left of the middle, ``(16, 96, 90)``."""
    y, x = np.indices((96, 90))
    distance = np.hypot(y - 50, x - 42)
    radii = 11.5 + 2.5 * np.cos(2 * np.pi * np.arange(16) / 16)
    inside = [0.4 * (distance > np.hypot(r, 11)) + 1.0 / (1 + np.exp(2 * (distance - r))) for r in radii]
    return np.array(inside, np.float32) * (np.hypot(y - 48, x - 45) < 44)
