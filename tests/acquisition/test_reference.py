"""The reference in a scan: each slice gets its own, in any order of either, or none."""

import shutil

import h5py
import numpy as np
import pytest

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.evaluation.image_files import read_reference
from cinerecon.metrics import psnr
from cinerecon.physics.final_image import finish_image
from cinerecon.physics.operators import Encoding
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "three.h5"
    simulate_scan(path, SimulateConfig(n_frames=3, ky=32, kx=32, n_coils=3, n_slices=3, noise=0.003))
    return path


@pytest.fixture
def scan(simulated, tmp_path):
    return shutil.copy(simulated, tmp_path / "scan.h5")


def reverse_positions(path):
    """Store the slices from top to bottom."""
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        number, position = rows["head"]["idx"]["slice"], rows["head"]["position"]
        is_noise = (rows["head"]["flags"] >> np.uint64(18)) & np.uint64(1) != 0
        centre = [position[~is_noise & (number == n)][0] for n in range(3)]
        for n in range(3):
            position[~is_noise & (number == n)] = centre[2 - n]
        file["dataset/data"][:] = rows


def change_truth(path, change):
    with h5py.File(path, "r+") as file:
        for name in ("reference", "csm"):
            values = change(file[f"truth/{name}"][()])
            del file[f"truth/{name}"]
            file[f"truth/{name}"] = values


def quality(data):
    """PSNR of all samples against the truth [dB]."""
    image = Encoding(data.mask, data.csm, matrix=data.matrix).adjoint(data.kspace)
    return psnr(image.abs(), data.reference.abs())


def slices_of(path, *settings):
    opened = open_scan(path, PLAIN.with_settings(settings))
    return [opened.read_slice(number) for number in range(opened.n_slices)]


def test_slices_stored_from_top_to_bottom(scan):
    ascending = [quality(data) for data in slices_of(scan)]
    assert min(ascending) > 35
    reverse_positions(scan)
    slices = slices_of(scan)
    assert [quality(data) for data in slices] == pytest.approx(ascending[::-1], abs=0.1)
    assert [data.meta.reference_is for data in slices] == ["truth"] * 3
    assert "the slices of the reference in the file are in a different order" in slices[0].meta.warnings[-1]
    for truth, data in zip(read_reference(scan), slices, strict=True):
        assert psnr(truth.image.abs(), finish_image(data.reference, data).abs()) > 35, "as a file of truth for evaluate"


def test_a_reference_in_another_order_than_the_slices(scan):
    change_truth(scan, lambda values: values[[1, 2, 0]])
    assert min(quality(data) for data in slices_of(scan)) > 35


def test_one_slice_of_the_scan(scan):
    (data,) = slices_of(scan, "select.slice=2")
    assert quality(data) > 35


def test_a_reference_of_another_scan_is_not_used(scan, tmp_path):
    simulate_scan(tmp_path / "other.h5", SimulateConfig(n_frames=3, ky=32, kx=32, n_coils=3, seed=7, noise=0.003))
    with h5py.File(tmp_path / "other.h5") as file:
        other = {"reference": file["truth/reference"][()], "csm": file["truth/csm"][()]}
    with h5py.File(scan, "r+") as file:
        for name, values in other.items():
            file[f"truth/{name}"][...] = np.roll(values, 9, -1)
    for data in slices_of(scan):
        assert data.meta.reference_is == "all samples"
        assert (
            "the reference in the file does not match the samples (another scan, or very strong noise): it is not used"
            in data.meta.warnings
        )


def test_the_reference_of_a_scan_with_strong_noise_is_used(tmp_path):
    """The noise has almost three times the energy of the signal in the samples."""
    path = tmp_path / "noisy.h5"
    simulate_scan(path, SimulateConfig(n_frames=8, ky=64, kx=64, n_coils=8, noise=0.15, undersample="vista:6"))
    (data,) = slices_of(path)
    assert data.meta.reference_is == "truth"
    assert not [text for text in data.meta.warnings if "reference" in text]


def test_a_reference_of_fewer_slices_is_not_used(scan):
    change_truth(scan, lambda values: values[:2])
    for data in slices_of(scan):
        assert data.meta.reference_is == "all samples"
        assert "the reference in the file has 2 of 3 slices: it is not used" in data.meta.warnings
