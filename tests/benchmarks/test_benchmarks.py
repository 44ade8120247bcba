"""All benchmarks can be imported, and their helpers work."""

import sys
from importlib import import_module
from pathlib import Path
from subprocess import CalledProcessError

import ablations
import pages
import pytest
import quality
from command import run_benchmark

from cinerecon.errors import ConfigError

FOLDER = Path(pages.__file__).parent


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_can_be_imported(name):
    assert Path(import_module(name).__file__).parent == FOLDER


def test_a_section_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- begin a -->\n\nold\n\n<!-- end a -->\n\nafter\n", encoding="utf-8")
    pages.write_section("a", pages.markdown_table(("x", "y"), [(1, 2)]), page)
    table = "| x | y |\n|---|---|\n| 1 | 2 |"
    expected = f"before\n\n<!-- begin a -->\n\n{table}\n\n<!-- end a -->\n\nafter\n"
    assert page.read_text(encoding="utf-8") == expected
    with pytest.raises(ConfigError, match="no section 'b'"):
        pages.write_section("b", "", page)


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("frc", ["--series", "missing"], "there is no such folder"),
        ("coils", ["--series", "empty"], "the folder contains no magnitude cine"),
        ("function", ["--report", "empty", "--series", "empty"], "the folder contains no magnitude cine"),
        ("trust", ["fit", "--train", "empty"], "the folder contains no magnitude cine"),
        ("patterns", ["--anatomy", "sax_mid"], "this is a measured series"),
        ("start", ["--repeats", "0"], "argument --repeats: an integer of at least 1 is expected, found 0"),
        ("noise_maps", ["--wrong"], "unrecognized arguments: --wrong"),
    ],
)
def test_a_wrong_argument_is_reported_in_three_lines(name, arguments, error, tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    with pytest.raises(SystemExit) as end:
        run_benchmark(import_module(name).main)
    lines = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert [line[:7] for line in lines] == ["error  ", "where  ", "try    "]
    assert error in lines[0]


def test_a_process_that_fails_ends_the_benchmark(capsys):
    def main():
        raise CalledProcessError(2, ["python", "-m", "cinerecon.cli"])

    with pytest.raises(SystemExit):
        run_benchmark(main)
    assert "exit code 2\nwhere  python -m cinerecon.cli" in capsys.readouterr().err


def test_scans_of_the_quality_benchmark(tmp_path):
    options = quality.ScanOptions(tmp_path, None, None, n_phantoms=1, coils=(1,))
    ((group, paths),) = quality.make_scans(options).items()
    assert (group, [path.name for path in paths]) == (quality.PHANTOMS, ["phantoms-1-1-0.01.h5"])


def test_contributions_are_means_over_subjects_and_seeds():
    subjects = "abcdef"
    seeds = [
        {"istanet": dict.fromkeys(subjects, 30.0), "slrnet": {s: 30 + gain + 0.1 * n for n, s in enumerate(subjects)}}
        for gain in (0.5, 0.7)
    ]
    (row,) = ablations.comparison_table(seeds).splitlines()[2:]
    assert row.startswith("| low-rank branch of SLR-Net | +0.85 | +0.7")
    assert row.endswith("| +0.75, +0.95 |")
    values = ablations.value_table({"viewshared": dict.fromkeys(subjects, 25.0)}, seeds)
    assert "| `viewshared` | 25.00 |  |  |" in values
    assert "| `slrnet` | 30.85 | +5.85 | 30.75 to 30.95 |" in values
