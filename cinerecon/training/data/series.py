"""Measured magnitude series, slice by slice: selection for training and validation, and exclusion."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Literal

from cinerecon.errors import CineReconError, ConfigError, FileError, NotACineError
from cinerecon.io.checksums import file_state, hash_files
from cinerecon.io.magnitude import MagnitudeImages, find_magnitudes, open_magnitude, stem_of
from cinerecon.io.magnitude.images import Magnitude
from cinerecon.training.data.config import SeriesSource

N_LISTED_SERIES = 40
"""Largest number of series that a hint names."""


@dataclass(frozen=True)
class Series:
    """One slice of a measured magnitude cine.

    Attributes
    ----------
    path
        The file, or the folder of DICOM images.
    dicom_series
        Name of the DICOM series if the folder contains several; otherwise empty.
    slice, n_slices
        Number of the slice, and number of slices.
    name
        Name of the file without its ending, or of the folder, followed by the DICOM series and the slice if there are
        several: ``patient001_4d_slice03``.
    folder
        The given folder and its subfolders down to the folder of the file, e.g. ``acdc/patient001``.
    n_frames
        Number of frames that contain an image.
    subject
        A hash of the subject in the header. Without a subject in the header, all images of a folder are assigned to one
        subject.
    licence
        Licence of the images; empty if unknown.
    sha256
        Hash of all files from which the series is read.
    """

    path: Path
    dicom_series: str
    slice: int
    n_slices: int
    name: str
    folder: str
    n_frames: int
    subject: str
    licence: str
    sha256: str

    def read(self) -> Magnitude:
        """Read the images, ``(frames, y, x)``, with a largest value of 1."""
        images = next(images for images in open_magnitude(self.path) if images.name == self.dicom_series)
        return images.read_slice(self.slice)[0]

    def matches(self, patterns: Sequence[str]) -> bool:
        """Whether a pattern matches the name; a pattern with a ``/`` is compared with the last folders and the name."""
        return _matches(self.folder, self.name, patterns)


@dataclass(frozen=True)
class _Unusable:
    """A file, or a slice of it, that cannot be used, and the reason."""

    path: Path
    name: str
    folder: str
    error: CineReconError


@dataclass(frozen=True)
class _Contents:
    """The contents of a file or folder of images, with warnings about the images."""

    series: tuple[Series, ...] = ()
    unusable: tuple[_Unusable, ...] = ()
    warnings: tuple[str, ...] = ()


def list_series(source: SeriesSource, split: Literal["train", "val"], folders: Sequence[Path] = ()) -> list[Series]:
    """The slices of all magnitude cines of a source, by folder and name; files without a cine are omitted.

    Parameters
    ----------
    source
        Folders, and patterns of names; a pattern with a ``/`` is compared with folder and name.
    split
        ``val`` selects the series that the source names for validation, ``train`` all others.
    folders
        Folders for a source that does not specify a folder.

    Raises
    ------
    FileError
        If the folders contain no series.
    CineReconError
        If a series cannot be read.
    ConfigError
        If a series that is reserved for reporting results is not excluded.
    """
    contents = _survey_all(source, folders)
    for unusable in (item for content in contents for item in content.unusable):
        if not isinstance(unusable.error, NotACineError):
            raise unusable.error
    all_series = [series for content in contents for series in content.series]
    if not all_series and (searched := source.folder or tuple(folders)):
        where, hint = ", ".join(map(str, searched)), "DICOM folders, NIfTI, or NumPy archives, .npz"
        raise FileError("there is no measured series here", where=where, hint=hint)
    reserved = [series for series in all_series if series.matches(source.reserved)]
    if reserved:
        what = "this series is reserved for testing: it must not be used for training or tuning"
        names = ", ".join(dict.fromkeys(series.name for series in reserved[:N_LISTED_SERIES]))
        hint = f"leave_out: [{names}] in the source of the recipe, or another folder"
        raise ConfigError(what, where=str(reserved[0].path), hint=hint)
    return [series for series in all_series if series.matches(source.validation) == (split == "val")]


def series_warnings(source: SeriesSource, folders: Sequence[Path] = ()) -> list[str]:
    """Warnings about unused files and frames of a source, with the reasons, and about problems of the split."""
    contents = _survey_all(source, folders)
    all_series = [series for content in contents for series in content.series]
    warnings = [text for content in contents for text in content.warnings]
    warnings += _describe_excluded([item for content in contents for item in content.unusable])
    unused = [pattern for pattern in source.validation if not any(series.matches([pattern]) for series in all_series)]
    warnings += [f"validation: no series matches '{pattern}'" for pattern in unused if all_series]
    validation = [series for series in all_series if series.matches(source.validation)]
    trained_on = {series.subject for series in all_series if series not in validation}
    shared = [series.name for series in validation if series.subject in trained_on]
    return warnings + [f"{name}: its subject is also used for training" for name in shared]


def _describe_excluded(items: Sequence[_Unusable]) -> Iterator[str]:
    """Describe files without a cine: a single file by its name, several files of the same kind by their number."""
    by_kind = defaultdict[str, list[_Unusable]](list)
    for item in items:
        if isinstance(item.error, NotACineError):
            by_kind[item.error.kind].append(item)
    for kind, (first, *others) in by_kind.items():
        if others:
            yield f"{1 + len(others)} {kind}, such as {first.path.name}: left out"
        else:
            yield f"{first.path.name}: {first.error.what}: left out"


def _survey_all(source: SeriesSource, folders: Sequence[Path]) -> list[_Contents]:
    """The contents of all folders, without files and slices that are excluded by name."""
    surveyed = [
        _survey(path, root, _states(path)) for root in source.folder or folders for path in find_magnitudes(root)
    ]
    return [
        _Contents(
            tuple(series for series in content.series if not series.matches(source.leave_out)),
            tuple(item for item in content.unusable if not _matches(item.folder, item.name, source.leave_out)),
            content.warnings,
        )
        for content in surveyed
    ]


def _states(path: Path) -> tuple[str, ...]:
    """The size and modification time of each file, by which changes are detected."""
    return tuple(str(file_state(file)) for file in (sorted(path.iterdir()) if path.is_dir() else [path]))


@lru_cache(maxsize=4096)
def _survey(path: Path, root: Path, _: tuple[str, ...]) -> _Contents:
    """Read all images of a file or folder; the result is cached until a file changes."""
    top = root if root.is_dir() and path != root else path.parent
    folders = [top.resolve().name, *path.relative_to(top).parts[:-1]]
    series: list[Series] = []
    unusable: list[_Unusable] = []
    warnings: dict[str, None] = {}
    try:
        opened = open_magnitude(path)
    except CineReconError as error:
        return _Contents(unusable=(_Unusable(path, stem_of(path), "/".join(folders), error),))
    for images in opened:
        sha256 = hash_files(images.files)
        for number in range(images.n_slices):
            name = _name_of(images, number)
            try:
                magnitude, meta = images.read_slice(number)
            except CineReconError as error:
                unusable.append(_Unusable(path, name, "/".join(folders), error))
                continue
            series.append(
                Series(
                    path,
                    images.name,
                    number,
                    images.n_slices,
                    name,
                    "/".join(folders),
                    len(magnitude),
                    images.subject or folders[:2][-1],
                    images.licence,
                    sha256,
                )
            )
            warnings |= dict.fromkeys(f"{path.name}: {text}" for text in meta.warnings)
    return _Contents(tuple(series), tuple(unusable), tuple(warnings))


def _name_of(images: MagnitudeImages, number: int) -> str:
    parts = (stem_of(images.path), f"-{images.name}" * bool(images.name), f"_slice{number:02d}" * (images.n_slices > 1))
    return "".join(parts)


def _matches(folder: str, name: str, patterns: Sequence[str]) -> bool:
    return any(
        fnmatch(f"/{folder}/{name}", f"*/{pattern}") if "/" in pattern else fnmatch(name, pattern)
        for pattern in patterns
    )
