"""Reading of binary streams of MRD version 2, with clear errors for damaged streams."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from cinerecon.errors import CineReconError, DataError, FileError
from cinerecon.io.untrusted import reason_of


def read_items(file: BinaryIO, path: Path, mrd: ModuleType) -> tuple[Any, Iterator[Any]]:
    """The header of a stream, None if it has none, and an iterator over its items: acquisitions, waveforms, images.

    Raises
    ------
    FileError
        If the stream is damaged or truncated; this may also occur during iteration.
    """
    reader = _open(file, path, mrd)
    header = _read(reader.read_header, path, 0)
    return header, _checked(reader, path)


def _checked(reader: Any, path: Path) -> Iterator[Any]:
    items, n_read = iter(reader.read_data()), 0
    while True:
        try:
            item = _read(items.__next__, path, n_read)
        except StopIteration:
            _require_end(reader, path)
            return
        n_read += 1
        yield item


def _require_end(reader: Any, path: Path) -> None:
    """Check that no data follow the end mark: a second scan would be ignored."""
    try:
        reader._stream.read_view(1)
    except (EOFError, BufferError):
        return
    raise DataError("bytes follow the end mark of the stream", where=str(path), hint="one scan per stream")


def _open(file: BinaryIO, path: Path, mrd: ModuleType) -> Any:
    """A reader that never allocates more memory than the size of the file, even if the stream declares more."""
    try:
        reader = mrd.BinaryMrdReader(file)
    except (EOFError, BufferError):  # the latter if the stream ends within a number
        what = "the stream is truncated: it ends before its header"
        raise FileError(what, where=str(path), hint="copy or send it again") from None
    except Exception as error:  # the parser may fail in any way on arbitrary bytes
        what = f"the stream cannot be read: {reason_of(error)}"
        hint = "was it written by another version of MRD 2?" if "schema" in str(error) else "copy it again"
        raise FileError(what, where=str(path), hint=hint) from None
    size, read_view = path.stat().st_size, reader._stream.read_view

    def read_bounded(count: int) -> memoryview:
        if count > size:
            raise EOFError(f"{count} bytes are declared, but the file has {size}")
        view: memoryview = read_view(count)
        return view

    reader._stream.read_view = read_bounded
    return reader


def _read(read: Callable[[], Any], path: Path, n_read: int) -> Any:
    """Read the header or the next item of a stream, after ``n_read`` items; raises `StopIteration` at its end."""
    try:
        return read()
    except (StopIteration, CineReconError):
        raise
    except (EOFError, BufferError):
        what = f"the stream is truncated: it ends within item {n_read}, without its end mark"
        raise FileError(what, where=str(path), hint="copy or send it again") from None
    except Exception as error:  # the parser may fail in any way on arbitrary bytes
        what = f"the stream is damaged at item {n_read}: {reason_of(error)}"
        raise FileError(what, where=str(path), hint="copy or send it again") from None
