"""Coil compression and coil maps."""

import pytest
import torch
from helpers import relative_error
from raw_scan import small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.errors import ConfigError, UnsupportedError
from cinerecon.physics.coils import (
    CoilStatistics,
    apply_geometric_compression,
    geometric_compression_matrices,
    transform_coils,
)
from cinerecon.physics.final_image import finish_image
from cinerecon.physics.fourier import ifft2c


def test_virtual_coils_keep_the_image(read):
    scan = small_scan(n_coils=6)
    data = read(scan, config=AcquisitionConfig(csm="walsh", n_virtual_coils=4))
    assert data.n_coils == data.csm.shape[0] == 4
    energy = torch.linalg.vector_norm(data.kspace) / torch.linalg.vector_norm(scan.kspace[0])
    assert 0.97 < energy <= 1.0001


@pytest.mark.parametrize("oversampling", [1, 2])
def test_coils_compressed_while_readouts_are_read_are_those_of_whole_kspace(read, oversampling):
    scan = small_scan(n_coils=6, n_slices=2, oversampling=oversampling)
    plain = read(scan, number=1)
    statistics = CoilStatistics.of_kspace(plain.kspace, plain.mask)
    expected = transform_coils(statistics.matrix(3), plain.kspace)
    data = read(scan, number=1, config=AcquisitionConfig(csm="walsh", n_virtual_coils=3))
    turned = torch.sgn((data.kspace.conj() * expected).sum((0, 2, 3), keepdim=True))  # the phase of each is free
    assert relative_error(data.kspace * turned, expected) < 1e-4
    loss = float(statistics.loss[2])
    assert data.meta.compression == f"6 coils compressed to 3: {loss:.2%} of the signal energy is discarded"
    assert plain.meta.compression == ""


@pytest.mark.parametrize("compression", ["pca", "geometric"])
@pytest.mark.parametrize(
    ("n_coils", "asked", "text"),
    [
        (4, 40, "all 4 coils are kept: 40 virtual coils were requested"),
        (1, 2, "the one coil is kept: 2 virtual coils were requested"),
        (4, 4, ""),
        (1, "auto", ""),
    ],
)
def test_coils_that_are_all_kept_are_stated(read, n_coils, asked, text, compression):
    scan = small_scan(n_coils=n_coils)
    plain = read(scan)
    data = read(scan, config=AcquisitionConfig(csm="walsh", n_virtual_coils=asked, compression=compression))
    assert data.meta.compression == text
    assert torch.equal(data.kspace, plain.kspace)
    assert data.meta.warnings == plain.meta.warnings


def test_coils_that_all_hold_signal_are_kept(read):
    data = read(small_scan(n_coils=2), config=AcquisitionConfig(csm="walsh", n_virtual_coils="auto"))
    assert data.n_coils == 2
    text = "all 2 coils are kept: fewer would discard more than 1% of the signal energy"
    assert data.meta.compression == text


def test_the_number_of_virtual_coils_may_follow_from_the_data(read):
    scan = small_scan(n_coils=8)
    plain = read(scan)
    n_virtual = CoilStatistics.of_kspace(plain.kspace, plain.mask).n_virtual("auto")
    data = read(scan, config=AcquisitionConfig(csm="walsh", n_virtual_coils="auto"))
    assert 1 < n_virtual < 8
    assert data.n_coils == n_virtual
    shown, expected = (finish_image(part.reference, part).abs() for part in (data, plain))
    assert relative_error(shown, expected) < 0.05


WHOLE_NUMBER = "expected a whole number of at least 1, or auto"


@pytest.mark.parametrize(
    ("value", "reason"),
    [*((value, WHOLE_NUMBER) for value in ("0", "-1", "few", "2.5")), ("true", "expected a number")],
)
def test_a_wrong_number_of_virtual_coils_is_refused(value, reason):
    with pytest.raises(ConfigError, match=reason):
        AcquisitionConfig().with_settings([f"n_virtual_coils={value}"])


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
    with pytest.raises(UnsupportedError, match="needs completely measured readouts"):
        read(scan, config=config)


@pytest.mark.parametrize(("n_coils", "n_steps"), [(1, 0), (3, 1)])
def test_the_plan_lists_compression_only_for_several_coils(opened, n_coils, n_steps):
    steps = opened(small_scan(n_coils=n_coils), "n_virtual_coils=auto").plan.steps
    assert sum("virtual coils" in step for step in steps) == n_steps
