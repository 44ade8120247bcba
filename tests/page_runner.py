"""Run the commands and Python programs of a page in order, in one process, so that libraries are loaded once."""

import os
import re
import subprocess
import sys
from pathlib import Path

from forked import run_python

BLOCK = re.compile(r'^```(sh|python|yaml)(?: title="(.*?)")?\n(.*?)^```', re.DOTALL | re.MULTILINE)


def steps_of(page):
    """``(kind, text)`` of each step: a file (title and content), a line of shell, or a Python program."""
    for kind, title, content in BLOCK.findall(page):
        if title.endswith((".py", ".yaml")):
            yield "file", [title, content]
        elif kind == "python" and not title:
            yield "python", content
        elif kind == "sh":
            lines = (line.split("  #")[0].strip() for line in content.splitlines())
            yield from (("sh", line) for line in lines if line)


def with_short_trainings(page):
    """A page whose trainings take two steps; all other settings and commands are as the reader sees them."""
    for name, value in (("n_steps", 2), ("n_warmup", 1), ("save_every", 1)):
        page = re.sub(rf"\b{name}(: |=)\d+", rf"{name}\g<1>{value}", page)
    return page


def run_steps(steps, folder):
    """Run steps in a folder, and return what they print; the error names the first step that fails."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); "
    code += f"import page_runner; page_runner.run_here({list(steps)!r})"
    result = run_python(code, cwd=folder, PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    printed = result.stdout.decode()
    assert result.returncode == 0, f"{printed}\n{result.stderr.decode()}"
    return printed


def run_here(steps):
    for kind, text in steps:
        try:
            run_step(kind, text)
        except Exception:
            sys.stdout.flush()
            print(f"this failed:\n{text}", file=sys.stderr)
            raise


def run_step(kind, text):
    if kind == "file":
        name, content = text
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(content, encoding="utf-8")
    elif kind == "python":
        exec(compile(text, "program of the page", "exec"), {"__name__": "__main__"})
    elif text.startswith("cinerecon ") and not set(text) & set("|<>&;"):
        run_cinerecon(text)
    else:
        subprocess.run(text, shell=True, check=True)


def run_cinerecon(line):
    """Call the entry point of the command line with the arguments that a shell would pass."""
    from cinerecon.cli import main

    arguments = subprocess.run(f"printf '%s\\0' {line}", shell=True, capture_output=True, text=True, check=True).stdout
    sys.argv = arguments.split("\0")[:-1]
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"exit code {end.code}") from end
