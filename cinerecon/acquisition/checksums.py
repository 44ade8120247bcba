"""What a scan holds, by checksums: it is known again under any name."""

from functools import lru_cache
from pathlib import Path

from cinerecon.acquisition.case import StoredCase
from cinerecon.acquisition.source import CineSource
from cinerecon.io.atomic import hash_files


def contents_of(source: CineSource) -> tuple[str, ...]:
    """SHA-256 of the files of a scan; of a prepared case also that of what it was made from."""
    of_files = _hash(source.files, tuple(path.stat().st_mtime_ns for path in source.files))
    return (of_files, source.made_from) if isinstance(source, StoredCase) and source.made_from else (of_files,)


@lru_cache(maxsize=16)
def _hash(files: tuple[Path, ...], _: tuple[int, ...]) -> str:
    """Hash files once for all who ask, unless they have changed."""
    return hash_files(files)
