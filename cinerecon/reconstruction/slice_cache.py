"""Completed slices of a run in a folder next to its output, from which ``--resume`` continues an interrupted run.

A slice consists of two ``.npy`` arrays and a ``.json`` file with all other values. The latter is written last, so that
the slice is complete if it exists. Files are written atomically. The name of the folder ends with a checksum of the
scan, the method and all settings, so that slices of another reconstruction are never used. The folder also lists the
outputs that the run has begun to write, which are the only files that may be overwritten when it continues.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from cinerecon.archives.journal import Journal
from cinerecon.errors import FileError
from cinerecon.io.atomic import moved_into_place, write_text
from cinerecon.io.paths import absolute_paths, relative
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice

ARRAYS, CURVES = ("image", "reference", "noise", "velocity", "uncertainty"), "convergence"
"""Attributes of `CineImage` that are arrays, and the attribute that is a mapping of arrays."""
ENDING, WITH_CONVERGENCE, OUTPUTS = ".slices-", "-convergence", "outputs.jsonl"


class SliceCache:
    """The completed slices of one reconstruction.

    Parameters
    ----------
    output
        First output of the reconstruction; the folder is created next to it.
    checksum
        Checksum of the reconstruction, see `Identity`.
    keeps_convergence
        Whether the convergence is stored with the slices, see `ReconRequest.keeps_convergence`.
    earlier
        Outputs that an earlier, completed run wrote, which may be overwritten.
    """

    def __init__(
        self, output: Path, checksum: str, *, keeps_convergence: bool = False, earlier: Iterable[Path | str] = ()
    ) -> None:
        self.folder = output.with_name(output.name + ENDING + checksum + WITH_CONVERGENCE * keeps_convergence)
        self._earlier = absolute_paths(earlier)

    @classmethod
    def of(cls, request: ReconRequest, checksum: str, earlier: Iterable[Path | str] = ()) -> Self:
        """The cache for the outputs of a request."""
        output = request.targets[0].path
        return cls(output, checksum, keeps_convergence=request.keeps_convergence, earlier=earlier)

    def indices(self) -> list[int]:
        """Indices of the completed slices."""
        return sorted(int(path.stem) for path in self.folder.glob("*.json") if path.stem.isdecimal())

    def load(self, index: int) -> ReconstructedSlice | None:
        """A completed slice with memory-mapped arrays; None if it does not exist or cannot be read."""
        try:
            record = json.loads(self._path(index, ".json").read_text(encoding="utf-8"))
            cine = record["cine"]
            for name in ARRAYS:
                path = self._path(index, f".{name}.npy")
                cine[name] = np.load(path, mmap_mode="r") if cine[name] else None
            cine[CURVES] = {name: np.array(curve) for name, curve in cine[CURVES].items()}
            part: ReconstructedSlice = _decoded(ReconstructedSlice, record)
            return part
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def store(self, part: ReconstructedSlice) -> ReconstructedSlice:
        """Write a slice, and return it with memory-mapped arrays, which do not occupy memory.

        Raises
        ------
        FileError
            If the slice cannot be written.
        """
        index = part.meta.slice
        cine = {field.name: getattr(part.cine, field.name) for field in fields(part.cine)}
        for name in ARRAYS:
            if cine[name] is not None:
                self._write(self._path(index, f".{name}.npy"), cine[name])
            cine[name] = cine[name] is not None
        cine[CURVES] = {name: curve.tolist() for name, curve in cine[CURVES].items()}
        record = {field.name: getattr(part, field.name) for field in fields(part)} | {"cine": cine}
        write_text(self._path(index, ".json"), json.dumps(record, default=_encoded))
        return self.load(index) or part

    def _write(self, path: Path, array: NDArray[Any]) -> None:
        """Write an array; an empty folder is removed after an error."""
        try:
            with moved_into_place(path) as temporary, temporary.open("wb") as file:
                np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        except FileError:
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
            raise

    def outputs(self) -> set[Path]:
        """Absolute paths of the outputs of an earlier run, and of those that this run has begun to write."""
        begun = Journal(self.folder / OUTPUTS)
        return self._earlier | absolute_paths(self.folder.parent / path for path in begun if begun.get(path))

    def begin_output(self, path: Path, *, is_begun: bool = True) -> None:
        """Record that an output is about to be written, or that it could not be written.

        Raises
        ------
        FileError
            If the record cannot be written.
        """
        Journal(self.folder / OUTPUTS).add(relative(path, self.folder.parent), is_begun)

    def remove(self) -> None:
        """Remove the folder; memory-mapped arrays remain valid."""
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int, ending: str) -> Path:
        return self.folder / f"{index:03d}{ending}"


def remove_slices(output: Path, checksum: str) -> None:
    """Remove the slices of a reconstruction, with and without convergence."""
    for keeps_convergence in (False, True):
        SliceCache(output, checksum, keeps_convergence=keeps_convergence).remove()


def _encoded(value: object) -> object:
    """Data classes and slices as plain values, for `json.dumps`."""
    if isinstance(value, slice):
        return [value.start, value.stop]
    return {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]


def _decoded(hint: Any, value: Any) -> Any:
    """A value of the type given by a type hint, from the plain value of `json.loads`."""
    arguments = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return None if value is None else _decoded(next(kind for kind in arguments if kind is not NoneType), value)
    if get_origin(hint) is tuple:
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        return tuple(_decoded(kind, item) for kind, item in zip(kinds, value, strict=True))
    if hint is slice:
        return slice(*value)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        kind: Any = hint
        return kind(**{name: _decoded(hints[name], item) for name, item in value.items()})
    return value
