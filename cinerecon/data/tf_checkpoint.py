"""Read the variables of a TensorFlow checkpoint without TensorFlow.

A V2 checkpoint is a pair of files. ``NAME.index`` is a LevelDB table: blocks of entries whose keys share prefixes with
their predecessors, found through an index block, found through a 48-byte footer. Each value is a protocol buffer that
says type, shape and place of one variable in ``NAME.data-00000-of-00001``, which is raw little-endian numbers.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError, WeightsError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


def read_tf_checkpoint(prefix: Path) -> dict[str, NDArray[np.generic]]:
    """Read all numeric variables, by their path in the model.

    Parameters
    ----------
    prefix
        Path without ``.index``, e.g. ``weight-best``.

    Raises
    ------
    FileError
        If one of the two files is missing.
    WeightsError
        If they are damaged, compressed or not a checkpoint.
    """
    index_path, data_path = (Path(f"{prefix}{end}") for end in (".index", ".data-00000-of-00001"))
    for path in (index_path, data_path):
        if not path.is_file():
            raise FileError("a part of the checkpoint is missing", where=str(path))
    index, data = index_path.read_bytes(), data_path.read_bytes()
    if len(index) < FOOTER_BYTES or int.from_bytes(index[-8:], "little") != MAGIC:
        raise WeightsError("not the index of a TensorFlow checkpoint", where=str(index_path))
    try:
        return dict(_read_variables(index, data))
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise WeightsError(f"the checkpoint is damaged: {error}", where=str(index_path)) from None


def _read_variables(index: bytes, data: bytes) -> Iterator[tuple[str, NDArray[np.generic]]]:
    _, position = _varint(index, len(index) - FOOTER_BYTES)  # the handle of the meta-index comes first; it is empty
    _, position = _varint(index, position)
    for _, handle in _entries(index, *_handle(index, position)):
        for key, value in _entries(index, *_handle(handle, 0)):
            name = key.decode()
            if not name.endswith(SUFFIX):
                continue
            numbers, dimensions = _numbers(value), _messages(value, 2)
            dtype = DTYPES.get(numbers.get(1, 0))
            if dtype is None:
                continue
            shape = [_numbers(size).get(1, 0) for dim in dimensions for size in _messages(dim, 2)]
            start, size = numbers.get(4, 0), numbers.get(5, 0)
            if start + size > len(data):
                raise ValueError(f"'{name}' ends at byte {start + size}, the data at {len(data)}")
            yield name.removesuffix(SUFFIX), np.frombuffer(data[start : start + size], dtype).reshape(shape)


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    """An integer in groups of seven bits, and the position behind it."""
    value = shift = 0
    while True:
        byte = buffer[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, position


def _handle(buffer: bytes, position: int) -> tuple[int, int]:
    """Offset and size of a block."""
    offset, position = _varint(buffer, position)
    return offset, _varint(buffer, position)[0]


def _entries(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of one block."""
    if table[offset + size] != 0:
        raise ValueError("a block is compressed")
    block = table[offset : offset + size]
    n_restarts = int.from_bytes(block[-4:], "little")
    end, position, key = len(block) - 4 * (n_restarts + 1), 0, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        position += own
        yield key, block[position : position + length]
        position += length


def _pairs(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protocol buffer message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        length, position = _varint(message, position) if kind == 2 else ({1: 8, 5: 4}[kind], position)
        yield tag >> 3, message[position : position + length]
        position += length


def _numbers(message: bytes) -> dict[int, int]:
    """The integer fields of a message."""
    return {number: value for number, value in _pairs(message) if isinstance(value, int)}


def _messages(message: bytes, wanted: int) -> list[bytes]:
    """All messages inside a message that carry one field number."""
    return [value for number, value in _pairs(message) if number == wanted and isinstance(value, bytes)]
