"""A small archive of scans, processes that are killed, and counts of calls, for the tests of shards."""

import os
from collections import Counter
from contextlib import contextmanager

import pytest

from cinerecon.simulation.scan import SimulateConfig, simulate_scan

N_SCANS = 5


def make_archive(folder):
    """Five scans of as many subjects, of which one is damaged, and their list."""
    for number in range(N_SCANS):
        (folder / f"P{number}").mkdir(parents=True)
        config = SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2, seed=number, subject=f"P{number}")
        simulate_scan(folder / f"P{number}/cine.h5", config)
    damaged = folder / "P3/cine.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    (folder / "list.txt").write_text("".join(f"P{number}/cine.h5\n" for number in range(N_SCANS)))
    return folder


def killed_at(n_writes, function, *arguments):
    """Run a function in another process that is killed at its n-th write to the disk; whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left, fsync = n_writes, os.fsync

    def fsync_or_die(descriptor):
        nonlocal left
        left -= 1
        if left < 0:
            os._exit(9)
        fsync(descriptor)

    os.fsync = fsync_or_die
    try:
        function(*arguments)
    finally:
        os._exit(0)


@contextmanager
def counted(*functions):
    """Calls of functions, given as module and name, inside the block, by name."""
    counts = Counter()

    def count(name, original):
        def call(*arguments, **options):
            counts[name] += 1
            return original(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in functions:
            patch.setattr(module, name, count(name, getattr(module, name)))
        yield counts
