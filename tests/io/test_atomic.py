"""Files are complete or absent, and files that other processes write are not touched."""

import csv
import os

import pytest
from helpers import UNUSED_PID

from cinerecon.errors import FileError
from cinerecon.io.atomic import clear_partial, refuse_existing, write_text
from cinerecon.io.csv_file import write_csv
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.raw_file import holds_images_only
from cinerecon.io.recognise import is_case


def test_only_abandoned_temporary_files_are_removed(tmp_path):
    kept = [tmp_path / f".partial-{os.getppid()}-a.h5", tmp_path / f".partial-{os.getpid()}-b.h5"]
    stale = [tmp_path / "deep" / f".partial-{UNUSED_PID}-c.h5", tmp_path / f".partial-{os.getpid()}-d.h5"]
    (tmp_path / "deep").mkdir()
    for path in (*kept, *stale):
        path.write_bytes(b"half")
    os.utime(stale[1], (0, 0))
    (tmp_path / f".partial-{UNUSED_PID}-series").mkdir()
    (tmp_path / f".partial-{UNUSED_PID}-series" / "1.dcm").write_bytes(b"half")
    clear_partial(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert not list(tmp_path.glob("*-series"))


def test_texts_and_tables_come_back(tmp_path):
    write_text(tmp_path / "text.md", "k-t SLR → 40 dB\n")
    assert (tmp_path / "text.md").read_text(encoding="utf-8") == "k-t SLR → 40 dB\n"
    write_csv(tmp_path / "table.csv", ["a", "b"], [(1, "x, y"), (2, "m\udcfcller")])
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["1", "x, y"], ["2", "m\\udcfcller"]]


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(FileError, match="too long: 259 bytes, at most 255") as caught:
        refuse_existing(tmp_path / f"{'x' * 256}.h5")
    assert "-o" in caught.value.hint
    refuse_existing(tmp_path / f"{'x' * 252}.h5")


def test_links_to_nothing_are_refused_before_the_work(tmp_path):
    (tmp_path / "folder").symlink_to(tmp_path / "missing")
    (tmp_path / "scan.h5").symlink_to(tmp_path / "missing.h5")
    with pytest.raises(FileError, match="which does not exist"):
        refuse_existing(tmp_path / "folder" / "scan.h5")
    with pytest.raises(FileError, match="already exists"):
        refuse_existing(tmp_path / "scan.h5")


def test_a_pipe_is_refused_at_once(tmp_path):
    """Opening it would wait for a program that writes to it."""
    pipe = tmp_path / "pipe.h5"
    os.mkfifo(pipe)
    assert not is_case(pipe)
    assert not holds_images_only(pipe)
    with pytest.raises(FileError, match=r"not a regular file \(a pipe or a device\)"):
        require_hdf5(pipe)
