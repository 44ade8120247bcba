"""The command line from outside: help, errors and their exit codes, and what a run prints."""

import json
import os
import re
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from helpers import call_main

from cinerecon.cli import COMMANDS, RENAMED_OPTIONS, SPIN_COUNT, load_command, main, with_present_options
from cinerecon.commands import console
from cinerecon.errors import ConfigError
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

FORMER = {name for names in RENAMED_OPTIONS.values() for name in names}
HEAVY = ("torch", "scipy", "sigpy", "matplotlib", "numpy", "h5py")
ALL = [[], *([name] for name in COMMANDS), ["models", "show"], ["models", "import"]]


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=3, n_slices=1))
    return path


@pytest.fixture
def restored_signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("arguments", ALL, ids=str)
def test_help_lists_the_commands_and_is_quick(arguments):
    """The number of modules, on which the time depends; 460 modules take about 0.3 s."""
    code = (
        f"import sys; sys.argv = ['cinerecon', *{arguments}, '--help']\n"
        "from cinerecon.cli import main\n"
        "try: main()\n"
        "except SystemExit:\n"
        f"    loaded = [name for name in sys.modules if name.startswith('cinerecon.commands.') or name in {HEAVY}]\n"
        "    print(len(sys.modules), *loaded, file=sys.stderr)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "Usage" in outcome.stdout
    assert all(name in outcome.stdout for *group, name in ALL[1:] if group == arguments)
    n_modules, *loaded = outcome.stderr.split()
    assert int(n_modules) < 520
    others = {*HEAVY, *(f"cinerecon.commands.{name}" for name in COMMANDS if [name] != arguments[:1])}
    assert not others & set(loaded)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [({}, SPIN_COUNT), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
    ids=["default", "spin count of the user", "policy of the user"],
)
def test_idle_threads_soon_sleep(setting, expected):
    """The library of the threads prints the settings that it has read."""
    code = (
        "import sys; sys.argv = ['cinerecon', '--help']\n"
        "from cinerecon.cli import main\n"
        "try: main()\n"
        "except SystemExit: import torch"
    )
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment |= {"OMP_DISPLAY_ENV": "VERBOSE", **setting}
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    if "GOMP_SPINCOUNT" not in outcome.stderr:
        pytest.skip("the threads of this torch are not those of libgomp")
    assert f"GOMP_SPINCOUNT = '{expected}'" in outcome.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_has_the_summary_of_each_command(name):
    assert load_command(name).help.splitlines()[0] == COMMANDS[name]


def test_a_misspelled_command_is_an_error_with_the_nearest_name(monkeypatch, capsys):
    assert call_main(monkeypatch, "reco") == 2
    assert "recon" in capsys.readouterr().err


def test_recon_prints_table_paths_and_quality(monkeypatch, capsys, scan, tmp_path):
    output = tmp_path / "out.npz"
    assert call_main(monkeypatch, "recon", scan, "--model", "zerofilled", "-o", output, "-o", tmp_path / "dicom/") == 0
    printed = capsys.readouterr().out
    assert "32 x 36" in printed
    assert f"wrote    {output}" in printed
    assert "against the reference in the scan" in printed.splitlines()[-1]
    assert np.load(output)["image"].shape == (1, 4, 32, 36)
    assert len(list((tmp_path / "dicom").glob("*.dcm"))) == 4


def test_more_virtual_coils_than_coils_are_stated_by_each_command(monkeypatch, capsys, scan, tmp_path):
    text, data = "all 3 coils are kept: 40 virtual coils were requested", tmp_path / "data"
    asked = ("--compress-coils", "40")
    assert call_main(monkeypatch, "recon", scan, "-m", "zerofilled", "-o", tmp_path / "out.npz", *asked) == 0
    assert f"slice 0  {text}" in capsys.readouterr().out
    assert call_main(monkeypatch, "prepare", scan, "-o", data, "--no-pictures", *asked) == 0
    assert text in " ".join(capsys.readouterr().out.split())
    with h5py.File(next(data.rglob("*.h5"))) as case:
        assert case.attrs["coil_compression"] == text
    assert call_main(monkeypatch, "inspect", scan, "--set", "preprocessing.n_virtual_coils=40") == 0
    assert text in " ".join(capsys.readouterr().out.split())


def test_recon_prints_json(monkeypatch, capsys, scan, tmp_path):
    output = tmp_path / "out.npz"
    call_main(
        monkeypatch, "recon", scan, "-m", "zerofilled", "-o", output, "--undersample", "kt-equispaced:2", "--json"
    )
    report = json.loads(capsys.readouterr().out)
    assert report["slices"][0]["acceleration"] == 2
    assert report["slices"][0]["quality"]["psnr"] > 10
    assert list(report["written"]) == [str(output)]


def test_an_error_of_use_is_three_lines_and_code_2(monkeypatch, capsys, scan):
    assert call_main(monkeypatch, "recon", scan, "--model", "zerofiled") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "error  unknown method 'zerofiled'"
    assert lines[1] == "where  name of the method"
    assert lines[2].startswith("try    did you mean 'zerofilled'?")
    assert "Traceback" not in captured.err


def test_debug_shows_the_traceback_in_any_position(monkeypatch, capsys):
    for arguments in (("--debug", "mask", "nonsense"), ("mask", "nonsense", "--debug")):
        assert call_main(monkeypatch, *arguments) == 2
        captured = capsys.readouterr().err
        assert "Traceback" in captured
        assert "error  unknown sampling pattern 'nonsense'" in captured


@pytest.mark.parametrize("option", [["--undersample", ""], ["--undersample="], ["-o", ""]])
def test_an_empty_argument_is_refused(monkeypatch, capsys, scan, tmp_path, option):
    """A shell variable that is not set: all samples would be used, or another output written."""
    assert call_main(monkeypatch, "recon", scan, "-o", tmp_path / "cine.npz", *option) == 2
    assert capsys.readouterr().err.startswith("error  an argument is empty\nwhere  -")
    assert not (tmp_path / "cine.npz").exists()


def test_a_usage_error_is_code_2(monkeypatch, capsys):
    assert call_main(monkeypatch, "recon") == 2
    assert call_main(monkeypatch, "recon", "a.h5", "--modle", "x") == 2
    assert call_main(monkeypatch, "nonsense") == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ("inspect", "{}.h5"),
        ("recon", "{}.h5"),
        ("mask", "gaussian:4", "-o", "{}.npz"),
        ("prepare", "{}", "-o", "cases"),
    ],
)
def test_a_name_that_the_file_system_refuses_is_an_error_of_use(monkeypatch, capsys, tmp_path, arguments):
    monkeypatch.chdir(tmp_path)
    assert call_main(monkeypatch, *(argument.format("n" * 300) for argument in arguments)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error  ")
    assert "too long" in lines[0]


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (ZeroDivisionError("ours"), 1)])
def test_interruptions_have_no_traceback_and_bugs_have_one(monkeypatch, capsys, raised, code):
    import cinerecon.methods.catalogue as models

    def fail():
        raise raised

    monkeypatch.setattr(models, "list_models", fail)
    assert call_main(monkeypatch, "models") == code
    assert ("ZeroDivisionError: ours" in capsys.readouterr().err) == (code == 1)


