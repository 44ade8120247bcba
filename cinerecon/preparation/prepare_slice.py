"""What is done for one slice; any number of processes may do it side by side."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch

from cinerecon.acquisition import CineSource
from cinerecon.cine import CineData, finish_image
from cinerecon.errors import CineReconError, NotACineError
from cinerecon.image import CineImage
from cinerecon.io.atomic import hash_file
from cinerecon.io.case import MARKS, Attributes, write_case
from cinerecon.io.case_index import IndexRow
from cinerecon.io.export.summary import write_case_picture
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import acceleration_of
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.quality_marks import find_marks, refuse_flattering
from cinerecon.preparation.shape import Window, cut_case, shape_case, windows
from cinerecon.preparation.sources import Item, Source, open_item, survey

PICTURES = "pictures"


@dataclass(frozen=True)
class Refusal:
    """A source or a slice that could not be prepared, and why."""

    path: Path
    what: str
    where: str
    hint: str

    @classmethod
    def of(cls, path: Path, error: CineReconError) -> "Refusal":
        """The refusal that an error is."""
        return cls(path, error.what, error.where, error.hint)


@dataclass(frozen=True)
class Job:
    """One slice to be prepared.

    Attributes
    ----------
    item, slice
        What.
    split
        Where to.
    folder
        The folder of the prepared cases.
    config
        How.
    known
        What the index says of it: the cases are kept if they are as it says.
    is_anew
        They are not kept.
    draws
        Whether a picture is drawn.
    """

    item: Item
    slice: int
    split: str
    folder: Path
    config: PrepareConfig
    known: tuple[IndexRow, ...] = ()
    is_anew: bool = False
    draws: bool = True


@dataclass(frozen=True)
class Done:
    """The cases of one slice.

    Attributes
    ----------
    rows
        For the index.
    is_new
        False where they were there already.
    warnings
        What a user should know.
    """

    rows: tuple[IndexRow, ...]
    is_new: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class LeftOut:
    """A file of a folder that holds no cine, what such files are called, in the plural, and why this one is none."""

    path: Path
    kind: str
    reason: str


def survey_source(source: Source, config: PrepareConfig) -> list[Item | Refusal | LeftOut]:
    """Open a source and hash it; what a user can mend becomes a refusal."""
    try:
        found = survey(source, config)
    except NotACineError as error:
        found = [error]
    except CineReconError as error:
        return [Refusal.of(source.path, error)]
    return [one if isinstance(one, Item) else _excluded(source, one) for one in found]


def _excluded(source: Source, error: NotACineError) -> Refusal | LeftOut:
    """Images of a folder that are no cine are left out; a file that the user named is refused."""
    return Refusal.of(source.path, error) if source.is_given else LeftOut(source.path, error.kind, error.what)


def prepare_slice(job: Job) -> Done | Refusal:
    """Prepare one slice, unless that was done before; what a user can mend becomes a refusal."""
    if not job.is_anew and _is_done(job):
        return Done(job.known, is_new=False)
    try:
        data, marks = _make(job)
        rows = tuple(_write(job, data, marks))
    except CineReconError as error:
        return Refusal.of(job.item.source.path, error)
    for stale in {row.case for row in job.known} - {row.case for row in rows}:
        (job.folder / stale).unlink(missing_ok=True)
    return Done(rows, is_new=True, warnings=data.meta.warnings)


def _is_done(job: Job) -> bool:
    """Whether all cases of the slice were made from the same content by the same settings, and are as they were."""
    hashes = (job.item.sha256, job.config.sha256)
    if not job.known or len(job.known) != job.known[0].n_parts:
        return False
    if any((row.source_sha256, row.settings_sha256, row.split) != (*hashes, job.split) for row in job.known):
        return False
    return all((job.folder / row.case).is_file() for row in job.known) and all(
        hash_file(job.folder / row.case) == row.sha256 for row in job.known
    )


def _make(job: Job) -> tuple[CineData, tuple[str, ...]]:
    """The slice as it will be stored, and its marks."""
    source = _opened(job)
    data = source.read_slice(job.slice)
    found, said = find_marks(data)
    combined = ("combined coils",) if job.config.combine is not None and data.n_coils > 1 else ()
    marks = tuple(dict.fromkeys((*source.marks, *found, *combined)))
    if job.config.strict:
        refuse_flattering(marks, f"{data.meta.source}, slice {data.meta.slice}")
    data = shape_case(data, job.config)
    told = (*data.meta.warnings, *said, *(MARKS[mark] for mark in marks if mark not in found))
    return replace(data, meta=replace(data.meta, warnings=tuple(dict.fromkeys(told)))), marks


_last: tuple[tuple[str, str], CineSource] | None = None


def _opened(job: Job) -> CineSource:
    """The source of a slice; neighbouring slices share it, so its headers are read once in each process."""
    global _last
    key = (job.item.sha256, job.config.sha256)
    if _last is None or _last[0] != key:
        _last = None  # what is held for the last source is let go before the next is opened
        _last = (key, open_item(job.item, job.config))
    return _last[1]


def _write(job: Job, data: CineData, marks: tuple[str, ...]) -> Iterator[IndexRow]:
    name = job.item.case_name(job.slice)
    parts: list[Window | None] = [*windows(data, job.config)] if job.config.patches else [None]
    for number, window in enumerate(parts):
        part = data if window is None else cut_case(data, window)
        path = Path(job.split, f"{name}.h5" if window is None else f"{name}_{window.name}.h5")
        write_case(job.folder / path, part, _attributes(job, marks, window))
        frames, coils, ky, kx = part.kspace.shape
        yield IndexRow(
            case=path.as_posix(),
            split=job.split,
            subject=job.item.person,
            source=str(job.item.source.path),
            slice=job.slice,
            part=number,
            n_parts=len(parts),
            frames=frames,
            coils=coils,
            ky=ky,
            kx=kx,
            acceleration=round(acceleration_of(part)[0], 4),
            marks="; ".join(marks),
            source_sha256=job.item.sha256,
            settings_sha256=job.config.sha256,
            sha256=hash_file(job.folder / path),
        )
    if job.draws:
        _draw(job, data, marks, job.folder / PICTURES / f"{name}.png")


def _attributes(job: Job, marks: tuple[str, ...], window: Window | None) -> Attributes:
    values = {
        "prepared_by": f"cinerecon {version('cinerecon')}",
        "subject": job.item.person,
        "split": job.split,
        "source_sha256": job.item.sha256,
        "settings_sha256": job.config.sha256,
    }
    listed = {"marks": marks} if marks else {}
    place = {} if window is None else {"first_frame_row_column": "{}, {}, {}".format(*window.first)}
    return {**values, **listed, **place, **job.config.as_attributes()}


def _draw(job: Job, data: CineData, marks: tuple[str, ...], path: Path) -> None:
    image = data.reference
    if image is None:
        image = Encoding(data.mask, data.csm, matrix=data.matrix).adjoint(data.kspace)
    image = torch.nan_to_num(finish_image(image, data))
    label = "  ·  ".join((f"{job.item.person}, {job.split}", *marks))
    write_case_picture(path, CineImage(image.numpy(), meta=data.meta, method=label), data.kspace[0].numpy())
