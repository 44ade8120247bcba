"""Every command of the README runs, in order, in a folder that contains what a clone contains."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from page_runner import run_steps, steps_of, with_short_trainings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for name in ("docs", "models", "examples") for page in ROOT.glob(f"{name}/**/*.md"))]
)
COMMANDS = [text for kind, text in steps_of(README) if kind == "sh"]


def test_the_readme_names_the_commands_a_newcomer_needs():
    assert "make demo" in COMMANDS
    assert "make test" in COMMANDS
    assert any(command.startswith("cinerecon recon sample_data/phantom_cine.h5 --model slrnet") for command in COMMANDS)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make")])
def test_make_targets_exist(command):
    """Not run here: `make test` is what runs this test, and `make demo` installs, then runs a command tested below."""
    result = subprocess.run(["make", "--dry-run", command.split()[1]], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def anchors(text):
    """Anchors of the headings of a page: lower case, no punctuation, a hyphen for each space."""
    headings = re.findall(r"^#+ (.*)", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pictures_and_links_exist(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), target


def test_the_readme_is_short():
    words = re.sub("<!-- begin quality -->.*<!-- end quality -->", "", README, flags=re.DOTALL).split()
    assert len(words) <= 1000


@pytest.mark.slow
def test_commands_run_in_order(tmp_path):
    for name in ("sample_data", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.slrnet.*"))
    demo = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "recon $(SCAN)" in line)
    demo = demo.replace("$(BIN)/", "").replace("$(SCAN)", "sample_data/phantom_cine.h5").strip()
    steps = [step for step in steps_of(with_short_trainings(README)) if not step[1].startswith("make ")]
    printed = run_steps([("sh", demo), *steps], tmp_path)  # the files of the demo must not stop the other commands
    assert sum(kind == "sh" for kind, _ in steps) >= 6
    (quality,) = re.findall("^slice 0  PSNR.*$", README, re.MULTILINE)
    assert quality in printed
    (residual,) = re.findall(r"^ +0 +12 .* ([\d.]+)$", README, re.MULTILINE)
    assert re.search(rf"^ +0 +12 .* {re.escape(residual)} *$", printed, re.MULTILINE)
