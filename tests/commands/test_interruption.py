"""A command that is interrupted says what is kept and how to continue, and exits with code 130."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from forked import COMMAND, run_command, run_python
from small_recipe import write_recipe

from cinerecon.machine import deferred_interruption
from cinerecon.methods.model_file import RECIPE as RECIPE_FILE

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


STOPPED = """
import os, threading, time
from pathlib import Path
def stop():
    while not ({condition}):
        time.sleep(0.01)
    time.sleep({delay})
    os.kill(os.getpid(), {number})
threading.Thread(target=stop, daemon=True).start()
"""


def run_and_stop(*arguments, condition, number, delay=0.0, cwd):
    """Run a command in a process, which is sent a signal some time [s] after a Python expression has become true."""
    code = STOPPED.format(condition=condition, number=int(number), delay=delay)
    return run_python(code + COMMAND.format(arguments=[*map(str, arguments)]), cwd=cwd)


def test_the_first_interruption_is_deferred_to_the_end():
    steps, before = [], signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), deferred_interruption() as is_interrupted:
        os.kill(os.getpid(), signal.SIGINT)
        steps.append(is_interrupted())
    assert steps == [True]
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interruption_takes_effect_at_once():
    with pytest.raises(KeyboardInterrupt), deferred_interruption():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("not interrupted")


def test_without_interruption_nothing_is_raised():
    with deferred_interruption() as is_interrupted:
        assert not is_interrupted()


@posix
@pytest.mark.parametrize("is_ignored", [False, True])
def test_an_interruption_of_the_imports_is_quiet_unless_it_is_ignored(is_ignored):
    code = (
        "import os, signal, sys\n"
        f"if {is_ignored}: signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "class Interruption:\n"
        "    def find_spec(self, name, *others):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interruption()); sys.argv = ['cinerecon', '--version']\n"
        "from cinerecon.__main__ import main; main()"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (outcome.returncode, outcome.stderr) == (0 if is_ignored else 130, "")
    assert bool(outcome.stdout) == is_ignored


def test_the_installed_program_starts_with_quiet_imports():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"cinerecon": "cinerecon.__main__:main"}


@posix
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_has_a_checkpoint_and_continues(tmp_path, number):
    recipe = write_recipe(tmp_path, n_steps=100_000, save_every=100_000)
    begun = "b'initial image' in os.pread(1, 10000, 0)"
    done = run_and_stop("train", recipe, "-o", "run", condition=begun, number=number, delay=0.5, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    hint = b"the same command with --resume continues from the last checkpoint, if there is one"
    assert done.stderr.strip() == b"stopped  " + hint
    assert b"step " in done.stdout
    resumed = run_command("train", recipe, "-o", "run", "--resume", "--minutes", "0", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr


@posix
@pytest.mark.slow
def test_a_training_stopped_before_its_first_step_starts_again(tmp_path):
    recipe = write_recipe(tmp_path, n_steps=3, save_every=3)
    begun = f"Path('run/{RECIPE_FILE}').exists()"
    done = run_and_stop("train", recipe, "-o", "run", condition=begun, number=signal.SIGKILL, cwd=tmp_path)
    assert done.returncode == -signal.SIGKILL
    for options in (["--resume"], []):
        again = run_command("train", recipe, "-o", "run", *options, cwd=tmp_path)
        if options:
            assert again.returncode == 0, again.stderr
        else:
            assert b"there is already a run" in again.stderr
