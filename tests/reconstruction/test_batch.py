"""Several scans and methods in one call: each on its own, resumable, and compared side by side."""

import json
import shutil
import sys
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
import pytest
from helpers import UNUSED_PID

from cinerecon.archives.journal import Journal
from cinerecon.cine_meta import CineMeta
from cinerecon.cli import main
from cinerecon.errors import ConfigError, FileError
from cinerecon.image import CineImage
from cinerecon.io.export import Target
from cinerecon.provenance import Patient
from cinerecon.reconstruction import batch_run
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import write_comparison
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.reconstruction.scan_reconstruction import ScanReconstruction
from cinerecon.simulation.scan import SimulateConfig, simulate_scan


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed, name in enumerate(("p1/cine.h5", "p2/cine.h5", "other.h5")):
        (folder / name).parent.mkdir(exist_ok=True)
        simulate_scan(folder / name, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=3, seed=seed))
    return folder


@pytest.fixture
def reconstructed(monkeypatch):
    names, original = [], ScanReconstruction.reconstruct

    def note(run, *others):
        names.append(f"{run.request.scan.parent.name}/{run.request.scan.stem}")
        return original(run, *others)

    monkeypatch.setattr(ScanReconstruction, "reconstruct", note)
    return names


def recon(monkeypatch, capsys, *arguments):
    """Exit code, standard output, standard error."""
    monkeypatch.setattr(sys, "argv", ["cinerecon", "recon", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return (stop.value.code or 0, *capsys.readouterr())


def test_a_folder_of_scans_gives_what_each_scan_gives_alone(scans, tmp_path, monkeypatch, capsys):
    code, out, err = recon(
        monkeypatch, capsys, scans, "-m", "zerofilled", "-o", f"{tmp_path}/out/", "--format", "npz", "--csm", "walsh"
    )
    assert code == 0
    names = ("other", "p1/cine", "p2/cine")
    for name in names:
        alone = ReconRequest(scans / f"{name}.h5", "zerofilled", (str(tmp_path / "a.npz"),), csm="walsh", force=True)
        (part,) = reconstruct_scan(alone).slices
        assert np.array_equal(np.load(tmp_path / f"out/{name}.zerofilled.npz")["image"][0], part.image)
    rows = [line.split() for line in out.splitlines()]
    assert [row[0] for row in rows if row and row[-1] == "written"] == list(names)
    assert err.count("slice 0 (1 of 1)") == 3, "a line for each slice"


def test_one_failure_stops_no_other_scan_and_exits_with_2(scans, tmp_path, monkeypatch, capsys):
    broken = tmp_path / "broken.h5"
    broken.write_bytes((scans / "other.h5").read_bytes()[:3000])
    paths = (broken, tmp_path / "missing.h5", scans / "other.h5")
    code, out, err = recon(
        monkeypatch, capsys, *paths, "-m", "zerofilled", "-o", f"{tmp_path}/out/", "--format", ".NPZ"
    )
    assert code == 2
    assert (tmp_path / "out/other.zerofilled.npz").exists()
    results = {line.split()[0]: line.split()[-1] for line in out.splitlines() if line and line.split()[0] in out}
    assert (results["broken"], results["missing"], results["other"]) == ("failed", "failed", "written")
    assert "2 of 3 failed" in out
    assert "failed  missing, zerofilled: there is no such file" in err
    assert "Traceback" not in err


def test_a_batch_resumes_after_what_is_finished(scans, tmp_path, monkeypatch, capsys, reconstructed):
    arguments = ("-m", "zerofilled", "-o", f"{tmp_path}/out/", "--format", "npz", "--csm", "walsh")
    assert recon(monkeypatch, capsys, scans / "p1/cine.h5", scans / "other.h5", *arguments)[0] == 0
    reconstructed.clear()
    code, out, _ = recon(monkeypatch, capsys, scans / "p1/cine.h5", scans / "other.h5", *arguments, "--resume")
    assert (code, reconstructed) == (0, [])
    assert out.count("finished earlier") == 2
    (tmp_path / "out/other.zerofilled.npz").unlink()
    assert recon(monkeypatch, capsys, scans / "p1/cine.h5", scans / "other.h5", *arguments, "--resume")[0] == 0
    assert [name.split("/")[1] for name in reconstructed] == ["other"]


def test_results_of_other_settings_count_neither_as_finished_nor_are_they_overwritten(
    scans, tmp_path, monkeypatch, capsys
):
    arguments = (scans / "other.h5", "-m", "zerofilled", "-o", f"{tmp_path}/", "--format", "npz", "--resume")
    assert recon(monkeypatch, capsys, *arguments, "--csm", "walsh")[0] == 0
    before = (tmp_path / "other.zerofilled.npz").read_bytes()
    code, _, err = recon(monkeypatch, capsys, *arguments, "--csm", "smooth")
    assert code == 2
    assert "already exists, but was made with --csm walsh, not --csm smooth" in err
    assert (tmp_path / "other.zerofilled.npz").read_bytes() == before


def test_methods_are_compared_side_by_side(scans, tmp_path, monkeypatch, capsys):
    movie = tmp_path / "compare.gif"
    options = ("-m", "zerofilled", "-m", "cgsense", "--undersample", "uniform:3,acs=8", "--csm", "walsh")
    code, out, _ = recon(monkeypatch, capsys, scans / "other.h5", *options, "-o", movie)
    assert code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["compare.gif"]
    height, width = iio.imread(movie, index=0).shape[:2]
    assert width == 3 * (height * 36 // 32), "zerofilled, cgsense and the reference"
    assert [line.split()[1] for line in out.splitlines() if line.startswith("other")] == ["zerofilled", "cgsense"]
    code, _, err = recon(monkeypatch, capsys, scans / "other.h5", *options, "-o", movie)
    assert code == 2
    assert "already exists" in err


def test_a_comparison_shows_all_methods_of_a_slice_with_one_window(tmp_path):
    def method(name, values):
        images = [np.full((2, 32, 32), value, np.complex64) for value in values]
        return [
            CineImage(image, np.full_like(image, 1), CineMeta(slice=number), name)
            for number, image in enumerate(images)
        ]

    target = Target.parse(str(tmp_path / "a.gif"))
    write_comparison([method("first", (0.25, 0.5)), method("second", (0.5, 0.75))], target)
    frame = np.atleast_3d(iio.imread(target.path, index=0))[..., :3].mean(-1)
    height, width = frame.shape
    shades = [
        frame[row * height // 2 + height // 4, column * width // 3 + width // 6]
        for row in (0, 1)
        for column in (0, 1, 2)
    ]
    assert shades == pytest.approx([64, 128, 255, 128, 191, 255], abs=3)
    label = frame[:30, : width // 3]
    assert label.max() > 200, "the name is written over the image"


@pytest.mark.parametrize(
    ("models", "outputs", "formats", "match"),
    [
        (("a",), ("x.npz",), (), "one folder"),
        (("a",), ("x.mp4",), (), "compares several methods"),
        (("a",), (), (), "need an output folder"),
        (("a", "x/a"), ("out/",), (), "the same name"),
        (("a",), ("out/",), (".mp3",), "no image format"),
        (("a",), ("out/", "second/"), (), "one folder"),
    ],
)
def test_outputs_of_several_scans_that_make_no_sense_are_refused(scans, models, outputs, formats, match):
    with pytest.raises(ConfigError, match=match):
        plan_batch([scans], models, outputs, formats, ReconRequest(scans, "a"))


def test_several_scans_are_not_given_to_one_patient(scans):
    with pytest.raises(ConfigError, match="only one patient is given for 3 scans"):
        plan_batch([scans], ("a",), ("out/",), (), ReconRequest(scans, "a", patient=Patient(patient_id="1")))


def test_a_folder_without_scans_is_an_error(tmp_path):
    with pytest.raises(FileError, match="no scan found"):
        plan_batch([tmp_path], ("a",), ("out/",), (), ReconRequest(tmp_path, "a"))


def test_the_record_names_figures_and_files(scans, tmp_path, monkeypatch, capsys):
    path = scans / "other.h5"
    arguments = (path, "-m", "zerofilled", "-o", f"{tmp_path}/out/", "--format", "dicom", "--json")
    code, out, _ = recon(monkeypatch, capsys, *arguments)
    (result,) = json.loads(out)
    entry = Journal(tmp_path / "out/recon.jsonl").get("other.zerofilled")
    assert code == 0
    assert entry["written"] == ["other.zerofilled.dicom"], "relative to the folder of the record"
    assert result["written"] == [str(tmp_path / "out/other.zerofilled.dicom")]
    assert len(list((tmp_path / "out/other.zerofilled.dicom").glob("*.dcm"))) == 4
    assert entry["figures"]["psnr"] == result["psnr"] > 20
    assert h5py.is_hdf5(path)


def test_a_finished_comparison_is_not_reconstructed_again(scans, tmp_path, monkeypatch, capsys, reconstructed):
    """Its methods are if the movie is missing."""
    scan, output = scans / "other.h5", f"{tmp_path}/out/"
    methods = ("-m", "zerofilled", "-m", "viewshared", "--csm", "walsh")
    arguments = (scan, *methods, "-o", output, "--format", "npz", "--resume")
    assert recon(monkeypatch, capsys, *arguments)[0] == 0
    reconstructed.clear()
    code, out, _ = recon(monkeypatch, capsys, *arguments)
    assert (code, reconstructed) == (0, [])
    assert out.count("finished earlier") == 2
    movie = tmp_path / "out/other.compare.mp4"
    partial = movie.with_name(f".partial-{UNUSED_PID}-{movie.name}")  # as of a run that was killed
    movie.rename(partial)
    assert recon(monkeypatch, capsys, *arguments)[0] == 0
    assert movie.exists()
    assert not partial.exists()
    assert len(reconstructed) == 2


def states(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.is_file() and path.suffix != ".jsonl"}


def test_only_missing_images_of_a_finished_batch_are_written(scans, tmp_path, monkeypatch, capsys, reconstructed):
    """A format that is added, and a file that was removed; a map belongs to its image."""
    arguments = (scans / "other.h5", "-m", "zerofilled", "-o", f"{tmp_path}/", "--csm", "walsh", "--snr", "--resume")
    stem = str(tmp_path / "other.zerofilled")
    assert recon(monkeypatch, capsys, *arguments, "--format", "cfl")[0] == 0
    first = states(tmp_path)
    formats = ("--format", "cfl", "--format", "nii.gz", "--format", "npz")
    code, out, _ = recon(monkeypatch, capsys, *arguments, *formats, "--json")
    assert (code, len(reconstructed)) == (0, 2)
    assert first.items() < states(tmp_path).items(), "the other images are left as they are"
    everything = states(tmp_path)
    written = [
        f"{stem}{name}" for name in (".cfl", ".snr.cfl", ".noise.cfl", ".nii.gz", ".snr.nii.gz", ".noise.nii.gz")
    ]
    assert json.loads(out)[0]["written"] == [*written, f"{stem}.npz"]
    (tmp_path / "other.zerofilled.snr.nii.gz").unlink()
    assert recon(monkeypatch, capsys, *arguments, *formats)[0] == 0
    assert states(tmp_path).keys() == everything.keys()
    assert {path for path, time in states(tmp_path).items() if time != everything[path]} == {
        tmp_path / f"other.zerofilled{name}.nii.gz" for name in ("", ".snr", ".noise")
    }
    assert recon(monkeypatch, capsys, *arguments, *formats)[1].count("finished earlier") == 1
    assert len(reconstructed) == 3


def test_a_batch_resumes_from_another_folder_and_after_it_was_moved(
    scans, tmp_path, monkeypatch, capsys, reconstructed
):
    shutil.copytree(scans, tmp_path / "project/scans")
    options = ("-m", "zerofilled", "--format", "npz", "--csm", "walsh", "--resume")
    monkeypatch.chdir(tmp_path / "project")
    assert recon(monkeypatch, capsys, "scans", "-o", "images/", *options)[0] == 0
    monkeypatch.chdir(tmp_path / "project/scans")
    assert recon(monkeypatch, capsys, ".", "-o", "../images/", *options)[1].count("finished earlier") == 3
    (tmp_path / "project").rename(tmp_path / "moved")
    monkeypatch.chdir("/")
    reconstructed.clear()
    out = recon(monkeypatch, capsys, tmp_path / "moved/scans", "-o", f"{tmp_path}/moved/images/", *options)[1]
    assert (out.count("finished earlier"), reconstructed) == (3, [])


def test_a_refused_attempt_does_not_replace_the_record_of_images(scans, tmp_path, monkeypatch, capsys):
    arguments = (scans / "other.h5", "-m", "zerofilled", "-o", f"{tmp_path}/", "--format", "npz", "--resume")
    assert recon(monkeypatch, capsys, *arguments, "--csm", "walsh")[0] == 0
    before = (tmp_path / "recon.jsonl").read_text()
    assert recon(monkeypatch, capsys, *arguments, "--csm", "smooth")[0] == 2
    assert (tmp_path / "recon.jsonl").read_text() == before


@pytest.mark.parametrize("output", ["", "out/"])
def test_a_resumed_comparison_overwrites_no_other_movie(scans, tmp_path, monkeypatch, capsys, reconstructed, output):
    movie = tmp_path / "mine.gif"
    movie.write_bytes(b"precious")
    methods = ("-m", "zerofilled", "-m", "viewshared", "--csm", "walsh", "--resume")
    folder = ("-o", f"{tmp_path}/{output}", "--format", "npz") if output else ()
    arguments = (scans / "other.h5", *methods, "-o", movie, *folder)
    code, _, err = recon(monkeypatch, capsys, *arguments)
    assert (code, "mine.gif already exists" in err, reconstructed) == (2, True, [])
    assert movie.read_bytes() == b"precious"
    movie.unlink()
    assert recon(monkeypatch, capsys, *arguments)[0] == 0
    reconstructed.clear()
    code, out, _ = recon(monkeypatch, capsys, *arguments)
    assert (code, out.count("finished earlier"), reconstructed) == (0, 2, [])
    code, _, err = recon(monkeypatch, capsys, *arguments[:-1], ".png" if output else movie, "--csm", "smooth")
    assert (code, "already exists" in err) == (2, True)


def test_a_movie_that_was_written_meanwhile_is_left_as_it_is(scans, tmp_path, monkeypatch, capsys):
    movie, write = tmp_path / "mine.gif", batch_run.write_comparison

    def write_late(images, target, **options):
        movie.write_bytes(b"precious")
        write(images, target, **options)

    arguments = (scans / "other.h5", "-m", "zerofilled", "-m", "viewshared", "-o", movie, "--resume")
    monkeypatch.setattr(batch_run, "write_comparison", write_late)
    for text in ("in the meantime", "already exists"):
        code, _, err = recon(monkeypatch, capsys, *arguments)
        assert (code, text in err, movie.read_bytes()) == (2, True, b"precious")


def test_a_scan_more_renames_no_other(scans, tmp_path, monkeypatch, capsys, reconstructed):
    arguments = ("-m", "zerofilled", "-o", f"{tmp_path}/out/", "--format", "npz", "--csm", "walsh", "--resume")
    assert recon(monkeypatch, capsys, scans / "p1/cine.h5", scans / "other.h5", *arguments)[0] == 0
    reconstructed.clear()
    assert recon(monkeypatch, capsys, scans, *arguments)[0] == 0
    assert reconstructed == ["p2/cine"]
    images = {path.relative_to(tmp_path / "out").as_posix() for path in tmp_path.glob("out/**/*.npz")}
    assert images == {"cine.zerofilled.npz", "other.zerofilled.npz", "p2/cine.zerofilled.npz"}


def test_two_images_never_have_one_name(scans, tmp_path):
    for name in ("a.h5", "a.zerofilled.h5", "A.h5"):
        (tmp_path / name).touch()
    (tmp_path / "zerofilled.cgsense").mkdir()
    common = ReconRequest(tmp_path / "a.h5", "cgsense")
    for names in (("a.h5", "a.zerofilled.h5"),):
        with pytest.raises(ConfigError, match="would have the same name"):
            plan_batch(
                [tmp_path / name for name in names],
                ["cgsense", str(tmp_path / "zerofilled.cgsense")],
                [f"{tmp_path}/out/"],
                [".npz"],
                common,
            )
    names = plan_batch([tmp_path / "a.h5", tmp_path / "A.h5"], ["cgsense"], [f"{tmp_path}/o/"], [".npz"], common).names
    assert len({name.casefold() for name in names.values()}) == 2


def test_a_scan_that_is_given_twice_is_reconstructed_once(scans, monkeypatch):
    monkeypatch.chdir(scans)
    paths = [Path("p1/cine.h5"), scans / "p1/cine.h5", scans / "p1", Path()]
    batch = plan_batch(paths, ["zerofilled"], ["out/"], [".npz"], ReconRequest(paths[0], "zerofilled"))
    assert list(batch.names.values()) == ["p1/cine", "other", "p2/cine"]
