"""No step allocates an array as large as k-space: its memory is that of k-space once, and of images."""

import tracemalloc
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from few_iterations import load_short
from helpers import complex_randn, relative_error
from largest_tensor import LargestTensor

from cinerecon.acquisition.coil_maps import GriddedSlice, finish_slice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.io.kspace_array import open_kspace_array
from cinerecon.methods.table import METHODS
from cinerecon.physics.coils import espirit, walsh

N_COILS = 24


@pytest.fixture
def data(make_cine):
    cine = make_cine(N_COILS, n_frames=16)
    return CineData(cine.kspace.to(torch.complex64), cine.mask, cine.csm.to(torch.complex64))


def n_bytes(array):
    return array.numel() * array.element_size()


CLASSICAL = [name for name, method in METHODS.items() if method.kind == "classical" and name != "ktslr-reference"]


@pytest.mark.parametrize("name", [*CLASSICAL, "slrnet", "dccnn"])
def test_methods_do_not_copy_kspace(name, data, monkeypatch):
    monkeypatch.setattr("cinerecon.methods.base.SAMPLES_AT_ONCE", 1)
    settings = ["n_iterations=2"] if name in CLASSICAL and name not in ("zerofilled", "viewshared") else []
    method = load_short(name, settings)
    if name not in CLASSICAL:
        data = replace(data, kspace=data.kspace.repeat(1, 8, 1, 1), csm=data.csm.repeat(8, 1, 1) / 8**0.5)
    with LargestTensor() as largest, torch.inference_mode():
        method.reconstruct(data, record=method.is_iterative)
    assert 0 < largest.n_bytes < n_bytes(data.kspace) / 2


@pytest.mark.parametrize("compression", ["pca", "geometric"])
def test_compression_and_maps_take_frames_one_by_one(compression, data):
    config = AcquisitionConfig(n_virtual_coils=6, compression=compression, csm="walsh")
    with LargestTensor() as largest:
        finished = finish_slice(GriddedSlice(data.kspace, data.mask), CineMeta(), config)
    assert finished.data.n_coils == 6
    assert largest.n_bytes <= n_bytes(data.kspace) / 4


@pytest.mark.parametrize("estimate", [walsh, lambda images: espirit(images, kernel_size=4, crop=0)])
def test_matrices_of_pixels_are_decomposed_a_few_rows_at_a_time(estimate, monkeypatch):
    images = complex_randn(12, 40, 36)
    whole = estimate(images)
    monkeypatch.setattr(import_module("cinerecon.physics.coils.walsh"), "NUMBERS_AT_ONCE", 7 * 36 * 12**2)
    with LargestTensor() as largest:
        by_rows = estimate(images)
    assert largest.n_bytes < 16 * 40 * 36 * 12**2 / 2
    assert relative_error(by_rows, whole) < 1e-12


def test_slices_of_a_mapped_array_are_read_without_a_copy_of_the_file(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    stored = rng.standard_normal((3, 16, 4, 32, 32, 2), dtype=np.float32)
    np.save(tmp_path / "k.npy", stored)
    monkeypatch.setattr("cinerecon.io.kspace_array.NUMBERS_AT_ONCE", 4 * 32 * 32)
    array = open_kspace_array(tmp_path / "k.npy", "slices frames coils ky kx parts")
    tracemalloc.start()
    kspace = array.read_slice(1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(kspace, stored[1, ..., 0] + 1j * stored[1, ..., 1])
    assert peak < 1.5 * kspace.nbytes
