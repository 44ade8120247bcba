"""On a full disk every writer raises the same error, the process continues, and no partial file remains."""

import errno
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from forked import COMMAND, run_python

from cinerecon.errors import FileError
from cinerecon.io.atomic import moved_into_place, write_text
from cinerecon.io.full_disk import FaultTolerantFile
from cinerecon.io.hdf5 import new_hdf5
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of file sizes as on Linux")


def run_limited(arguments, limit, folder):
    """Run the command line with a limit on the size of files, as if the disk were full there.

    No bytecode is written: Python would store files that were cut off, which fail when they are imported later.
    """
    code = "import resource, sys; sys.dont_write_bytecode = True; "
    code += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    return run_python(code + COMMAND.format(arguments=arguments), cwd=folder)


INTERRUPTED = """
import sys
from pathlib import Path
import numpy as np
from cinerecon.io.hdf5 import new_hdf5

def interrupt(frame, event, _):
    global n_lines
    if event == "line" and frame.f_code.co_filename.endswith("h5py/_hl/files.py"):
        n_lines += 1
        if n_lines == number:
            raise KeyboardInterrupt
    return interrupt

for number in range(1, 9):
    n_lines = 0
    try:
        with new_hdf5(Path("a.h5")) as file:
            file["x"] = np.zeros((90, 90))
            sys.settrace(interrupt)
        sys.settrace(None)
    except KeyboardInterrupt:
        print(number)
"""


def test_an_interruption_while_a_file_is_closed_does_not_crash(tmp_path):
    done = run_python(INTERRUPTED, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(done.stdout.split()) >= 3


def test_a_file_is_read_back_as_it_was_written(tmp_path):
    values = np.random.default_rng(0).normal(size=(300, 1000))
    with new_hdf5(tmp_path / "a.h5") as file:
        file["x"] = values
        data = file.create_dataset("y", (0, 1000), "f8", maxshape=(None, 1000), chunks=(7, 1000), compression="gzip")
        for start in range(0, 300, 50):
            data.resize(start + 50, 0)
            data[start:] = values[start : start + 50]
        assert np.array_equal(data[100:120], values[100:120])
    with h5py.File(tmp_path / "a.h5") as file:
        assert np.array_equal(file["x"], values)
        assert np.array_equal(file["y"], values)


@linux
def test_an_hdf5_file_that_does_not_fit_is_an_error(tmp_path):
    code = """
import os, resource, numpy as np
from pathlib import Path
from cinerecon.io.hdf5 import new_hdf5
from cinerecon.io.atomic import moved_into_place
from cinerecon.errors import FileError
unlimited = resource.RLIM_INFINITY
for limit in (0, 1000, 5000, 100_000, 1_000_000, 2_000_000):
    what = ""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited))
    try:
        with moved_into_place(Path("a.h5")) as temporary, new_hdf5(temporary) as file:
            for n in range(20):
                file[f"x{n}"] = np.random.default_rng(n).normal(size=20_000)
                file[f"g{n}/text"] = "a" * 1000
                assert n < 5 or file[f"x{n - 5}"].shape == (20_000,)
    except FileError as error:
        what = error.what
    resource.setrlimit(resource.RLIMIT_FSIZE, (unlimited, unlimited))
    print(what, os.listdir())
"""
    done = run_python(code, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, 6 * b"cannot write: File too large []\n"), done.stderr


SIMULATE = ["simulate", "-o", "x.h5", "--frames", "4", "--ky", "32", "--kx", "32", "--coils", "2"]


@linux
@pytest.mark.parametrize(
    ("arguments", "limit"),
    [(SIMULATE, 2000), (SIMULATE, 100_000), (["mask", "radial:8", "-o", "x.npz", "--ky", "300", "--kx", "300"], 2000)],
    ids=["simulate", "simulate, within the readouts", "mask"],
)
def test_a_command_that_cannot_write_says_so_and_leaves_nothing(tmp_path, arguments, limit):
    done = run_limited(arguments, limit, tmp_path)
    assert done.returncode == 2, done.stderr
    first, where = done.stderr.decode().splitlines()[:2]
    assert first == "error  cannot write: File too large"
    assert where.startswith("where  x")
    assert not list(tmp_path.iterdir())


@linux
def test_images_that_do_not_fit_leave_nothing(tmp_path):
    scan = tmp_path / "scan.h5"
    simulate_scan(scan, SimulateConfig(n_frames=4, ky=32, kx=32, n_coils=2))
    done = run_limited(["recon", "scan.h5", "--model", "zerofilled", "-o", "x.npz"], 5000, tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.decode().splitlines()[0] == "error  cannot write: File too large"
    assert [path.name for path in tmp_path.iterdir()] == ["scan.h5"]


@linux
def test_cases_that_do_not_fit_are_an_error_and_not_refused_scans(tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=4, ky=32, kx=32, n_coils=2))
    done = run_limited(["prepare", "scan.h5", "-o", "data", "--workers", "1"], 5000, tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    first, where, hint = done.stderr.decode().splitlines()
    assert first == "error  cannot write: File too large"
    assert where.startswith("where  data/") and where.endswith("scan_slice00.h5")
    assert hint == "try    free space and repeat the command, which continues: 0 cases are in the index"
    assert not list((tmp_path / "data").rglob("*.h5"))
    assert not (tmp_path / "data" / "refused.csv").exists()


class _ShortWrites:
    """A disk of some bytes: as on Linux, the write that fills it succeeds in part, and only the next one fails."""

    closed = False

    def __init__(self, size):
        self.content, self.position, self.size = bytearray(size), 0, size

    def seek(self, offset, whence=0):
        self.position = offset
        return offset

    def write(self, values):
        n_bytes = min(len(values), self.size - self.position)
        self.content[self.position : self.position + n_bytes] = values[:n_bytes]
        self.position += n_bytes
        return n_bytes

    def read(self, n_bytes):
        return bytes(self.content[self.position : self.position + n_bytes])


def test_what_does_not_fit_is_an_error_and_can_be_read_back():
    """Also what was written to the disk before, in the same page."""
    values = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()
    file = FaultTolerantFile(_ShortWrites(9000))
    for start in range(0, 20_000, 1500):
        file.write(values[start : start + 1500])
    assert file.error is not None
    assert file.error.errno == errno.ENOSPC
    for start, stop in ((0, 20_000), (8000, 9500), (12_287, 12_289)):
        buffer = bytearray(stop - start)
        file.seek(start)
        file.readinto(buffer)
        assert bytes(buffer) == values[start:stop]


def test_a_last_write_in_part_is_an_error():
    file = FaultTolerantFile(_ShortWrites(1000))
    file.write(bytes(1000))
    assert file.error is None
    file.seek(500)
    file.write(bytes(501))
    assert file.error is not None


def test_the_longest_name_is_written(tmp_path):
    name = "n" * 251 + ".txt"
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    with pytest.raises(FileError, match="name too long"):
        write_text(tmp_path / ("n" * 300), "text")
    assert len(list(tmp_path.iterdir())) == 1


def test_an_error_while_writing_leaves_the_file_as_it_was(tmp_path):
    path = Path(write_text(tmp_path / "a.txt", "before"))
    with pytest.raises(FileError, match="No space left"), moved_into_place(path) as temporary:
        temporary.write_text("half")
        raise OSError(28, os.strerror(28))
    assert path.read_text(encoding="utf-8") == "before"
    assert len(list(tmp_path.iterdir())) == 1
