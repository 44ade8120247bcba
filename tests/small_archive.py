"""A small archive of scans, and processes that are killed, for the tests of shards."""

import os

import pytest

from cinerecon.archives.shards import Shard
from cinerecon.errors import FileError
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

N_SCANS = 5


def make_archive(folder):
    """Write scans of five subjects, one of which is damaged, and their list."""
    for number in range(N_SCANS):
        (folder / f"P{number}").mkdir(parents=True)
        config = SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2, seed=number, subject=f"P{number}")
        simulate_scan(folder / f"P{number}/cine.h5", config)
    damaged = folder / "P3/cine.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    (folder / "list.txt").write_text("".join(f"P{number}/cine.h5\n" for number in range(N_SCANS)))
    return folder


def killed_at(n_writes, function, *arguments):
    """Run a function in another process, which is killed at its n-th write to the disk; whether it was killed."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    n_left, fsync = n_writes, os.fsync

    def fsync_or_exit(descriptor):
        nonlocal n_left
        n_left -= 1
        if n_left < 0:
            os._exit(9)
        fsync(descriptor)

    os.fsync = fsync_or_exit
    try:
        function(*arguments)
    finally:
        os._exit(0)


def kill_and_continue(folder, run, merge, assert_merged, n_merge_writes=2):
    """Kill the first of two shards at each of its writes and continue it, then kill and repeat the merge.

    Parameters
    ----------
    folder
        Folder of the outputs.
    run
        Called with an output folder and a shard.
    merge
        Called with an output folder, returns the results.
    assert_merged
        Called with an output folder and its results.
    n_merge_writes
        The merge is killed at one of its first so many writes.
    """
    n_writes = 0
    while killed_at(n_writes, run, folder / str(n_writes), Shard(1, 2)):
        output = folder / str(n_writes)
        run(output, Shard(2, 2))
        with pytest.raises(FileError, match="shard 1/2 is not finished"):
            merge(output)
        run(output, Shard(1, 2))
        assert killed_at(n_writes % n_merge_writes, merge, output)
        assert_merged(output, merge(output))
        n_writes += 1
    assert n_writes > 8
