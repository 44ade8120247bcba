"""K-space of raw scans on the grid of the image, and the truth of simulated ones."""

import h5py
import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan, read_slices
from cinerecon.axes import mirrored_indices
from cinerecon.errors import DataError
from cinerecon.physics.fourier import ifft2c

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.mark.parametrize("vendor", ["SIEMENS", "Siemens Healthineers", "GE MEDICAL SYSTEMS", ""])
@pytest.mark.parametrize(("matrix", "oversampling"), [((12, 16), 2), ((13, 15), 2), ((11, 16), 1), ((12, 15), 3)])
def test_kspace_is_that_of_the_image(read, vendor, matrix, oversampling):
    scan = small_scan(matrix=matrix, oversampling=oversampling, vendor=vendor)
    data = read(scan)
    assert relative_error(data.kspace, scan.kspace[0]) < 1e-5
    assert data.mask.shape == (3, 1, matrix[0], 1)
    assert data.mask.all()
    image = ifft2c(data.kspace)
    assert relative_error(image, scan.images[0].unsqueeze(1).to(image) * scan.csm.to(image)) < 1e-5


def test_forced_transform(read):
    scan = small_scan(oversampling=1, vendor="GE")
    turned = read(scan, config=AcquisitionConfig(csm="walsh", transform="fft"))
    expected = (
        scan.kspace[0]
        .index_select(-1, torch.from_numpy(mirrored_indices(16)))
        .index_select(-2, torch.from_numpy(mirrored_indices(12)))
    )
    assert relative_error(turned.kspace, expected) < 1e-5


def test_other_readouts_are_left_out(tmp_path):
    scan = small_scan()
    junk = np.full((3, 32), 1e3, np.complex64)
    for number in (20, 23, 24, 26, 27, 28, 30, 31):
        scan.append(number, junk)
        scan.flag(len(scan.heads) - 1, number)
    scan.flag(4, 20)
    scan.flag(4, 21)
    for number in (3, 4, 5, 6, 25):
        scan.flag(9, number)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert sum(part.n_readouts for part in opened.plan.dropped) == 8
    assert {part.reason.split(":")[0] for part in opened.plan.dropped} >= {"flag 20", "flag 31"}
    assert opened.plan.flags["23 navigator"] == 1
    assert opened.plan.flags["20 parallel calibration"] == 2


@pytest.mark.parametrize("n_virtual_coils", [None, 2])
def test_truth_in_the_units_of_the_image(tmp_path, n_virtual_coils):
    """A scan that carries its truth is given it as if it had been fully sampled and read like its data."""
    scan = small_scan(n_slices=2)
    every_line = scan.heads.copy(), list(scan.samples)
    config = PLAIN.model_copy(update={"n_virtual_coils": n_virtual_coils})
    path = tmp_path / "scan.h5"
    for keep in (slice(None), np.flatnonzero(np.arange(72) % 4 != 1)):
        scan.heads, scan.samples = every_line
        scan.keep(keep)
        with h5py.File(scan.write(path), "r+") as file:
            file["truth/reference"] = (7 * scan.images).numpy().astype(np.complex64)
            file["truth/csm"] = scan.csm.expand(2, -1, -1, -1).numpy().astype(np.complex64)
        for number, data in enumerate(read_slices(path, config)):
            mixed = ifft2c(scan.kspace[number])
            if n_virtual_coils is None:
                expected = (data.csm.conj() * mixed).sum(-3)
                assert relative_error(data.reference, expected) < 1e-3
            if isinstance(keep, slice):
                adjoint = (data.csm.conj() * ifft2c(data.kspace)).sum(-3)
                assert relative_error(data.reference, adjoint) < 1e-3


@pytest.mark.parametrize("lost", ["frame", "odd lines", "one line"])
def test_a_coil_that_is_lost_in_a_part_of_the_scan_is_refused_unless_it_is_left_out(tmp_path, lost):
    """The samples would be those of a dark coil, and the image shaded and aliased."""
    scan = small_scan()
    idx = scan.heads["idx"]
    rows = {
        "frame": idx["phase"] == 1,
        "odd lines": idx["kspace_encode_step_1"] % 2 == 1,
        "one line": np.arange(len(idx)) == 5,
    }
    for row in np.flatnonzero(rows[lost]):
        scan.samples[row] = scan.samples[row] * np.array([[1], [1], [0]], np.complex64)
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(DataError, match=f"coil 2 contains only zeros in {rows[lost].sum()} of 36") as caught:
        open_scan(path, PLAIN).read_slice(0)
    assert "exclude_coils=[2]" in caught.value.hint
    data = open_scan(path, AcquisitionConfig(csm="walsh", exclude_coils=[2])).read_slice(0)
    assert relative_error(data.kspace, scan.kspace[0, :, :2]) < 1e-5


def test_a_coil_without_any_samples_is_no_dropout(read):
    scan = small_scan()
    for row, samples in enumerate(scan.samples):
        scan.samples[row] = samples * np.array([[1], [1], [0]], np.complex64)
    assert relative_error(read(scan).kspace[:, :2], scan.kspace[0, :, :2]) < 1e-5
