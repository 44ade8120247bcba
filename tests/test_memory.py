"""Memory of freed arrays, kept or given back."""

import subprocess
import sys

import pytest

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
