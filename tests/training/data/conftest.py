"""Prepared cases in the form that `cinerecon prepare` leaves."""

from dataclasses import replace

import numpy as np
import pytest

from cinerecon.io.case import write_case
from cinerecon.io.case_index import IndexRow, append_rows
from cinerecon.physics.fourier import ifft2c
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

SIZES = {"a": (10, 3, 40, 48), "b": (8, 4, 48, 40), "c": (10, 3, 40, 48), "d": (8, 1, 40, 40), "e": (10, 3, 40, 48)}


def prepare(folder, sizes=SIZES, splits=None):
    """Small slices with maps and reference, one person each; by default ``e`` is for validation."""
    for number, (name, (frames, coils, ky, kx)) in enumerate(sizes.items()):
        config = SimulateConfig(seed=number, frames=frames, coils=coils, ky=ky, kx=kx, view="short")
        (data,) = simulate_cine(config)
        images = ifft2c(data.kspace)
        reference = images[:, 0] if coils == 1 else (data.csm.conj() * images).sum(1)
        write_case(folder / f"{name}.h5", replace(data, csm=None if coils == 1 else data.csm, reference=reference))
        split = (splits or {"e": "val"}).get(name, "train")
        hashes = ["0" * 64] * 3
        append_rows(
            folder, [IndexRow(f"{name}.h5", split, name, "sim", 0, 0, 1, frames, coils, ky, kx, 1.0, "", *hashes)]
        )
    return folder


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder of five cases of three sizes."""
    folder = tmp_path_factory.mktemp("prepared")
    return prepare(folder)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where simulated cases are kept, shared by all tests."""
    return tmp_path_factory.mktemp("cases")


@pytest.fixture
def write_series():
    """Writes a measured series of four frames, noise if none are given, as a NumPy archive."""

    def write(path, seed=0, magnitude=None, **texts):
        np.savez(
            path,
            magnitude=np.random.default_rng(seed).integers(1, 99, (4, 40, 60)) if magnitude is None else magnitude,
            trigger_time_ms=np.arange(4) * 30.0,
            pixel_spacing_mm=[1.5, 1.5],
            slice_thickness_mm=8.0,
            image_orientation_patient=[1.0, 0, 0, 0, 1, 0],
            image_position_patient=[0.0, 0, 0],
            **texts,
        )
        return path

    return write
