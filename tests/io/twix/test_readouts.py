"""Positions of the readouts in damaged twix files."""

import numpy as np
import pytest
from siemens_scan import as_twix, siemens_scan
from twix_file import write_twix

from cinerecon.errors import FileError
from cinerecon.io.twix.measurements import offset_of
from cinerecon.io.twix.scan import read_twix

pytest.importorskip("twixtools", reason="reads and writes twix files")


@pytest.mark.parametrize("line", ["VB", "VD"])
def test_files_that_lack_bytes_in_their_middle_are_refused(tmp_path, line):
    """The bytes that are then read as headers have the flag of the end of the measurement in half of all cases."""
    path = write_twix(tmp_path / "scan.dat", as_twix(siemens_scan(matrix=(48, 16))), line=line)
    first, content = int(read_twix(path).store.offsets[0]), path.read_bytes()
    for position in np.linspace(first + 200, len(content) - 80_000, 40).astype(int):
        path.write_bytes((content[:position] + content[position + 512 :]).ljust(len(content), b"\0"))
        with pytest.raises(FileError, match=r"damaged: there is no readout at byte|truncated"):
            read_twix(path)


@pytest.mark.parametrize("line", ["VB", "VD"])
def test_a_long_remainder_is_refused(tmp_path, line):
    """A measurement that ends long before its last byte was overwritten; scanners append a few hundred bytes."""
    path = write_twix(tmp_path / "scan.dat", as_twix(siemens_scan(matrix=(48, 16))), line=line)
    raw = read_twix(path)
    assert len(raw) == 144
    flags = int(raw.store.offsets[20]) + offset_of(raw.store.layout.header, "EvalInfoMask")
    content = bytearray(path.read_bytes())
    content[flags] |= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"damaged: there is no readout at byte \d+, after 20"):
        read_twix(path)
