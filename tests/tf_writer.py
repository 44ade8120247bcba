"""Write checkpoints like TensorFlow 2, so that tests do not need published ones."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from cinerecon.io.tf_checkpoint import DATA_ENDING, DTYPES, INDEX_ENDING, MAGIC, SUFFIX, masked_crc32c


def write_tf_checkpoint(
    prefix: Path, variables: Mapping[str, np.ndarray], *, suffix: str = SUFFIX, n_shards: int = 1
) -> None:
    """Write both files; without `suffix` the names are those of TensorFlow 1."""
    data, entries = b"", {b"": _field(1, n_shards)}
    codes = {np.dtype(text): code for code, text in DTYPES.items()}
    for name in sorted(variables):
        value = np.asarray(variables[name])
        content = value.tobytes()
        shape = b"".join(_field(2, _field(1, size)) for size in value.shape)
        location = _field(4, len(data)) + _field(5, len(content)) + _tag(6, 5) + _fixed(masked_crc32c(content))
        entries[(name + suffix).encode()] = _field(1, codes[value.dtype]) + _field(2, shape) + location
        data += content
    table, handle = _block(b"", entries)
    table, meta = _block(table, {})
    table, index = _block(table, {b"~": handle})
    footer = (meta + index).ljust(40, b"\0") + MAGIC.to_bytes(8, "little")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{prefix}{INDEX_ENDING}").write_bytes(table + footer)
    Path(f"{prefix}{DATA_ENDING}").write_bytes(data)


def _block(table: bytes, entries: Mapping[bytes, bytes]) -> tuple[bytes, bytes]:
    """Append a block to the table; returns both the table and the handle of the block. Keys are prefix-compressed."""
    block, before = b"", b""
    for key, value in entries.items():
        shared = next(
            (n for n, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), min(len(key), len(before))
        )
        block += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        before = key
    block += _fixed(0) + _fixed(1)  # one restart, at the beginning
    checked = block + b"\0"
    return table + checked + _fixed(masked_crc32c(checked)), _varint(len(table)) + _varint(len(block))


def _field(number: int, value: int | bytes) -> bytes:
    """A field of a protocol buffer."""
    if isinstance(value, int):
        return _tag(number, 0) + _varint(value)
    return _tag(number, 2) + _varint(len(value)) + value


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _fixed(value: int) -> bytes:
    return value.to_bytes(4, "little")


def _varint(value: int) -> bytes:
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F)
    return bytes([group | 0x80 for group in groups[:-1]] + groups[-1:])
