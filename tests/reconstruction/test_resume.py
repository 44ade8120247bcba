"""A stopped reconstruction continues after its last finished slice, and only with the same scan and settings."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import UNUSED_PID

from cinerecon.errors import FileError
from cinerecon.methods.base import fingerprint
from cinerecon.methods.table import load_method
from cinerecon.provenance import Patient
from cinerecon.reconstruction.identity import Identity
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, reconstruct_scan
from cinerecon.reconstruction.scan_reconstruction import ScanReconstruction
from cinerecon.reconstruction.slice_cache import SliceCache
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SIZES = {"n_frames": 4, "ky": 32, "kx": 36, "n_coils": 3, "n_slices": 3, "undersample": "uniform:2,acs=8"}
OPTIONS = {"csm": "walsh", "settings": ("n_iterations=4",)}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, SimulateConfig(**SIZES))
    return path


def request(scan, tmp_path, **options):
    return ReconRequest(scan, "cgsense", (str(tmp_path / "out.npz"),), **OPTIONS | options)


def stop_after(n_slices):
    finished = []

    def stage(name):
        finished.append(name == "finish")
        if name == "read" and sum(finished) == n_slices:
            raise KeyboardInterrupt

    return Observer(stage=stage)


@pytest.fixture
def reconstructed(monkeypatch):
    """The slices that are reconstructed, in order."""
    indices, original = [], ScanReconstruction.reconstruct

    def note(run, index, *others):
        indices.append(index)
        return original(run, index, *others)

    monkeypatch.setattr(ScanReconstruction, "reconstruct", note)
    return indices


def test_a_resumed_run_gives_the_same_files_as_one_that_was_not_stopped(scan, tmp_path, reconstructed):
    (tmp_path / "whole").mkdir()
    whole = reconstruct_scan(request(scan, tmp_path / "whole"))
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scan(request(scan, tmp_path), stop_after(2))
    reconstructed.clear()
    resumed = reconstruct_scan(request(scan, tmp_path, resume=True))
    assert reconstructed == [2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.npz", "recon.jsonl", "whole"]
    for a, b in zip(whole.slices, resumed.slices, strict=True):
        assert a.meta == b.meta
        assert (a.residual, a.quality, a.acceleration) == (b.residual, b.quality, b.acceleration)
    ours, expected = (np.load(folder / "out.npz") for folder in (tmp_path, tmp_path / "whole"))
    assert set(ours) == set(expected)
    assert all(np.array_equal(ours[name], expected[name]) for name in expected)


@pytest.mark.parametrize("options", [{"settings": ("n_iterations=5",)}, {"frames": "0:3"}, {"csm": "smooth"}])
def test_slices_of_other_settings_are_not_taken(scan, tmp_path, reconstructed, options):
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scan(request(scan, tmp_path), stop_after(2))
    reconstructed.clear()
    reconstruct_scan(request(scan, tmp_path, resume=True, **options))
    assert reconstructed == [0, 1, 2]


def test_without_resume_all_is_reconstructed_again(scan, tmp_path, reconstructed):
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scan(request(scan, tmp_path), stop_after(2))
    reconstructed.clear()
    reconstruct_scan(request(scan, tmp_path))
    assert reconstructed == [0, 1, 2]


@pytest.mark.parametrize("resume", [True, False])
def test_an_image_that_a_killed_run_did_not_finish_is_removed(scan, tmp_path, resume):
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scan(request(scan, tmp_path), stop_after(2))
    (tmp_path / f".partial-{UNUSED_PID}-out.npz").touch()
    reconstruct_scan(request(scan, tmp_path, resume=resume))
    assert [path.name for path in tmp_path.iterdir() if path.name != "recon.jsonl"] == ["out.npz"]


@pytest.mark.parametrize("damage", ["000.json", "000.image.npy"])
def test_a_damaged_slice_is_reconstructed_again(scan, tmp_path, reconstructed, damage):
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scan(request(scan, tmp_path), stop_after(2))
    (folder,) = tmp_path.glob("*.slices-*")
    (folder / damage).write_bytes(b"{")
    reconstructed.clear()
    reconstruct_scan(request(scan, tmp_path, resume=True))
    assert reconstructed == [0, 2]


def test_a_stored_slice_is_the_slice(scan, tmp_path):
    (part,) = reconstruct_scan(request(scan, tmp_path, slices=(1,))).slices
    checksum = Identity.of(request(scan, tmp_path), fingerprint(load_method("cgsense")), tmp_path).checksum
    cache = SliceCache(tmp_path / "out.npz", checksum)
    for stored in (cache.store(part), cache.load(1)):
        assert isinstance(stored.image, np.memmap)
        assert np.array_equal(stored.image, part.image)
        assert np.array_equal(stored.reference, part.reference)
        assert stored.meta == part.meta
        assert stored.cine.header_xml == part.cine.header_xml
        assert all(np.array_equal(stored.cine.convergence[name], part.cine.convergence[name]) for name in ("cost",))
        assert stored.seconds == part.seconds
    assert cache.load(0) is None


def test_the_second_of_two_equal_runs_leaves_only_the_image_of_the_first(scan, tmp_path):
    def finish_first(stage):
        if stage == "write":
            (folder,) = tmp_path.glob("*.slices-*")
            shutil.rmtree(folder)
            (tmp_path / "out.npz").write_bytes(b"precious")

    with pytest.raises(FileError, match="in the meantime"):
        reconstruct_scan(request(scan, tmp_path), Observer(stage=finish_first))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"]


@pytest.mark.parametrize("name", ["out.npz", "out.nii", "dicom/"])
def test_a_file_written_meanwhile_is_left_as_it_is(scan, tmp_path, name):
    """Two runs with the same output at once: the second must not replace what the first has written."""
    path = tmp_path / name / "slice00_frame000.dcm" if name.endswith("/") else tmp_path / name

    def write(stage):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"precious")

    asked = ReconRequest(scan, "zerofilled", (f"{tmp_path}/{name}",), csm="walsh")
    with pytest.raises(FileError, match="in the meantime"):
        reconstruct_scan(asked, Observer(stage=write))
    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.glob("*.slices-*/*.json"))) == 3, "the work is not lost"
    path.unlink()
    written = ReconRequest(scan, "zerofilled", (f"{tmp_path}/{name}",), csm="walsh", resume=True)
    assert tmp_path / name in reconstruct_scan(written).written


def test_a_resumed_run_overwrites_no_image_of_another(scan, tmp_path):
    """Only what the interrupted run wrote: here the first of its outputs, before the second one failed."""
    outputs = [str(tmp_path / name) for name in ("a.npz", "b.nii", "c.cfl")]

    def stop(text, _):
        if text == "writing b.nii":
            raise KeyboardInterrupt

    asked = ReconRequest(scan, "zerofilled", outputs[:2], csm="walsh")
    with pytest.raises(KeyboardInterrupt):
        reconstruct_scan(asked, Observer(progress=stop))
    assert (tmp_path / "a.npz").exists()
    for number in (1, 2):
        other = tmp_path / Path(outputs[number]).name
        other.write_bytes(b"precious")
        with pytest.raises(FileError, match=f"{other.name} already exists"):
            reconstruct_scan(asked.with_values(outputs=tuple(outputs), resume=True))
        assert other.read_bytes() == b"precious"
        other.unlink()
    written = reconstruct_scan(asked.with_values(outputs=tuple(outputs), resume=True)).written
    assert {str(path) for path in written} == set(outputs)
    assert not list(tmp_path.glob("*.slices-*"))


def test_a_finished_scan_is_not_reconstructed_again(scan, tmp_path, reconstructed):
    first = reconstruct_scan(request(scan, tmp_path, resume=True))
    assert len(first.slices) == 3
    reconstructed.clear()
    again = reconstruct_scan(request(scan, tmp_path, resume=True))
    assert (again.outcome.is_earlier, again.outcome.written) == (True, (str(tmp_path / "out.npz"),))
    assert (again.slices, reconstructed) == ((), [])
    with pytest.raises(FileError, match="already exists") as error:
        reconstruct_scan(request(scan, tmp_path, resume=True, settings=("n_iterations=5",), frames="0:3"))
    assert error.value.what == (
        "out.npz already exists, but was made with --set n_iterations=4, not --set n_iterations=5; "
        "with the default of --frames, not --frames 0:3"
    )
    assert "--force" in error.value.hint
    more = request(scan, tmp_path, resume=True).with_values(outputs=(f"{tmp_path}/out.npz", f"{tmp_path}/more.nii"))
    assert [path.name for path in reconstruct_scan(more).written] == ["more.nii"]


def test_a_scan_of_another_name_and_place_is_another_scan(scan, tmp_path):
    """Files of the same size and time are distinguished by their position."""
    for name in ("P1/cine.h5", "P2/cine.h5"):
        (tmp_path / name).parent.mkdir()
        shutil.copy2(scan, tmp_path / name)
    reconstruct_scan(request(tmp_path / "P1/cine.h5", tmp_path, resume=True))
    with pytest.raises(FileError, match=r"already exists, but was made from P1/cine\.h5\n"):
        reconstruct_scan(request(tmp_path / "P2/cine.h5", tmp_path, resume=True))
    with pytest.raises(FileError, match=r"but was made from an earlier version of the scan\n"):
        os.utime(tmp_path / "P1/cine.h5")
        reconstruct_scan(request(tmp_path / "P1/cine.h5", tmp_path, resume=True))
    with pytest.raises(FileError, match="from an earlier version of the scan; for another patient"):
        patient = Patient(patient_id="4711")
        dicom = (f"{tmp_path}/out.npz", f"{tmp_path}/dicom/")
        reconstruct_scan(
            request(tmp_path / "P1/cine.h5", tmp_path, resume=True, patient=patient).with_values(outputs=dicom)
        )


def test_a_scan_that_changes_while_it_is_read_is_refused(scan, tmp_path):
    copy = shutil.copy(scan, tmp_path / "copy.h5")

    def stage(name):
        if name == "finish":
            os.utime(copy)

    with pytest.raises(FileError, match=r"copy\.h5 was changed while it was read"):
        reconstruct_scan(request(copy, tmp_path, slices=(0, 1)), Observer(stage=stage))
    assert not (tmp_path / "out.npz").exists()
