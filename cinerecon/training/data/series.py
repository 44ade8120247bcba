"""The files of a source of measured series: which to train on, which to validate on, and which must be left out."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Literal

from cinerecon.errors import ConfigError, FileError
from cinerecon.io.magnitude import survey_archive
from cinerecon.training.data.config import SeriesSource

N_LISTED_SERIES = 40
"""Most series that a hint names."""


def list_series(source: SeriesSource, split: Literal["train", "val"], folders: Sequence[Path] = ()) -> list[Path]:
    """The archives of a source, by folder and name; segmentations among them are left out.

    Parameters
    ----------
    source
        Folders, and patterns of names; a pattern with a ``/`` is compared with folder and name.
    split
        ``val`` takes the series that the source names for validation, ``train`` all others.
    folders
        Folders for a source that names none.

    Raises
    ------
    FileError
        If the folders hold no series.
    DataError
        If a series cannot be read.
    ConfigError
        If a series that results are reported on is not left out.
    """
    archives = _find_archives(source, folders)
    paths = [path for path in archives if survey_archive(path).n_frames]
    if not paths and (searched := source.folder or tuple(folders)):
        where = ", ".join(map(str, searched))
        raise FileError("there is no measured series here", where=where, hint="NumPy archives, .npz")
    reserved = [path for path in paths if matches(path, source.reserved)]
    if reserved:
        what = "this series is reserved for reporting: nothing may be trained or tuned on it"
        names = ", ".join(dict.fromkeys(path.stem for path in reserved[:N_LISTED_SERIES]))
        hint = f"leave_out: [{names}] in the source of the recipe, or another folder"
        raise ConfigError(what, where=str(reserved[0]), hint=hint)
    return [path for path in paths if matches(path, source.validation) == (split == "val")]


def series_warnings(source: SeriesSource, folders: Sequence[Path] = ()) -> list[str]:
    """Which archives and frames of a source are not used, and why; and what is wrong with the split."""
    archives = _find_archives(source, folders)
    remarks = [f"{path.name}: {text}" for path in archives for text in survey_archive(path).remarks]
    unused = [pattern for pattern in source.validation if not any(matches(path, [pattern]) for path in archives)]
    remarks += [f"validation: no series fits '{pattern}'" for pattern in unused if archives]
    validation = [path for path in archives if matches(path, source.validation)]
    trained_on = {subject_of(path) for path in archives if path not in validation}
    shared = [path.name for path in validation if subject_of(path) in trained_on]
    return remarks + [f"{name}: its subject is in the training, too" for name in shared]


def subject_of(path: Path) -> str:
    """A hash of the subject; if the archive has none, all images of a folder count as one subject."""
    return survey_archive(path).subject or path.resolve().parent.name


def _find_archives(source: SeriesSource, folders: Sequence[Path]) -> list[Path]:
    """All archives of the folders but those to be left out by their names."""
    searched = source.folder or tuple(folders)
    return [path for folder in searched for path in sorted(folder.glob("*.npz")) if not matches(path, source.leave_out)]


def matches(path: Path, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits the name of a file without its suffix, or its folder and name."""
    names = path.stem, f"{path.resolve().parent.name}/{path.stem}"
    return any(fnmatch(names["/" in pattern], pattern) for pattern in patterns)
