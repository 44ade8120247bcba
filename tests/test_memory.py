"""Memory: sizes as texts, errors of allocators, and memory of freed arrays, kept or given back."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from cinerecon.errors import ConfigError
from cinerecon.memory import (
    Workspace,
    is_out_of_memory,
    limited_to,
    parse_size,
    requested_size,
    show_size,
    workspace,
)

FAULTS = """
import resource, torch
from cinerecon.memory import keep_freed_memory
{call}
def faults(n):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        torch.zeros(10 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(40)
print(faults(10))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of the C library of Linux")
def test_memory_of_freed_arrays_is_kept_for_the_next_ones():
    pages = 10 * 40 * 2**20 // 4096
    counts = {}
    for call in ("pass", "keep_freed_memory()"):
        run = subprocess.run(
            [sys.executable, "-c", FAULTS.format(call=call)], capture_output=True, text=True, check=True
        )
        counts[call] = int(run.stdout)
    if counts["pass"] < pages // 2:
        pytest.skip("this C library, or these pages, keep it anyway")
    assert counts["keep_freed_memory()"] < pages // 2


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("4GB", 4e9), ("4 gb", 4e9), ("3.5GiB", 3.5 * 2**30), ("800M", 8e8), ("1T", 1e12), ("64KiB", 2**16)],
)
def test_sizes_are_read(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "4", "GB", "-4GB", "0GB", "4PB", "four GB", "4GB4"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match="is not a size of memory") as error:
        parse_size(text)
    assert error.value.where == "--memory"


def test_sizes_are_shown_rounded_up_so_that_they_suffice():
    assert [show_size(size) for size in (3.61e9, 4e9, 1.0001e9, 8.5e8, 1.2e6)] == [
        *("3.7 GB", "4.0 GB", "1.1 GB", "850 MB", "2 MB")
    ]
    for size in (1, 999_400_000, 999_600_000, 123_456_789_012):
        assert parse_size(show_size(size)) >= size


def error_of(call):
    try:
        call()
    except (MemoryError, RuntimeError) as error:
        return error
    raise AssertionError


def test_errors_of_allocators_are_recognised_with_the_size_they_name():
    of_torch = error_of(lambda: torch.empty(2**58, dtype=torch.uint8))
    of_numpy = error_of(lambda: np.empty((2**57,), np.uint8))
    of_gpu = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.50 GiB. GPU 0 has a total")
    assert all(map(is_out_of_memory, (of_torch, of_numpy, of_gpu, MemoryError(), OSError(12, "x"))))
    assert requested_size(of_torch) == 2**58
    assert requested_size(of_numpy) == pytest.approx(2**57, rel=0.01)
    assert requested_size(of_gpu) == round(1.5 * 2**30)
    assert requested_size(MemoryError()) is None
    assert not any(
        map(is_out_of_memory, (RuntimeError("expected a matrix"), ValueError("memory"), OSError(28, "no space left")))
    )


def test_limits_apply_inside_of_their_context():
    with limited_to(Workspace(coils_at_once=2)):
        assert workspace().coils_at_once == 2
    assert workspace() == Workspace()
