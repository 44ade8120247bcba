"""Direction and sign of the readouts."""

import numpy as np
import pytest
from helpers import relative_error
from raw_scan import RawFile, small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError, HeaderError, UnsupportedError

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture
def scan() -> RawFile:
    return small_scan(matrix=(24, 32), vendor="GE")


def odd_lines(scan: RawFile) -> np.ndarray:
    return np.flatnonzero(scan.heads["idx"]["kspace_encode_step_1"] % 2 == 1)


def reverse(scan: RawFile, rows: np.ndarray) -> None:
    for row in rows:
        scan.samples[row] = scan.samples[row][:, ::-1]


def trajectory(scan: RawFile, backward: np.ndarray, off_grid: float = 0.0) -> None:
    """Coordinates along kx and ky of each readout."""
    for row, line in enumerate(scan.heads["idx"]["kspace_encode_step_1"].astype(int)):
        n = scan.samples[row].shape[-1]
        along = (np.arange(n) - n // 2) / n * (-1 if row in backward else 1)
        across = np.full(n, (line - 12 + off_grid * (line == 5)) / 24)
        scan.trajectories.append(np.stack([along, across], 1).astype(np.float32))
    scan.heads["trajectory_dimensions"] = 2


@pytest.mark.parametrize("is_flagged", [True, False])
def test_readouts_that_run_backwards_without_their_flag_are_reported(scan, tmp_path, is_flagged):
    reverse(scan, odd_lines(scan))
    for row in odd_lines(scan) if is_flagged else []:
        scan.flag(row, 22)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    texts = [text for text in opened.plan.warnings if "seem to be in reverse" in text]
    if is_flagged:
        assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
        assert not texts
    else:
        assert "0 have flag 22" in texts[0]


def test_a_trajectory_says_which_readouts_run_backwards(scan, tmp_path):
    reverse(scan, odd_lines(scan))
    trajectory(scan, odd_lines(scan))
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any("36 of 72 readouts run backwards according to their trajectory" in text for text in opened.plan.warnings)


def test_a_trajectory_off_the_grid_is_refused(scan, tmp_path):
    trajectory(scan, np.empty(0), off_grid=0.4)
    with pytest.raises(UnsupportedError, match=r"line 5 is 0\.\d+ line spacings away"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


@pytest.mark.parametrize("part", [np.real, np.abs])
def test_real_samples_are_refused(scan, tmp_path, part):
    """The image would be the sum of itself and its mirror image."""
    scan.samples = [part(samples).astype(np.complex64) for samples in scan.samples]
    with pytest.raises(DataError, match="no sample has an imaginary part"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


@pytest.mark.parametrize("axis", ["x", "y"])
def test_alternating_signs_are_reported(scan, tmp_path, axis):
    """The image is shifted by half of the field of view, to its edges."""
    for row, samples in enumerate(scan.samples):
        line = int(scan.heads["idx"]["kspace_encode_step_1"][row])
        scan.samples[row] = samples * ((-1.0) ** np.arange(samples.shape[-1]) if axis == "x" else (-1.0) ** line)
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    (text,) = [text for text in warnings if "alternate" in text]
    assert text.endswith(f"the field of view along {axis}")


@pytest.mark.parametrize(("missing", "centres"), [(8, (8, 15)), (0, (16, 15))])
def test_the_centre_of_reversed_readouts_may_be_counted_as_stored(tmp_path, missing, centres):
    """Asymmetric echoes: sample 8 of 24 of a forward readout is sample 15 of a reversed one, as it is stored."""
    scan = small_scan(matrix=(24, 32), oversampling=1, vendor="GE")
    scan.samples = [samples[:, missing:] for samples in scan.samples]
    scan.heads["number_of_samples"], scan.heads["center_sample"] = 32 - missing, 16 - missing
    reverse(scan, odd_lines(scan))
    for row in odd_lines(scan):
        scan.flag(row, 22)
    path = tmp_path / "scan.h5"
    for centre in centres:
        scan.heads["center_sample"][odd_lines(scan)] = centre
        data = open_scan(scan.write(path), PLAIN).read_slice(0)
        assert data.mask.expand_as(data.kspace[:, :1])[0, 0, 3].sum() == 32 - missing
        assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5


@pytest.mark.parametrize(("n_samples", "peak"), [(40, 8), (48, 16), (52, 20)])
def test_an_asymmetric_echo_whose_centre_is_the_middle_is_refused(tmp_path, n_samples, peak):
    """It would otherwise be a matrix of fewer columns. The centre can be set."""
    scan = small_scan(matrix=(48, 64), oversampling=1, vendor="GE")
    scan.samples = [samples[:, 64 - n_samples :] for samples in scan.samples]
    scan.heads["number_of_samples"], scan.heads["center_sample"] = n_samples, n_samples // 2
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(HeaderError, match=f"center_sample is {n_samples // 2} of {n_samples} samples") as caught:
        open_scan(path, PLAIN)
    assert f"center_sample={peak} follows the data" in caught.value.hint
    data = open_scan(path, AcquisitionConfig(csm="walsh", center_sample=peak)).read_slice(0)
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5


@pytest.mark.parametrize("axis", ["x", "y"])
def test_k_space_in_the_order_of_an_fft_is_refused(scan, tmp_path, axis):
    if axis == "x":
        scan.samples = [np.fft.ifftshift(samples, axes=-1) for samples in scan.samples]
    else:
        lines = scan.heads["idx"]["kspace_encode_step_1"]
        lines[:] = (lines + 12) % 24
    with pytest.raises(HeaderError) as caught:
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert "in FFT order" in caught.value.hint


def test_a_coil_of_another_gain_is_reported(scan, tmp_path):
    for samples in scan.samples:
        samples[1] *= 1000
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert any(text.startswith("coil 1 has ") and "exclude_coils=[1]" in text for text in warnings)
    opened = open_scan(tmp_path / "scan.h5", AcquisitionConfig(csm="walsh", exclude_coils=[1]))
    assert not any("amplitude of the others" in text for text in opened.plan.warnings)
    rest = opened.read_slice(0)
    assert relative_error(rest.kspace, scan.kspace[0][:, [0, 2]]) < 1e-5


def test_an_image_outside_of_its_field_of_view_is_reported(scan, tmp_path):
    """Shifted by a quarter of the oversampled field of view, half of the image is cut off."""
    n = scan.samples[0].shape[-1]
    scan.samples = [(samples * np.exp(0.5j * np.pi * np.arange(n))).astype(np.complex64) for samples in scan.samples]
    path = scan.write(tmp_path / "scan.h5")
    texts = [text for text in open_scan(path, PLAIN).plan.warnings if "outside the field of view of the image" in text]
    assert 40 <= int(texts[0].split("%")[0]) <= 70
    whole = open_scan(path, AcquisitionConfig(csm="walsh", remove_oversampling=False))
    assert whole.read_slice(0).matrix == (24, 64)
    assert not any("outside the field of view of the image" in text for text in whole.plan.warnings)


@pytest.mark.parametrize("mirrored", ["", "x", "y", "xy"])
def test_a_trajectory_that_runs_against_the_counters_along_one_axis_is_reported(scan, tmp_path, mirrored):
    """Along both axes the trajectory has the other sign, and the image is not mirrored."""
    trajectory(scan, np.empty(0))
    signs = np.array([-1 if "x" in mirrored else 1, -1 if "y" in mirrored else 1], np.float32)
    scan.trajectories = [path * signs for path in scan.trajectories]
    texts = [text for text in open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings if "mirrored" in text]
    assert len(texts) == (len(mirrored) == 1)
    assert all(f"in the opposite direction along k{mirrored}" in text for text in texts)
