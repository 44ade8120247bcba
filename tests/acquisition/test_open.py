"""All commands find the same files with cines in a folder."""

import pytest
from raw_scan import small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import find_cines
from cinerecon.evaluation.jobs import list_scans
from cinerecon.preparation.sources import find_sources
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.training.scans import open_scans


@pytest.fixture
def folder(tmp_path):
    for name in ("b.HDF5", "a.h5", ".old/c.h5", "deep/d.mrd"):
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        small_scan().write(tmp_path / "scans" / name)
    reconstruct_scan(ReconRequest(tmp_path / "scans/a.h5", "zerofilled", (str(tmp_path / "scans/a.zerofilled.h5"),)))
    (tmp_path / "scans/notes.txt").write_text("no scan")
    return tmp_path / "scans"


def test_scans_by_their_endings_and_neither_what_is_hidden_nor_images(folder):
    assert find_cines(folder) == [folder / name for name in ("a.h5", "b.HDF5", "deep/d.mrd")]


def test_all_commands_find_the_same(folder, tmp_path):
    expected = find_cines(folder)
    assert list_scans([folder]) == expected
    assert [source.path for source in find_sources([folder], tmp_path / "data")[0]] == expected
    assert [path for path, _ in open_scans([folder], AcquisitionConfig(csm="walsh"), "brightness").slices] == expected