def test_an_error_leaves_out_empty_lines():
    assert str(ConfigError("wrong")) == "wrong"
    assert str(ConfigError("wrong", hint="right")) == "wrong\ntry    right"


def test_a_terminated_run_removes_temporary_files(monkeypatch, restored_signals):
    """Partial files are removed, as after Ctrl-C."""
    import cinerecon.methods.catalogue as models

    cleaned = []

    def stop():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)

    monkeypatch.setattr(models, "list_models", stop)
    assert call_main(monkeypatch, "models") == 130
    assert cleaned


def test_mask_is_written_with_its_picture(monkeypatch, capsys, tmp_path):
    output = tmp_path / "mask.npz"
    sizes = ("--frames", 25, "--ky", 192, "--kx", 192, "--acceleration", 8, "--acs", 4, "--seed", 0)
    assert call_main(monkeypatch, "mask", "gaussian", *sizes, "-o", output) == 0
    mask = np.load(output)["mask"]
    assert mask.shape == (25, 1, 192, 1)
    assert mask.sum(axis=(1, 2, 3)).tolist() == [24] * 25
    assert mask[:, 0, 94:98].all()
    printed = capsys.readouterr().out
    assert "acceleration  8.000, and 9.400 without the ACS" in printed
    assert (tmp_path / "mask.png").stat().st_size > 0
    assert call_main(monkeypatch, "mask", "gaussian", "-o", output) == 2
    assert call_main(monkeypatch, "mask", "gaussian", "--ky", "-3", "-o", tmp_path / "b.npz") == 2


