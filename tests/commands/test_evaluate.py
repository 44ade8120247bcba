"""``cinerecon evaluate``: what it prints, writes and refuses."""

import json
import re

import numpy as np
import pytest
from helpers import call_main

from cinerecon.simulation.scan import SimulateConfig, simulate_scan


def call(monkeypatch, *arguments):
    return call_main(monkeypatch, "evaluate", *arguments)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "full.h5"
    simulate_scan(path, SimulateConfig(n_frames=8, ky=48, kx=40, n_coils=3))
    return path


def test_a_table_and_its_rules_are_printed(monkeypatch, capsys, scan):
    options = ["-m", "zerofilled", "-m", "cgsense", "--undersample", "gaussian:4"]
    assert call(monkeypatch, scan, *options, "--baseline", "cgsense") == 0
    printed = capsys.readouterr()
    assert "gaussian:4 (net acceleration 4.0), 3 coils, 1 slice" in printed.out
    assert "Δ PSNR over cgsense [dB]" in printed.out
    assert "data range: maximum of the reference in the series; crop: full field" in printed.out
    assert "1 slice is marked: simulated" in printed.out
    assert "gaussian:4, zerofilled: PSNR" in printed.err


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_is_as_wide_as_the_terminal(monkeypatch, capsys, scan, width):
    monkeypatch.setenv("COLUMNS", str(width))
    assert call(monkeypatch, scan, "-m", "zerofilled", "-m", "cgsense", "--undersample", "gaussian:4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert lines == [line.rstrip() for line in lines]
    first = next(line for line in lines if line.startswith("cgsense"))
    assert re.fullmatch(r"cgsense +\d+\.\d\d +0\.\d{4}.*", first)  # PSNR and SSIM, each in one piece


def test_another_profile_states_its_rules(monkeypatch, capsys, scan):
    options = ["-m", "zerofilled", "--undersample", "gaussian:4", "--profile", "cmrxrecon23"]
    assert call(monkeypatch, scan, *options) == 0
    assert "scale: own maximum; data range: 1; crop: central 0.5 x 0.667" in capsys.readouterr().out


def test_a_paper_table_marks_published_numbers(monkeypatch, capsys, scan, tmp_path):
    options = ["--table", "slr-1", "-m", "zerofilled", "-m", "ktslr", "-o", tmp_path, "--pictures", 0]
    assert call(monkeypatch, scan, *options) == 0
    printed = capsys.readouterr().out
    assert "slr-1. Table I: SLR-Net against classical and deep methods, 8x (3 coils, 1 slice)" in printed
    assert "+3.5 over ktslr, gaussian:8" in printed
    assert "values cannot be compared directly" in printed
    (ours, _) = json.loads((tmp_path / "summary.json").read_text())["results"]
    assert (ours["method"], ours["sampling"]) == ("zerofilled", "gaussian:8")
    assert "wrote    " + str(tmp_path / "report.html") in printed


def test_settings_apply_to_the_preprocessing_as_well(monkeypatch, capsys, scan, tmp_path):
    options = ["-m", "zerofilled", "--undersample", "gaussian:4", "-o", tmp_path, "--pictures", 0]
    assert call(monkeypatch, scan, *options, "--set", "preprocessing.exclude_coils=[0]") == 0
    assert ", 2 coils, 1 slice" in capsys.readouterr().out
    assert call(monkeypatch, scan, *options, "--set", "preprocessing.csm=walch") == 2
    assert "setting 'csm': input should be 'smooth', 'espirit' or 'walsh'" in capsys.readouterr().err


def test_two_methods_of_one_name_are_refused(monkeypatch, capsys, scan, tmp_path):
    """Their scores would have the same name."""
    (tmp_path / "slrnet").mkdir()
    options = ["-m", "slrnet", "-m", tmp_path / "slrnet", "--undersample", "gaussian:4"]
    assert call(monkeypatch, scan, *options) == 2
    assert "two methods would be called 'slrnet'" in capsys.readouterr().err


def test_missing_and_unknown_options_are_named(monkeypatch, capsys, scan):
    assert call(monkeypatch, scan, "-m", "zerofilled") == 2
    assert "no sampling pattern" in capsys.readouterr().err
    assert call(monkeypatch, scan, "--undersample", "gaussian:4") == 2
    assert "no method to evaluate" in capsys.readouterr().err
    assert call(monkeypatch, scan, "--table", "slr-9") == 2
    assert "unknown table 'slr-9'" in capsys.readouterr().err
    assert call(monkeypatch, scan, "-m", "zerofilled", "--undersample", "gaussian:4", "--baseline", "ktslr") == 2
    assert "not one of the methods" in capsys.readouterr().err


def test_failures_are_reported_and_the_rest_is_shown(monkeypatch, capsys, scan, tmp_path):
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(scan.read_bytes()[:4000])
    options = ["-m", "zerofilled", "--undersample", "gaussian:4", "-o", tmp_path / "out", "--pictures", 0]
    assert call(monkeypatch, scan, damaged, *options) == 2
    printed = capsys.readouterr()
    assert "failed   damaged, gaussian:4, zerofilled" in printed.err
    assert "gaussian:4 (net acceleration 4.0), 3 coils, 1 slice" in printed.out
    assert "failed: 1 of 2 reconstructions" in printed.out
    assert f"wrote    {tmp_path / 'out/failures.csv'}" in printed.out
    assert call(monkeypatch, scan, *options) == 0
    printed = capsys.readouterr()
    assert "kept     1 score of an earlier run" in printed.err
    assert "scores.csv also has" not in printed.out


def test_scores_of_another_seed_in_the_folder_are_announced(monkeypatch, capsys, scan, tmp_path):
    options = ["-m", "zerofilled", "--undersample", "gaussian:4", "-o", tmp_path / "out", "--pictures", 0]
    assert call(monkeypatch, scan, *options) == 0
    assert call(monkeypatch, scan, *options[:3], "gaussian:2", *options[4:]) == 0
    assert "scores.csv also has" not in capsys.readouterr().out
    assert call(monkeypatch, scan, *options, "--seed", 1) == 0
    assert "scores.csv also contains an earlier score with another seed, setting or image" in capsys.readouterr().out


def test_results_that_no_layout_holds_are_printed(monkeypatch, capsys, scan):
    assert call(monkeypatch, scan, "--table", "slr-4", "-m", "zerofilled", "--undersample", "gaussian:4") == 0
    printed = capsys.readouterr().out
    assert "slr-4. Table IV" in printed
    assert "gaussian:4 (net acceleration 4.0), 3 coils, 1 slice" in printed


@pytest.mark.parametrize(
    "option", [("--table", "slr-1"), ("--undersample", "gaussian:4"), ("--seed", 3), ("-m", "ktslr")]
)
def test_options_of_scans_do_not_go_with_images(monkeypatch, capsys, scan, option):
    assert call(monkeypatch, "--recon", scan, "--reference", scan, *option) == 2
    assert "scans, methods and their options cannot be given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (("IMAGES", "-m", "zerofilled", "--undersample", "gaussian:4"), ("evaluate --recon", "--reference REFERENCE")),
        (("SCAN", "-m", "zerofilled", "--undersample", "gausian:4"), ("did you mean 'gaussian'?",)),
        (("SCAN", "-m", "zerofilled", "--undersample", "no.npz"), ("there is no such mask", "cinerecon mask")),
        (
            ("SCAN", "-m", "zerofilled", "--undersample", "gaussian:4", "-o", "SCAN"),
            ("results need a folder", "-o results/"),
        ),
        (("SCAN", "-m", "zerofilled", "--undersample", "full", "--set", "n=3"), ("--set of zerofilled", "no settings")),
        (("--recon", "SCAN", "--reference", "SCAN"), ("the file contains no ISMRMRD images", "cinerecon recon")),
        (("--recon", "no.npy", "--reference", "SCAN"), ("there is no such file",)),
        (("--recon", "PICTURE", "--reference", "SCAN"), ("pictures and movies contain grey levels", ".npz, .npy")),
    ],
)
def test_a_mistake_gives_a_hint(monkeypatch, capsys, scan, tmp_path, arguments, lines):
    np.savez(tmp_path / "x.npz", image=np.ones((4, 8, 8), np.complex64))
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    places = {"SCAN": scan, "IMAGES": tmp_path / "x.npz", "PICTURE": tmp_path / "x.png"}
    content = scan.read_bytes()
    assert call(monkeypatch, *(places.get(argument, argument) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert all(text in error for text in lines)
    assert scan.read_bytes() == content
