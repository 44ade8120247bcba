"""Coil compression and coil maps."""

import pytest
import torch
from helpers import relative_error
from raw_scan import small_scan

from cinerecon.acquisition import AcquisitionConfig
from cinerecon.cine import finish_image
from cinerecon.errors import UnsupportedError
from cinerecon.physics.coils import (
    apply_geometric_compression,
    geometric_compression_matrices,
)
from cinerecon.physics.fourier import ifft2c


def test_virtual_coils_keep_the_image(read):
    scan = small_scan(n_coils=6)
    data = read(scan, config=AcquisitionConfig(csm="walsh", n_virtual_coils=4))
    assert data.n_coils == data.csm.shape[0] == 4
    energy = torch.linalg.vector_norm(data.kspace) / torch.linalg.vector_norm(scan.kspace[0])
    assert 0.97 < energy <= 1.0001


def test_one_coil_has_no_maps(read):
    data = read(small_scan(n_coils=1))
    assert data.csm is None
    assert relative_error(data.reference, ifft2c(data.kspace)[:, 0]) < 1e-5


def test_coils_are_compressed_at_each_position_along_the_readout(read):
    scan = small_scan(n_coils=4)
    config = AcquisitionConfig(csm="walsh", n_virtual_coils=2, compression="geometric")
    data, plain = read(scan, config=config), read(scan)
    matrices = geometric_compression_matrices(plain.kspace, 2)
    assert relative_error(data.kspace, apply_geometric_compression(matrices, plain.kspace)) < 1e-6
    assert data.n_coils == 2
    shown, expected = (finish_image(part.reference, part).abs() for part in (data, plain))
    assert relative_error(shown, expected) < 0.05
    for i, samples in enumerate(scan.samples):
        scan.samples[i] = samples[:, 8:]
    scan.heads["number_of_samples"] -= 8
    scan.heads["center_sample"] -= 8
    with pytest.raises(UnsupportedError, match="readouts that were not measured whole"):
        read(scan, config=config)
