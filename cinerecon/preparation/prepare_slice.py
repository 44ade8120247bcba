"""Opening of sources, and preparation of their slices, which can run in several processes in parallel."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cinerecon.acquisition.config import describe_kept_coils
from cinerecon.acquisition.source import CineSource
from cinerecon.archives.case_index import IndexRow, remove_cases
from cinerecon.cine import CineData
from cinerecon.errors import CineReconError, NotACineError, StorageError
from cinerecon.image import CineImage
from cinerecon.io.case import MARKS, Attributes, write_case
from cinerecon.io.checksums import hash_file, require_unchanged
from cinerecon.io.export.summary import write_case_picture
from cinerecon.io.paths import absolute
from cinerecon.memory import report_out_of_memory
from cinerecon.methods.memory_plan import require_memory_to_read
from cinerecon.physics.final_image import finish_image
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import acceleration_of
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.quality_marks import find_marks, refuse_unrealistic
from cinerecon.preparation.report import Rejection
from cinerecon.preparation.shape import Window, cut_case, shape_case, windows
from cinerecon.preparation.sources import Item, Source, open_item, survey
from cinerecon.version import __version__

PICTURES = "pictures"
MAX_SENT_BYTES = 2**22
"""Largest size of the files of a source that is sent to other processes when it has been opened [bytes]."""

OpenedKey = tuple[Path, str, str]
"""Path, series and state of an opened scan."""


@dataclass(frozen=True)
class SliceJob:
    """One slice to be prepared.

    Attributes
    ----------
    item, slice
        The scan, and the number of the slice.
    split
        ``train``, ``val`` or ``test``.
    folder
        The folder of the prepared cases.
    config
        Settings of the preparation.
    known
        Rows of the index for this slice; its cases are not prepared again if they are still valid.
    is_forced
        Whether the slice is prepared even if its cases are valid.
    draws
        Whether to draw a picture of the slice.
    memory
        Memory limit of the process [bytes]; None without a limit.
    is_unchanged
        Whether the files of the known cases have the recorded size and modification time.
    opened
        The opened source, see `Survey`; None if it is to be opened.
    """

    item: Item
    slice: int
    split: str
    folder: Path
    config: PrepareConfig
    known: tuple[IndexRow, ...] = ()
    is_forced: bool = False
    draws: bool = True
    memory: int | None = None
    is_unchanged: bool = False
    opened: bytes | None = None


@dataclass(frozen=True)
class PreparedSlice:
    """The cases of one slice."""

    rows: tuple[IndexRow, ...]
    is_new: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExcludedFile:
    """A file in a folder that contains no cine: the file, the kind of such files in the plural, and the reason."""

    path: Path
    kind: str
    reason: str


@dataclass(frozen=True)
class Survey:
    """The content of a source.

    Attributes
    ----------
    source
        The source.
    found
        Its scans, rejections and files without a cine.
    files
        The files that its scans are read from.
    opened
        The opened scans, pickled, so that other processes need not open a small source again.
    """

    source: Source
    found: tuple[Item | Rejection | ExcludedFile, ...]
    files: tuple[Path, ...] = ()
    opened: bytes | None = None


def _excluded(source: Source, error: NotACineError) -> Rejection | ExcludedFile:
    """The record of a file that is not a cine: a rejection if the user named it, an exclusion if it is in a folder."""
    return Rejection.of(source.path, error) if source.is_given else ExcludedFile(source.path, error.kind, error.what)


class PreparationWorker:
    """Opens sources and prepares slices; the source of the last task remains open for further slices of it.

    Parameters
    ----------
    config
        Settings of the preparation.
    is_alone
        Whether all tasks are given to this worker, so that no other one needs the opened sources.
    """

    def __init__(self, config: PrepareConfig, *, is_alone: bool) -> None:
        self.config, self.is_alone = config, is_alone
        self._opened: dict[OpenedKey, CineSource] = {}

    def __call__(self, task: Source | SliceJob) -> Survey | PreparedSlice | Rejection:
        """Open a source, or prepare a slice, see `survey` and `prepare`."""
        return self.survey(task) if isinstance(task, Source) else self.prepare(task)

    def survey(self, source: Source) -> Survey:
        """Open a source and compute its hash; input errors are returned as a rejection."""
        self._opened = {}  # free the memory before the next source is opened
        try:
            content = survey(source, self.config)
        except NotACineError as error:
            return Survey(source, (_excluded(source, error),))
        except CineReconError as error:
            return Survey(source, (Rejection.of(source.path, error),))
        items = [item for item in content.items if isinstance(item, Item)]
        self._opened = {_key(item): content.opened[item.series] for item in items}
        return Survey(
            source,
            tuple(item if isinstance(item, Item) else _excluded(source, item) for item in content.items),
            tuple(dict.fromkeys(file for item in items for file in content.opened[item.series].files)),
            None if self.is_alone else _pickled(self._opened),
        )

    def prepare(self, job: SliceJob) -> PreparedSlice | Rejection:
        """Prepare one slice, unless its cases already exist; input errors are returned as a rejection.

        Raises
        ------
        StorageError
            If the disk is full, read-only or faulty; no cases of the slice remain.
        """
        if is_done(job):
            return PreparedSlice(job.known, is_new=False)
        try:
            where = f"{job.item.source.path}, slice {job.slice}"
            with report_out_of_memory(where, "--workers 1, or --compress-coils auto"):
                source = self._open(job)
                data, marks = _make(job, source)
                require_unchanged(source.files, job.item.state)
                rows = _write_all(job, data, marks)
        except StorageError:  # not caused by the scan: the next slice would fail too
            raise
        except CineReconError as error:
            return Rejection.of(job.item.source.path, error)
        for stale in {row.case for row in job.known} - {row.case for row in rows}:
            (job.folder / stale).unlink(missing_ok=True)
        return PreparedSlice(rows, is_new=True, warnings=(*data.meta.warnings, *_kept_coils(data, job.config)))

    def _open(self, job: SliceJob) -> CineSource:
        key = _key(job.item)
        if key not in self._opened:
            self._opened = {}
            if job.opened is None:
                self._opened = {key: open_item(job.item, self.config)}
            else:
                self._opened = pickle.loads(job.opened)  # sent by another process of this run
        return self._opened[key]


def _key(item: Item) -> OpenedKey:
    return item.source.path, item.series, item.state


def _pickled(opened: dict[OpenedKey, CineSource]) -> bytes | None:
    """The opened scans of a small source, for which opening takes a considerable part of the time; otherwise None."""
    files = {file for scan in opened.values() for file in scan.files}
    if not opened or sum(file.stat().st_size for file in files) > MAX_SENT_BYTES:
        return None
    try:
        return pickle.dumps(opened)
    except (pickle.PicklingError, TypeError, AttributeError):  # such as an open HDF5 file
        return None


def _kept_coils(data: CineData, config: PrepareConfig) -> tuple[str, ...]:
    """Note that the scan has fewer coils than requested, which is reported and stored but is not a warning."""
    text = data.meta.compression
    return (text,) if text and text == describe_kept_coils(data.n_coils, config.maps.n_virtual_coils) else ()


def is_done(job: SliceJob) -> bool:
    """Whether all cases of the slice were prepared from the same content with the same settings, and are unchanged."""
    if job.is_forced:
        return False
    hashes = (job.item.sha256, job.config.sha256)
    if not job.known or len(job.known) != job.known[0].n_parts:
        return False
    if any((row.source_sha256, row.settings_sha256, row.split) != (*hashes, job.split) for row in job.known):
        return False
    if job.is_unchanged:
        return True
    return all((job.folder / row.case).is_file() for row in job.known) and all(
        hash_file(job.folder / row.case) == row.sha256 for row in job.known
    )


def _make(job: SliceJob, source: CineSource) -> tuple[CineData, tuple[str, ...]]:
    """The slice of a source as it will be stored, and its marks."""
    if job.memory is not None:
        where = f"{job.item.source.path}, slice {job.slice}"
        require_memory_to_read(source.size_of(job.slice), job.memory, where)
    data = source.read_slice(job.slice)
    data = replace(data, meta=data.meta.at_measured_matrix(data.matrix))
    content_marks, mark_warnings = find_marks(data)
    combined = ("combined coils",) if job.config.combine is not None and data.n_coils > 1 else ()
    marks = tuple(dict.fromkeys((*source.marks, *content_marks, *combined)))
    if job.config.strict:
        refuse_unrealistic(marks, data.where)
    data = shape_case(data, job.config)
    texts = (*data.meta.warnings, *mark_warnings, *(MARKS[mark] for mark in marks if mark not in content_marks))
    return replace(data, meta=replace(data.meta, warnings=tuple(dict.fromkeys(texts)))), marks


def _write_all(job: SliceJob, data: CineData, marks: tuple[str, ...]) -> tuple[IndexRow, ...]:
    """Write all cases of a slice, or none if the disk becomes full."""
    rows: list[IndexRow] = []
    try:
        rows += _write(job, data, marks)  # after an error the list holds the rows before it
    except StorageError:
        remove_cases(job.folder, rows)
        raise
    return tuple(rows)


def _write(job: SliceJob, data: CineData, marks: tuple[str, ...]) -> Iterator[IndexRow]:
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
            subject=job.item.subject,
            source=str(absolute(job.item.source.path)),
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


def _attributes(job: SliceJob, marks: tuple[str, ...], window: Window | None) -> Attributes:
    values = {
        "prepared_by": f"cinerecon {__version__}",
        "subject": job.item.subject,
        "split": job.split,
        "source_sha256": job.item.sha256,
        "settings_sha256": job.config.sha256,
    }
    listed = {"marks": marks} if marks else {}
    position = {} if window is None else {"first_frame_row_column": "{}, {}, {}".format(*window.first)}
    return {**values, **listed, **position, **job.config.as_attributes()}


def _draw(job: SliceJob, data: CineData, marks: tuple[str, ...], path: Path) -> None:
    image = data.reference
    if image is None:
        image = Encoding(data.mask, data.csm, matrix=data.matrix).adjoint(data.kspace)
    image = torch.nan_to_num(finish_image(image, data))
    label = "  ·  ".join((f"{job.item.subject}, {job.split}", *marks))
    write_case_picture(path, CineImage(image.numpy(), meta=data.meta, method=label), data.kspace[0].numpy())
