"""Cases in the format of `cinerecon prepare`."""

from dataclasses import replace

import pytest

from cinerecon.archives.case_index import IndexRow, append_rows
from cinerecon.io.case import write_case
from cinerecon.physics.fourier import ifft2c
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

SIZES = {"a": (10, 3, 40, 48), "b": (8, 4, 48, 40), "c": (10, 3, 40, 48), "d": (8, 1, 40, 40), "e": (10, 3, 40, 48)}


def prepare(folder, sizes=SIZES, splits=None):
    """Write small slices with maps and reference, each of another subject; by default ``e`` is for validation."""
    for number, (name, (frames, coils, ky, kx)) in enumerate(sizes.items()):
        config = SimulateConfig(seed=number, n_frames=frames, n_coils=coils, ky=ky, kx=kx, view="short")
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
    """Folder of simulated cases, shared by all tests."""
    return tmp_path_factory.mktemp("cases")
