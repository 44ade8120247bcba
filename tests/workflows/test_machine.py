import subprocess
import sys

import pytest
import torch

from cinerecon.errors import ConfigError
from cinerecon.workflows.machine import free_memory_mb, measured, peak_memory_mb, pick_device, process_memory_mb

FAULTS = """
import resource, torch
from cinerecon.workflows.machine import keep_large_blocks
{call}
def faults(n):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        torch.zeros(10 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(40)
print(faults(10))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of the C library of Linux")
def test_memory_of_freed_arrays_is_kept_for_the_next_ones():
    pages = 10 * 40 * 2**20 // 4096
    counts = {}
    for call in ("pass", "keep_large_blocks()"):
        run = subprocess.run(
            [sys.executable, "-c", FAULTS.format(call=call)], capture_output=True, text=True, check=True
        )
        counts[call] = int(run.stdout)
    if counts["pass"] < pages // 2:
        pytest.skip("this C library, or these pages, keep it anyway")
    assert counts["keep_large_blocks()"] < pages // 2


def test_peak_memory_counts_what_was_held():
    before = peak_memory_mb()
    block = bytearray(400 * 2**20)
    assert peak_memory_mb() >= before
    assert peak_memory_mb() > len(block) / 2**20


def test_a_device_that_is_not_there_is_named():
    assert pick_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match="no device 'mars'"):
        pick_device("mars")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux alone tells the peak of a stretch of work")
def test_memory_is_that_of_the_work_measured_alone():
    for mb in (200, 50):  # the smaller one second: a peak of the process would still be that of the first
        with measured() as usage:
            torch.ones(mb * 2**18)
        assert mb * 0.8 < usage.memory_mb < mb * 1.3
        assert 0 < usage.seconds < 5
    assert 0 < process_memory_mb() < 1e6
    assert free_memory_mb() > 0
