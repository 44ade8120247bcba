import numpy as np
import pytest
import torch
from helpers import SHARED_DATA, relative_error

from cinerecon.errors import DataError, FileError
from cinerecon.training.data import simulated
from cinerecon.training.data.augment import AugmentConfig
from cinerecon.training.data.config import PhantomSource, SeriesSource
from cinerecon.training.data.series import list_series
from cinerecon.training.data.simulated import phantom_cases, series_cases

REAL = SHARED_DATA / "real"


def image_of(case):
    _, _, y, x = case.shape
    window = (slice(0, y), slice(0, x))
    return case.cut(np.arange(case.shape[0]), window, 1, AugmentConfig(), np.random.default_rng(0)).target


def test_phantoms_differ_and_have_the_sizes_promised(tmp_path):
    cases = phantom_cases(PhantomSource(matrix=(40, 36), n_coils=2, n_cases=2), tmp_path)
    assert len(cases) == 2
    first, second = (image_of(case) for case in cases)
    assert first.shape == (25, 40, 36) == (cases.shape[0], *cases.shape[2:])
    assert relative_error(first, second) > 0.1
    with pytest.raises(IndexError):
        cases[2]


def test_phantoms_of_training_are_none_that_are_held_out(monkeypatch, tmp_path):
    """Those that quality is measured on have the seeds 1 to 40."""
    seeds = []

    def note(seed, config):
        seeds.append(seed)
        raise KeyboardInterrupt

    monkeypatch.setattr(simulated, "draw_signal", note)
    for part in (0, 1000):  # to train on, to validate on
        for number in range(60):
            with pytest.raises(KeyboardInterrupt):
                phantom_cases(PhantomSource(seed=part, n_cases=60), tmp_path).draw(number)
    assert len(seeds) == 120
    assert min(seeds) > 1000


def test_variants_of_a_series_differ(tmp_path, write_series):
    source = SeriesSource(n_variants=2, matrix=(48, 48), n_coils=2)
    write_series(tmp_path / "kept.npz")
    (series,) = list_series(source, "train", [tmp_path])
    cases = series_cases(series, source, tmp_path)
    first, second = (image_of(case) for case in cases)
    assert first.shape == (4, 48, 48)
    assert relative_error(first.abs(), second.abs()) > 0.1


def test_damaged_series_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "cine.npz").write_bytes(b"nonsense")
    np.savez(tmp_path / "b" / "cine.npz", magnitude=np.ones((2, 8, 8)))
    for name, error in (("a", FileError), ("b", DataError)):
        with pytest.raises(error):
            list_series(SeriesSource(), "train", [tmp_path / name])


@pytest.mark.skipif(not REAL.exists(), reason="the measured series are not here")
def test_a_measured_series_beats(tmp_path):
    source = SeriesSource(n_variants=1, matrix=(96, 96), n_coils=2, reserved=())
    (series,) = (part for part in list_series(source, "train", [REAL]) if part.name == "sax_mid")
    (case,) = series_cases(series, source, tmp_path)
    image = image_of(case)
    assert torch.isfinite(image.abs()).all()
    assert case.motion().max() > 0.2
