import numpy as np
import pytest
import torch
from helpers import relative_error

from cinerecon.errors import FileError
from cinerecon.workflows.dataset import CaseConfig, PatchConfig, draw_batch, load_cases, make_cases

SMALL = CaseConfig(n_phantoms=2, matrix=(48, 48), n_coils=3, mask="gaussian:3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    make_cases(folder, SMALL)
    return folder


def test_cases_are_made_once_and_have_unit_maps(folder):
    times = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert make_cases(folder, SMALL) == sorted(times)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    for case in load_cases(sorted(folder.iterdir())):
        assert torch.allclose(case.csm.abs().square().sum(0), torch.ones(48, 48), atol=1e-5)
        assert case.image.mean(0).abs().quantile(0.995) == pytest.approx(1, rel=1e-3)


def test_real_series_are_varied_and_left_out_by_name(tmp_path):
    for name in ("kept", "held_out"):
        np.savez(tmp_path / f"{name}.npz", magnitude=np.random.default_rng(0).integers(1, 99, (4, 40, 60)))
    config = CaseConfig(n_phantoms=0, n_per_series=2, leave_out=("held_out",), matrix=(48, 48), n_coils=2)
    paths = make_cases(tmp_path / "cases", config, tmp_path)
    assert [path.stem for path in paths] == ["kept-0", "kept-1"]
    first, second = load_cases(paths)
    assert relative_error(first.image.abs(), second.image.abs()) > 0.1


def test_nothing_to_train_on_is_an_error(tmp_path):
    with pytest.raises(FileError, match="no phantoms"):
        make_cases(tmp_path, CaseConfig(n_phantoms=0))


@pytest.mark.parametrize("coils", [1, 3])
def test_a_batch_is_what_its_encoding_measures_of_the_target(folder, coils):
    config = PatchConfig(n_frames=6, n_windows=1, ky=(48,), x=20, coils=(coils,), noise_free=1.0, masks=("gaussian:3",))
    batch = draw_batch(load_cases(sorted(folder.iterdir())), config, 2, np.random.default_rng(0))
    assert batch.target.shape == (2, 6, 48, 20)
    measured = batch.encoding.forward(batch.target)
    # one coil: exactly; several: but for the error of the estimated maps
    assert relative_error(measured, batch.kspace) < (1e-5 if coils == 1 else 0.2)
    again = draw_batch(load_cases(sorted(folder.iterdir())), config, 2, np.random.default_rng(0))
    assert torch.equal(batch.kspace, again.kspace)


def test_noise_has_the_level_asked_for(folder):
    quiet = PatchConfig(n_frames=6, n_windows=1, ky=(48,), x=40, coils=(1,), noise_free=1.0)
    noisy = PatchConfig(
        n_frames=6, n_windows=1, ky=(48,), x=40, coils=(1,), noise_free=0.0, noise=(0.05, 0.05 * 1.0001)
    )
    cases = load_cases(sorted(folder.iterdir()))
    pair = [draw_batch(cases, config, 2, np.random.default_rng(3)) for config in (quiet, noisy)]
    difference = pair[1].kspace - pair[0].kspace
    assert float(difference[difference != 0].abs().square().mean().sqrt()) == pytest.approx(0.05, rel=0.05)