def test_models_lists_every_method(monkeypatch, capsys):
    from cinerecon.methods.table import METHODS

    assert call_main(monkeypatch, "models") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in METHODS)


@pytest.mark.slow
def test_doctor_accepts_this_installation(monkeypatch, capsys):
    assert call_main(monkeypatch, "doctor") == 0
    printed = capsys.readouterr().out
    assert "BAD" not in printed
    assert "adjoint" in printed
    assert "phantom" in printed


def test_the_version_is_printed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["cinerecon", "--version"])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    assert re.fullmatch(r"cinerecon \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["prepare", "a", "--jobs", "2"], ["prepare", "a", "--workers", "2"]),
        (["prepare", "--coils=4", "--coils-to", "2"], ["prepare", "--simulated-coils=4", "--compress-coils", "2"]),
        (
            ["recon", "--intake", "csm=walsh", "--set", "a=1"],
            ["recon", "--set", "preprocessing.csm=walsh", "--set", "a=1"],
        ),
        (["--debug", "inspect", "--intake=whiten=no"], ["--debug", "inspect", "--set=preprocessing.whiten=no"]),
        (["train", "--real", "--cases"], ["train", "--series", "--cache"]),
        (["mask", "vds", "--accel", "4"], ["mask", "vds", "--acceleration", "4"]),
    ],
    ids=" ".join,
)
def test_former_names_of_options_are_translated_with_a_note(given, expected, capsys):
    assert with_present_options(given) == expected
    notes = capsys.readouterr().err
    assert len(notes.splitlines()) == sum(argument.partition("=")[0] in FORMER for argument in given)
    assert all(line.startswith("note     --") and " is now --" in line for line in notes.splitlines())


@pytest.mark.parametrize("arguments", [["simulate", "--coils", "4"], ["mask", "--jobs", "2"]], ids=" ".join)
def test_options_of_other_commands_are_not_translated(arguments, capsys):
    assert with_present_options(arguments) == arguments
    assert capsys.readouterr().err == ""


def test_a_former_option_works_as_the_present_one(monkeypatch, capsys, tmp_path):
    present, former = tmp_path / "present.npz", tmp_path / "former.npz"
    sizes = ("--frames", 4, "--ky", 32, "--kx", 32)
    assert call_main(monkeypatch, "mask", "gaussian", "--acceleration", 4, *sizes, "-o", present) == 0
    assert call_main(monkeypatch, "mask", "gaussian", "--accel", 4, *sizes, "-o", former) == 0
    assert "note     --accel is now --acceleration" in capsys.readouterr().err
    with np.load(present) as a, np.load(former) as b:
        assert np.array_equal(a["mask"], b["mask"])


def test_objects_are_not_searched_at_exit():
    """With PyTorch, the collections at exit took a sixth of the time of a small reconstruction."""
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 0)); "
        "sys.argv = ['cinerecon', '--version']; from cinerecon.cli import main; main()"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.stdout.splitlines()[-1] == "True"


def test_a_command_that_ends_soon_imports_no_progress_bar(scan):
    code = (
        "import atexit, sys; atexit.register(lambda: print('rich.progress' in sys.modules)); "
        f"sys.argv = ['cinerecon', 'inspect', {str(scan)!r}]; from cinerecon.cli import main; main()"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("delay_s", "quiet", "forced", "is_shown"),
    [(0.0, False, "1", True), (60.0, False, "1", False), (0.0, True, "1", False), (0.0, False, "", False)],
    ids=["long", "short", "quiet", "no terminal"],
)
def test_a_command_that_takes_long_shows_its_progress(monkeypatch, capsys, delay_s, quiet, forced, is_shown):
    monkeypatch.setattr(console, "PROGRESS_DELAY_S", delay_s)
    monkeypatch.setenv("FORCE_COLOR", forced)
    with console.progress_bar(quiet=quiet) as progress:
        progress("slice 3: reconstructing", 0.25)
    error = capsys.readouterr().err
    assert ("slice 3: reconstructing" in error, "25 %" in error) == (is_shown, is_shown)
