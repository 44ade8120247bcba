import math
import sys

import pytest
import torch

from cinerecon.errors import ConfigError
from cinerecon.workflows.machine import free_memory_mb, measured, peak_memory_mb, pick_device, process_memory_mb


def test_peak_memory_counts_what_was_held():
    before = peak_memory_mb()
    block = bytearray(400 * 2**20)
    assert peak_memory_mb() >= before
    assert peak_memory_mb() > len(block) / 2**20


def test_systems_that_do_not_tell_the_peak(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert math.isnan(peak_memory_mb())


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
