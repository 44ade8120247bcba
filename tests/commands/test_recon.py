"""Output of `recon`: iterations, warnings, and the reference of the scores."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from cinerecon.cine_meta import CineMeta
from cinerecon.cli import app
from cinerecon.commands.recon_report import quality_line, some_iterations
from cinerecon.image import CineImage
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.simulation.scan import SimulateConfig, simulate_scan


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=3, n_slices=1, undersample="uniform:2,acs=4"))
    return path


def recon(scan, tmp_path, *arguments):
    result = CliRunner().invoke(app, ["recon", str(scan), "-o", str(tmp_path / "out.h5"), *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_first_and_last_iteration_are_shown_and_few_between():
    assert some_iterations(1) == [0]
    assert some_iterations(5) == [0, 1, 2, 3, 4]
    for n_iterations in (12, 13, 40, 101, 1000):
        shown = some_iterations(n_iterations)
        assert shown[0] == 0
        assert shown[-1] == n_iterations - 1
        assert 6 <= len(shown) <= 13


def test_verbose_shows_cost_residual_and_change(scan, tmp_path):
    output = recon(scan, tmp_path, "--model", "cgsense", "--set", "n_iterations=3", "--verbose")
    heading = next(n for n, line in enumerate(output.splitlines()) if "data residual" in line)
    rows = [line.split() for line in output.splitlines()[heading + 1 : heading + 4]]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    costs = [float(row[1]) for row in rows]
    assert costs == sorted(costs, reverse=True)
    assert "data residual" not in recon(scan, tmp_path, "--model", "cgsense", "--force")


def test_a_method_without_iterations_says_so(scan, tmp_path):
    assert "zerofilled does not record its convergence" in recon(scan, tmp_path, "--model", "zerofilled", "--verbose")


def test_json_holds_the_whole_record(scan, tmp_path):
    output = recon(scan, tmp_path, "--model", "lps", "--set", "n_iterations=15", "--verbose", "--json")
    (part,) = json.loads(output)["slices"]
    assert len(part["convergence"]["cost"]) == len(part["convergence"]["change"]) == 15


def test_warnings_are_printed_verbatim_on_standard_error(scan, tmp_path, monkeypatch):
    """They quote cards of models, which may hold anything; so may the names of files."""
    import cinerecon.reconstruction.slices as workflow

    monkeypatch.setattr(workflow, "card_warnings", lambda *_: ["trained on [/mnt/data] [bold]alone[/x]"])
    arguments = ["recon", str(scan), "-m", "zerofilled", "-o", str(tmp_path / "[/a].npz"), "--quiet"]
    for more in ([], ["--json", "--force"]):
        result = CliRunner().invoke(app, [*arguments, *more])
        assert result.exit_code == 0
        assert result.stderr == "warning  trained on [/mnt/data] [bold]alone[/x]\n"
        assert "warning  " not in result.stdout
    assert json.loads(result.stdout)["warnings"] == ["trained on [/mnt/data] [bold]alone[/x]"]


def test_the_reference_of_the_scores_is_stated():
    for kind, words in (
        ("truth", "the reference in the scan"),
        ("all samples", "the image of all its samples"),
        ("", "file"),
    ):
        cine = CineImage(np.ones((1, 2, 2), np.complex64), meta=CineMeta(reference_is=kind))
        line = quality_line(ReconstructedSlice(cine, 1, 1.0, 1.0, {}, 0.0, {"psnr": 30.0, "ssim": 0.9}))
        assert line.startswith("PSNR 30.00 dB, SSIM 0.9000 against ")
        assert line.endswith(words)


@pytest.mark.parametrize(("option", "text"), [("--csm", "foo"), ("--set", "preprocessing.foo=1"), ("--set", "foo=1")])
def test_a_wrong_setting_names_its_option(scan, tmp_path, option, text):
    result = CliRunner().invoke(
        app, ["recon", str(scan), "--model", "cgsense", "-o", str(tmp_path / "a.h5"), option, text]
    )
    assert result.exception.where.startswith(option)
    assert "foo" in result.exception.what


def invoke(*arguments):
    return CliRunner().invoke(app, ["recon", *map(str, arguments)])


def test_a_line_for_each_slice_where_there_is_no_terminal_and_none_with_quiet(scan, tmp_path):
    result = invoke(scan, "-m", "zerofilled", "-o", tmp_path / "a.npz")
    assert result.stderr.startswith("scan.h5, zerofilled: slice 0 (1 of 1), 4 frames of 32 x 36")
    result = invoke(scan, "-m", "zerofilled", "-o", tmp_path / "b.npz", "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "b.npz").exists()


def test_a_log_gets_slices_warnings_and_errors(scan, tmp_path, monkeypatch):
    import cinerecon.reconstruction.slices as workflow

    monkeypatch.setattr(workflow, "card_warnings", lambda *_: ["trained elsewhere"])
    log = tmp_path / "run.log"
    invoke(scan, "-m", "zerofilled", "-o", tmp_path / "a.npz", "--log", log)
    invoke(scan, "-m", "zerofilled", "-o", tmp_path / "a.npz", "--log", log)
    texts = [line.split(maxsplit=2)[2] for line in log.read_text().splitlines()]
    assert texts[0].startswith("INFO  scan.h5, zerofilled: slice 0 (1 of 1)")
    assert texts[1] == "WARNING  trained elsewhere"
    assert texts[2].startswith("ERROR  a.npz already exists")
    assert len(texts) == 3


def test_a_log_is_appended_to_no_other_file(scan, tmp_path):
    (tmp_path / "notes.txt").write_text("precious\n")
    before = scan.read_bytes()
    for log, match in (
        (scan, "is an input"),
        (tmp_path / "notes.txt", "is not a log"),
        (tmp_path / "x/y", "no such folder"),
    ):
        result = invoke(scan, "-m", "zerofilled", "-o", tmp_path / "a.npz", "--log", log)
        assert match in str(result.exception)
    assert scan.read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "precious\n"


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_images_in_place_of_a_scan_give_a_hint(tmp_path, name):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 2, 3), np.float32), np.eye(4)), tmp_path / name)
    error = invoke(tmp_path / name).exception
    assert error.what.endswith("a NIfTI image, not raw data")
    assert "cinerecon prepare" in error.hint
    assert "cinerecon simulate --from" in error.hint


def test_no_image_is_written_next_to_a_device(scan, tmp_path):
    import os

    with scan.open("rb") as file:
        link = f"/proc/self/fd/{file.fileno()}"
        error = invoke(link, "-m", "zerofilled").exception
        assert error.what == "images cannot be written next to a device"
        assert invoke(link, "-m", "zerofilled", "-o", tmp_path / "a.npz").exit_code == 0
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in invoke(tmp_path / "pipe", "-m", "zerofilled").exception.what


def test_a_mistyped_pattern_is_named_before_anything_else(scan, tmp_path):
    error = invoke(scan, "-m", "zerofilled", "--undersample", "gausian:8", "-o", tmp_path / "a.npz").exception
    assert error.what.startswith("unknown sampling pattern 'gausian")
    assert "gaussian" in error.hint


def test_a_missing_record_of_iterations_is_reported_once(tmp_path):
    path = tmp_path / "two.h5"
    simulate_scan(path, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=3, n_slices=2))
    result = invoke(path, "-m", "zerofilled", "-o", tmp_path / "a.h5", "-v")
    assert result.stdout.count("does not record its convergence") == 1


def test_a_stopped_run_states_what_is_stored(scan, tmp_path, monkeypatch):
    from cinerecon.io.export import FORMATS

    def fail(path, cines):
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(FORMATS, ".npz", fail)
    result = invoke(scan, "-m", "zerofilled", "-o", tmp_path / "a.npz", "-q")
    assert "No space left" in str(result.exception)
    assert "1 finished slice" in result.stderr
    assert "--resume" in result.stderr


def test_what_is_filled_in_of_a_partial_fourier_scan_is_printed(tmp_path):
    path = tmp_path / "partial.h5"
    simulate_scan(path, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=3, n_slices=1, partial_fourier=0.7))
    printed = recon(path, tmp_path, "--model", "zerofilled", "--no-verdict")
    assert re.search(r"slice 0  partial Fourier: \w+, \d+ of 32 ky", printed)
