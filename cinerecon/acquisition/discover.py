"""Which files of a folder hold cines."""

import os
from collections.abc import Iterator
from pathlib import Path

from cinerecon.io.case_index import INDEX, list_cases
from cinerecon.io.cmrxrecon import is_kspace_name
from cinerecon.io.ismrmrd.file import SCAN_ENDINGS, holds_images_only


def find_cines(folder: Path, split: str | None = None) -> list[Path]:
    """The files of a folder that `open_cine` reads: of prepared cases those of a split, else all that lie below it.

    What is hidden is passed over, and so are images, which reconstruction writes beside their scans.

    Raises
    ------
    FileError
        If the folder holds prepared cases, but none of the split.
    """
    if (folder / INDEX).exists():
        return list_cases(folder, split)
    files = (path for _, paths in walk_visible(folder) for path in paths)
    return sorted(path for path in files if is_cine_name(path) and not holds_images_only(path))


def walk_visible(root: Path, without: Path | None = None) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder below another, itself included, with its files by name; without what is hidden, or one folder."""
    left_out = without and without.resolve()
    for name, folders, names in os.walk(root):
        folder = Path(name)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and (folder / n).resolve() != left_out)
        yield folder, [folder / n for n in sorted(names) if not n.startswith(".")]


def is_cine_name(path: Path) -> bool:
    """Whether a file is a raw scan, a prepared case or k-space of CMRxRecon, by its name."""
    return path.name.lower().endswith(SCAN_ENDINGS) or is_kspace_name(path)
