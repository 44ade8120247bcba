"""Spikes, saturation, and frames and lines with a different gain, in the small scan with noise."""

import re

import h5py
import numpy as np
import pytest
import torch
from raw_scan import RawFile, small_scan

from cinerecon.acquisition.checks.amplitudes import readout_gain_warnings, saturation_warnings
from cinerecon.acquisition.checks.central import central_of_array
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture
def scan() -> RawFile:
    """Three frames of 48 lines, with noise, so that no line is as weak as rounding errors."""
    scan = small_scan(matrix=(48, 16), vendor="GE")
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal((*samples.shape, 2)).astype(np.float32) for samples in scan.samples]
    scan.samples = [
        samples + 0.02 * part.view(np.complex64)[..., 0] for samples, part in zip(scan.samples, noise, strict=True)
    ]
    return scan


def lines_of(scan: RawFile) -> np.ndarray:
    return scan.heads["idx"]["kspace_encode_step_1"].astype(int)


def suspicions(path) -> list[str]:
    warnings = open_scan(path, PLAIN).plan.warnings
    return [text for text in warnings if any(word in text for word in ("amplitude", "spike", "gain"))]


def test_a_scan_without_faults_has_no_warning(scan, tmp_path):
    assert not suspicions(scan.write(tmp_path / "scan.h5"))


def test_a_spike_counts_as_not_measured(scan, tmp_path):
    row = 48 + 40  # line 40 of frame 1
    before = open_scan(scan.write(tmp_path / "good.h5"), PLAIN).read_slice(0)
    scan.samples[row] = scan.samples[row].copy()
    scan.samples[row][1, 5] += 1000
    path = scan.write(tmp_path / "scan.h5")
    assert [f"such as acquisition {row}: these spikes" in text for text in suspicions(path)] == [True]
    data = open_scan(path, PLAIN).read_slice(0)
    mask = torch.ones(3, 1, 48, 1, dtype=torch.bool)
    mask[1, 0, 40] = False
    assert torch.equal(data.mask, mask)
    assert torch.equal(data.kspace, before.kspace * mask)


def test_frames_of_another_gain(scan, tmp_path):
    phase = scan.heads["idx"]["phase"]
    scan.samples = [(0.4 if phase[i] == 2 else 1) * samples for i, samples in enumerate(scan.samples)]
    (text,) = suspicions(scan.write(tmp_path / "scan.h5"))
    assert text.startswith("frame 2 of 3: 0.4")


def varied(shape, deviation):
    """Factors whose logarithm has a standard deviation."""
    return np.exp(deviation * np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize("undersample", [None, "gaussian:4", "equispaced:4,acs=8"])
def test_a_gain_that_varies_from_readout_to_readout(undersample):
    config = SimulateConfig(n_frames=12, ky=64, kx=48, n_coils=4, noise=0.01, undersample=undersample)
    (data,) = simulate_cine(config)
    largest = data.kspace.abs().amax((1, 3)).double().numpy()
    table = np.where(largest > 0, largest, np.nan)
    (text,) = readout_gain_warnings(table * varied(table.shape, 0.3))
    assert re.match(r"the amplitude of the same line varies by about (2|3)\d% from frame to frame", text)
    for factor in (1, varied((12, 1), 0.5), varied((1, 64), 0.5), 1 + np.exp(-np.arange(12.0))[:, None]):
        assert not list(readout_gain_warnings(table * factor)), "frames, lines, or the approach to the steady state"


def test_noise_is_not_a_varying_gain():
    noise = np.abs(np.random.default_rng(0).normal(size=(12, 64, 4))).max(-1)
    assert not list(readout_gain_warnings(noise))


@pytest.mark.parametrize("is_flagged", [False, True])
def test_calibration_lines_of_another_gain(scan, tmp_path, is_flagged):
    for row in np.flatnonzero(abs(lines_of(scan) - 24) <= 6):
        scan.samples[row] = 4 * scan.samples[row]
        if is_flagged:
            scan.flag(row, 21)
    (text,) = suspicions(scan.write(tmp_path / "scan.h5"))
    assert text.startswith("lines 18 to 30 have about ")
    ratio = float(text.split("about ")[1].split()[0])
    assert 3 < ratio < 5.5


def test_a_change_of_the_gain_within_k_space(scan, tmp_path):
    for row in np.flatnonzero(lines_of(scan) > 34):
        scan.samples[row] = 20 * scan.samples[row]
    (text,) = suspicions(scan.write(tmp_path / "scan.h5"))
    assert "between lines 34 and 35" in text


@pytest.mark.parametrize("rounding", [0.0, 3e-8])
def test_lines_of_rounding_errors_count_as_not_measured(scan, tmp_path, rounding):
    """Programs that transform whole matrices leave rounding errors in the lines that were not measured."""
    rng = np.random.default_rng(1)
    is_empty = (lines_of(scan) % 3 == 1) & (lines_of(scan) != 25)
    before = open_scan(scan.write(tmp_path / "good.h5"), PLAIN).read_slice(0)
    largest = max(np.abs(samples).max() for samples in scan.samples)
    for row in np.flatnonzero(is_empty):
        shape = scan.samples[row].shape
        scan.samples[row] = (rounding * largest * rng.standard_normal(shape)).astype(np.complex64)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    mask = torch.from_numpy(~is_empty.reshape(3, 1, 48, 1))
    data = opened.read_slice(0)
    assert torch.equal(data.mask, mask)
    assert torch.equal(data.kspace, before.kspace * mask)
    assert any(f"{is_empty.sum()} of 144 lines contain only zeros" in text for text in opened.plan.warnings)


@pytest.mark.parametrize("n_coils", [1, 8])
@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("oversampling", [1, 2])
def test_a_saturated_receiver_is_reported(tmp_path, n_coils, noise, oversampling):
    """Also of scans whose oversampling is removed later, which hides it."""
    sizes = {"n_frames": 8, "ky": 64, "kx": 64, "n_coils": n_coils, "noise": noise, "oversampling": oversampling}
    path = tmp_path / "scan.h5"
    simulate_scan(path, SimulateConfig(seed=3, **sizes, undersample="gaussian:4,acs=4"))
    assert not [text for text in open_scan(path, PLAIN).read_slice(0).meta.warnings if "saturated" in text]
    with h5py.File(path, "r+") as file:
        readouts = file["dataset/data"][:]
        limit = 0.2 * max(np.abs(samples).max() for samples in readouts["data"])
        for readout in readouts:
            readout["data"] = readout["data"].clip(-limit, limit)
        file["dataset/data"][:] = readouts
    (text,) = (text for text in open_scan(path, PLAIN).read_slice(0).meta.warnings if "saturated" in text)
    assert text.endswith("the receiver was saturated; do not trust the image")


def test_a_point_in_the_image_is_no_saturated_receiver():
    mask = torch.ones(2, 1, 9, 1, dtype=torch.bool)
    ones = torch.ones(2, 2, 9, 64, dtype=torch.complex64)
    for kspace in (torch.exp(0.3j * torch.arange(9))[:, None] * ones, ones, 0 * ones):
        assert not list(saturation_warnings(central_of_array(kspace, mask, 64)))
