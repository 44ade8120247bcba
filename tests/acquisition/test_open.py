"""All commands find the same files with cines in a folder, and open each once."""

import pytest
from helpers import counted
from raw_scan import small_scan

from cinerecon.acquisition import open as module
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import ScanOpener, find_cines
from cinerecon.evaluation.jobs import list_scans
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.preparation.sources import find_sources
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan
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


def test_a_file_stays_open_until_the_next_one_or_until_it_changes(tmp_path):
    a, b = (small_scan().write(tmp_path / name) for name in ("a.h5", "b.h5"))
    opener = ScanOpener(AcquisitionConfig(csm="walsh"))
    with counted((module, "open_scan")) as counts:
        first = opener.open(a)
        assert opener.open(a) is first and counts["open_scan"] == 1
        assert opener.open(b).files == (b,) and opener.open(a) is not first and counts["open_scan"] == 3
        small_scan(n_frames=5).write(a)
        assert opener.open(a).read_slice(0).n_frames == 5 and counts["open_scan"] == 4


def test_an_evaluation_opens_a_scan_once_for_all_slices_patterns_and_methods(tmp_path):
    path = tmp_path / "scan.h5"
    simulate_scan(path, SimulateConfig(n_slices=3, n_frames=2, ky=16, kx=16, n_coils=2))
    with counted((module, "open_scan")) as counts:
        scores = evaluate(
            [path], EvaluationRequest(["zerofilled", "viewshared"], ["gaussian:2", "gaussian:4"], output=tmp_path)
        ).scores
    assert len(scores) == 12 and counts == {"open_scan": 1}


def test_a_link_to_itself_stops_no_search(tmp_path):
    (tmp_path / "loop.h5").symlink_to("loop.h5")
    (tmp_path / "nothing.h5").symlink_to("missing.h5")
    (tmp_path / "again").symlink_to(".")
    simulate_scan(tmp_path / "cine.h5", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2))
    assert tmp_path / "cine.h5" in find_cines(tmp_path)
    assert tmp_path / "loop.h5" not in find_cines(tmp_path)
