"""Coils whose gain or phase differs between frames, in simulated scans that are intact otherwise."""

import re
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from raw_scan import small_scan

from cinerecon.acquisition.checks.central import central_of_array
from cinerecon.acquisition.checks.coherence import shifted_frame_warnings
from cinerecon.acquisition.checks.coil_changes import are_coils_exchanged, coil_change_warnings, two_groups
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine, simulate_scan


def simulated(seed=0, n_coils=6, n_frames=8, undersample="equispaced:4,acs=8", **settings):
    """K-space and mask of a simulated slice."""
    config = SimulateConfig(
        seed=seed, frames=n_frames, ky=64, kx=64, coils=n_coils, undersample=undersample, **settings
    )
    (data,) = simulate_cine(config)
    return data.kspace, data.mask


@pytest.mark.parametrize("seed", range(24))
def test_intact_scans_are_not_reported(seed):
    settings = {"n_coils": (2, 3, 8, 16)[seed % 4], "phase": ("smooth", "measured")[seed % 2]}
    settings["n_frames"] = (4, 6, 8, 12, 16)[seed % 5]
    undersample = (None, "gaussian:6", "equispaced:4,acs=8")[seed % 3]
    data = simulated(seed, undersample=undersample, noise=0.005 * (1 + seed % 3), **settings)
    central = central_of_array(*data, n_columns=64)
    assert [*coil_change_warnings(central), *shifted_frame_warnings(central)] == []


@pytest.mark.parametrize(
    ("factor", "frames_of_factor"),
    [(0.7, [4, 5, 6, 7]), (1.5, [0, 1]), (0.3, [3])]
    + [(factor, frames) for factor in (-1.0, np.exp(1j)) for frames in ([4, 5, 6, 7], [3], [0, 1])],
)
def test_a_coil_of_another_gain_or_phase(factor, frames_of_factor):
    kspace, mask = simulated()
    kspace[frames_of_factor, 2] *= factor
    (text,) = coil_change_warnings(replace(central_of_array(kspace, mask, 64), coils=np.arange(10, 16)))
    assert "exclude_coils" not in text  # arrays refuse this setting
    where = {4: "frames 4 to 7", 1: "frame 3", 2: "frames 0, 1"}[len(frames_of_factor)]
    assert text.startswith(f"coil 12 in {where}: ")
    gain, phase = re.search(r"([\d.]+) times its amplitude|differs by ([\d.]+) rad", text).groups()
    if phase is None:
        assert float(gain) == pytest.approx(factor, rel=0.2)
    else:
        assert float(phase) == pytest.approx(abs(np.angle(factor)), abs=0.25)


def test_a_phase_that_changes_as_much_in_other_coils_is_not_reported():
    """Motion between frames that share few lines changes the phases of several coils."""
    kspace, mask = simulated()
    phase = torch.linspace(-0.5, 0.5, len(kspace))[:, None] * torch.tensor([1.0, -1.0]).repeat(3)
    phase[:, 2] = torch.where(torch.arange(len(kspace)) < 3, -0.5, 0.5)
    assert not list(coil_change_warnings(central_of_array(kspace * torch.exp(1j * phase)[..., None, None], mask, 64)))


def without_noise_readouts(path, noisy_coil=None):
    """Remove the noise readouts of a simulated scan, and add noise to one coil."""
    rng = np.random.default_rng(1)
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][()]
        rows = rows[rows["head"]["flags"] & (1 << 18) == 0]
        for samples in rows["data"] if noisy_coil is not None else ():
            coil = samples.reshape(6, -1)[noisy_coil]
            coil += (0.2 * rng.standard_normal(coil.shape)).astype(np.float32)
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=rows, dtype=rows.dtype)


@pytest.mark.parametrize("undersample", [None, "gaussian:4"])
@pytest.mark.parametrize("noisy_coil", [None, 4])
def test_a_noisier_coil_in_a_scan_without_noise_readouts(tmp_path, undersample, noisy_coil):
    path = tmp_path / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=6, ky=64, kx=48, n_coils=6, undersample=undersample))
    whitened = open_scan(path).plan.warnings
    without_noise_readouts(path, noisy_coil)
    texts = [
        text for text in open_scan(path).plan.warnings if text not in whitened and "no noise readouts:" not in text
    ]
    assert len(texts) == (noisy_coil is not None)
    for text in texts:
        assert text.startswith("coil 4 of 6: ")
        assert text.endswith("; --set preprocessing.exclude_coils=[4] excludes it")


def test_factors_that_all_coils_have_are_not_those_of_one():
    kspace, mask = simulated()
    kspace[4:] *= 3 * np.exp(2j)
    assert list(coil_change_warnings(central_of_array(kspace, mask, 64))) == []


def test_frames_of_another_receiver_frequency():
    kspace, mask = simulated()
    kspace[5:] *= torch.exp(-2j * np.pi * 3 / 64 * (torch.arange(64) - 32))
    (text,) = shifted_frame_warnings(central_of_array(kspace, mask, 64))
    assert text.startswith("frames 5 to 7: ")
    assert float(re.search(r"shifted by ([\d.]+) pixels", text).group(1)) == pytest.approx(3, abs=0.3)


def test_two_groups():
    smaller, gap, spread = two_groups(np.array([0.0, 0.1, 1.0, 0.05, 1.3]))
    assert smaller.tolist() == [False, False, True, False, True]
    assert (gap, spread) == pytest.approx((0.9, 0.3))
    assert two_groups(np.array([1.0, 0.0]))[0].tolist() == [False, True]


def test_a_change_in_another_slice_than_the_middle_one(tmp_path):
    scan = small_scan(matrix=(32, 32), n_frames=6, n_slices=3, n_coils=4)
    for row in np.flatnonzero((scan.heads["idx"]["slice"] == 2) & (scan.heads["idx"]["phase"] >= 4)):
        scan.samples[row][1] *= -1
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), AcquisitionConfig(csm="walsh")).plan.warnings
    (text,) = [text for text in warnings if "phase differs" in text]
    assert text.startswith("slice 2: coil 1 in frames 4, 5: its phase differs by 3.")
    assert "exclude_coils=[1]" in text


def test_coils_that_resemble_each_other_are_compared_without_an_assignment(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)  # which takes more than a second to import
    rng = np.random.default_rng(0)
    common, own = rng.standard_normal((2, 64)), rng.standard_normal((2, 64))
    line = (common[0] + 1j * common[1]) + 0.1 * own
    assert not are_coils_exchanged([(line, line[::-1])])
