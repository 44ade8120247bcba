"""Reading of variables from TensorFlow checkpoints without TensorFlow.

A V2 checkpoint has two files. ``NAME.index`` is a LevelDB table, which consists of blocks of entries with
prefix-compressed keys, an index block with the positions of the blocks, and a footer of 48 bytes with the position of
the index block. The value of an entry is a protocol buffer with type, shape, position and checksum of a variable in
``NAME.data-00000-of-00001``, which contains raw little-endian numbers.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError, UnsupportedError, WeightsError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
INDEX_ENDING, DATA_ENDING = ".index", ".data-00000-of-00001"
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
N_SHARDS, DTYPE, SHAPE, OFFSET, SIZE, CHECKSUM = 1, 1, 2, 4, 5, 6
"""Field numbers; the first one is in the header (the entry with an empty name), the others in all other entries."""


def read_tf_checkpoint(prefix: Path) -> dict[str, NDArray[np.generic]]:
    """Read all numeric variables by their names in the model.

    Parameters
    ----------
    prefix
        Path without ``.index``, e.g. ``weight-best``.

    Raises
    ------
    FileError
        If one of the two files is missing.
    UnsupportedError
        If it was written by TensorFlow 1, in which variables have other names, or its data are in several files.
    WeightsError
        If it is damaged, compressed or not a checkpoint.
    """
    index_path, data_path = (Path(f"{prefix}{end}") for end in (INDEX_ENDING, DATA_ENDING))
    if not index_path.is_file():
        raise FileError("a part of the checkpoint is missing", where=str(index_path))
    index = index_path.read_bytes()
    if not is_table(index):
        raise WeightsError("not the index of a TensorFlow checkpoint", where=str(index_path))
    try:
        entries = dict(_read_index(index))
        n_shards = _numbers(entries.pop("", b"")).get(N_SHARDS, 1)
        if n_shards > 1:
            raise UnsupportedError(f"the checkpoint has its data in {n_shards} files", where=str(index_path))
        if not any(name.endswith(SUFFIX) for name in entries):
            raise UnsupportedError(
                "a checkpoint of TensorFlow 1",
                where=str(index_path),
                hint="the published checkpoints are of TensorFlow 2",
            )
        if not data_path.is_file():
            raise FileError("a part of the checkpoint is missing", where=str(data_path))
        data = data_path.read_bytes()
        return {name.removesuffix(SUFFIX): value for name, value in _read_variables(entries, data)}
    except (LookupError, ValueError) as error:
        raise WeightsError(f"the checkpoint is damaged: {error}", where=str(index_path)) from None


def is_table(content: bytes) -> bool:
    """Whether a file is a LevelDB table: the index of a V2 checkpoint, or all of a V1 checkpoint."""
    return len(content) >= FOOTER_BYTES and int.from_bytes(content[-8:], "little") == MAGIC


def _read_index(index: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and value of every entry of the table."""
    position = len(index) - FOOTER_BYTES
    list(_entries(index, *_handle(index, position)))  # the meta-index is empty; this verifies its checksum
    for _ in range(2):
        _, position = _varint(index, position)
    for _, handle in _entries(index, *_handle(index, position)):
        for key, value in _entries(index, *_handle(handle, 0)):
            yield key.decode(), value


def _read_variables(entries: dict[str, bytes], data: bytes) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Name and values of every numeric variable."""
    for name, message in entries.items():
        numbers = _numbers(message)
        dtype = DTYPES.get(numbers.get(DTYPE, 0))
        if dtype is None or not name.endswith(SUFFIX):
            continue
        start, size = numbers.get(OFFSET, 0), numbers.get(SIZE, 0)
        if start + size > len(data):
            raise ValueError(f"'{name}' ends at byte {start + size}, the data at {len(data)}")
        content = data[start : start + size]
        for checksum in _messages(message, CHECKSUM):
            if masked_crc32c(content) != int.from_bytes(checksum, "little"):
                raise ValueError(f"the checksum of '{name}' is wrong")
        shape = [_numbers(size).get(1, 0) for dim in _messages(message, SHAPE) for size in _messages(dim, 2)]
        yield name, np.frombuffer(content, dtype).reshape(shape)


def masked_crc32c(content: bytes) -> int:
    """The masked checksum of LevelDB: CRC-32C (Castagnoli), rotated, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ 0x82F63B78 * (byte & 1)
    return byte


_CRC_OF_BYTE = tuple(map(_crc_of_byte, range(256)))


def _varint(buffer: bytes, position: int) -> tuple[int, int]:
    """Decode an integer stored in groups of seven bits, and return it with the position after it."""
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
    """Keys and values of a block, which is followed by a byte for the compression type and a checksum of both."""
    if table[offset + size] != 0:
        raise ValueError("a block is compressed")
    checked = table[offset : offset + size + 1]
    if masked_crc32c(checked) != int.from_bytes(table[offset + size + 1 : offset + size + 5], "little"):
        raise ValueError("the checksum of a block is wrong")
    block = checked[:-1]
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
    """Field numbers and values of a message (protocol buffer)."""
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


def _messages(message: bytes, field_number: int) -> list[bytes]:
    """The embedded messages with a given field number."""
    return [value for number, value in _pairs(message) if number == field_number and isinstance(value, bytes)]
