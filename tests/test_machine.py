import math
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from cinerecon.errors import ConfigError, DataError
from cinerecon.machine import (
    free_memory_mb,
    in_processes,
    measured,
    n_cores,
    peak_memory_mb,
    pick_device,
    process_memory_mb,
)
from cinerecon.methods.table import load_method


def test_peak_memory_counts_what_was_held():
    before = peak_memory_mb()
    block = bytearray(400 * 2**20)
    assert peak_memory_mb() >= before
    assert peak_memory_mb() > len(block) / 2**20


def test_systems_without_peak_memory(monkeypatch):
    monkeypatch.setattr("cinerecon.machine.process_memory_mb", lambda _: math.nan)
    assert peak_memory_mb() > 0
    monkeypatch.setitem(sys.modules, "resource", None)
    assert math.isnan(peak_memory_mb())


def test_a_missing_device_is_named():
    assert pick_device("cpu") == "cpu"
    assert pick_device(torch.device("cpu")) == "cpu"
    with pytest.raises(ConfigError, match="no device 'mars'"):
        pick_device("mars")
    with pytest.raises(ConfigError, match="no device 'mars'"):
        load_method("dccnn", device="mars")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory since a reset exists on Linux alone")
def test_memory_is_that_of_the_work_measured_alone():
    for mb in (200, 50):  # the smaller one second: a peak of the process would still be that of the first
        with measured() as usage:
            torch.ones(mb * 2**18)
        assert mb * 0.8 < usage.memory_mb < mb * 1.3
        assert 0 < usage.seconds < 5
    assert 0 < process_memory_mb() < 1e6
    assert free_memory_mb() > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone shares out cores")
def test_cores_are_those_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert n_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert n_cores() == len(allowed)


def test_one_process_is_this_one():
    assert set(in_processes(lambda _: os.getpid(), [1, 2, 3], 1)) == {os.getpid()}
    assert list(in_processes(math.sqrt, [], 4)) == []


def test_processes_share_the_work_and_a_killed_one_is_an_error():
    assert sorted(in_processes(math.sqrt, [1.0, 9.0, 4.0], 2)) == [1.0, 2.0, 3.0]
    with pytest.raises(DataError, match="a process was killed") as caught:
        list(in_processes(os._exit, [1, 1], 2))
    assert "--workers 1" in caught.value.hint


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_an_interruption_while_a_result_is_used_loses_no_other(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    tasks = [["touch", f"{tmp_path}/{number}"] for number in range(30)]
    results = []
    with pytest.raises(KeyboardInterrupt):
        for result in in_processes(subprocess.check_call, tasks, 2):
            if not results:
                os.kill(os.getpid(), signal.SIGINT)
            results.append(result)
    assert 1 < len(results) == len(list(tmp_path.iterdir())) < 30
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="processes as Linux lists them")
def test_no_process_remains_when_the_one_that_started_them_is_killed():
    code = "import itertools, os\nfrom cinerecon.machine import in_processes\nif __name__ == '__main__':\n"
    code += "    for line in in_processes(os.getenv, itertools.repeat('HOME'), 2): print(os.getpid(), flush=True)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    parent.stdout.readline()
    assert len(members(parent.pid)) >= 3
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 60
    while (left := members(parent.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not left


def members(group):
    """The processes of a group that have not ended."""
    numbers = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group_of_process = path.read_text().rpartition(")")[2].split()[:3]
            numbers += [path.parent.name] if int(group_of_process) == group and state != "Z" else []
    return numbers


def test_after_an_error_the_rest_is_not_started(tmp_path):
    tasks = [["false"], *(["sh", "-c", f"sleep 1; touch {tmp_path}/{number}"] for number in range(30))]
    with pytest.raises(subprocess.CalledProcessError):
        list(in_processes(subprocess.check_call, tasks, 2))
    assert len(list(tmp_path.iterdir())) <= 3
