"""A command that is interrupted says what is kept and how to continue, and exits with code 130."""

import os
import signal
import subprocess
import sys
import time

import pytest
from forked import run_command
from small_recipe import write_recipe

from cinerecon.machine import deferred_interruption
from cinerecon.methods.model_file import RECIPE as RECIPE_FILE

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


def start(*arguments, cwd):
    command = [sys.executable, "-u", "-m", "cinerecon.cli", *map(str, arguments)]
    return subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


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
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_has_a_checkpoint_and_continues(tmp_path, number):
    recipe = write_recipe(tmp_path, n_steps=100_000, save_every=100_000)
    process = start("train", recipe, "-o", "run", cwd=tmp_path)
    line = ""
    while "initial image" not in line:
        line = process.stdout.readline()
        assert line, process.stderr.read()
    time.sleep(1)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert err.strip() == "stopped  the same command with --resume continues from the last checkpoint"
    assert "step " in out
    resumed = run_command("train", recipe, "-o", "run", "--resume", "--minutes", "0", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr


@posix
@pytest.mark.slow
def test_a_training_stopped_before_its_first_step_starts_again(tmp_path):
    recipe = write_recipe(tmp_path, n_steps=3, save_every=3)
    process = start("train", recipe, "-o", "run", cwd=tmp_path)
    while not (tmp_path / "run" / RECIPE_FILE).exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    for options in (["--resume"], []):
        again = run_command("train", recipe, "-o", "run", *options, cwd=tmp_path)
        if options:
            assert again.returncode == 0, again.stderr
        else:
            assert b"there is already a run" in again.stderr
