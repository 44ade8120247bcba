"""Export of images to files, whose format is selected by the suffix of their names (`FORMATS`)."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Self

from cinerecon.errors import ConfigError, FileError, nearest_name
from cinerecon.image import CineImage, as_map, stacks
from cinerecon.io.atomic import is_same_file, moved_into_place, refuse_existing, series_moved_into_place
from cinerecon.io.bart import cfl_files, write_bart
from cinerecon.io.export.dicom import FILE_PATTERN, is_own, write_dicom
from cinerecon.io.export.dicom_elements import provenance_of_pixels
from cinerecon.io.export.dicom_enhanced import write_enhanced_dicom
from cinerecon.io.export.dicom_patient import make_patient
from cinerecon.io.export.movie import write_gif, write_mp4
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.export.npz import write_npz
from cinerecon.io.export.summary import write_png
from cinerecon.io.ismrmrd.images import write_mrd_images
from cinerecon.io.mrd2.images import write_mrd2_images
from cinerecon.io.mrd_stream.images import write_stream_images
from cinerecon.io.output_folder import FolderKind, require_folder_of
from cinerecon.provenance import Patient

__all__ = ["DICOM", "FOLDER", "FORMATS", "Target", "export", "export_series", "make_patient", "series_of"]

FORMATS: dict[str, Callable[[Path, list[CineImage]], None]] = {
    ".h5": write_mrd_images,
    ".nii.gz": write_nifti,
    ".nii": write_nifti,
    ".npz": write_npz,
    ".cfl": write_bart,
    ".mrd": write_stream_images,
    ".mrd2": write_mrd2_images,
    ".gif": write_gif,
    ".mp4": write_mp4,
    ".png": write_png,
    ".dcm": write_enhanced_dicom,
}
"""Writers by suffix; large libraries are imported when a writer is called."""
VOLUMES = (".nii.gz", ".nii", ".cfl", ".dcm")
"""Suffixes of formats that store one stack of slices; further stacks are written to numbered files."""
FOLDER, ENHANCED = "dicom/", ".dcm"
"""Targets of DICOM: a folder of classic images, or one file with all slices and frames (Enhanced MR)."""
DICOM = (FOLDER, ENHANCED)
MAPS = {"noise": ("snr", "noise"), "uncertainty": ("uncertainty",), "velocity": ("velocity",)}
"""Attributes of an image, and the maps that are written if it has them (keys of `QUANTITIES`)."""
MAP_OR_STACK = re.compile(rf"(\.({'|'.join(quantity for names in MAPS.values() for quantity in names)}))?(\.\d+)?")
"""Part of a file name that is inserted into the name of its target, for maps and further stacks."""
MAPPED = (".h5", ".mrd", ".mrd2", ".nii.gz", ".nii", ".cfl", ".dcm", FOLDER)
"""Suffixes of formats in which maps are separate series, see `Target.of_map`."""


def companions(path: Path) -> tuple[Path, ...]:
    """Additional files of a format: the header of a BART array."""
    return cfl_files(path)[:1] if path.suffix.lower() == ".cfl" else ()


@dataclass(frozen=True)
class Target:
    """A file or folder to be written, and its format: a suffix in `FORMATS`, or `FOLDER`."""

    path: Path
    ending: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the value of ``-o``: a file name with a known suffix, or a folder for DICOM.

        Raises
        ------
        ConfigError
            If no format has this suffix, or the folder is the root of the file system.
        """
        known, path = [*FORMATS, FOLDER], Path(text).expanduser()
        if text and (text.endswith(("/", "\\")) or path.name == FOLDER.rstrip("/") or path.is_dir()):
            path = (
                path.resolve() if path.name in ("", "..") else path
            )  # "." has no name, to which names of maps could be added
            if not path.name:
                raise ConfigError("images need a separate folder", where=f"-o {text}", hint=f"-o {path / FOLDER}")
            return cls(path, FOLDER)
        for ending in FORMATS:
            if path.name.lower().endswith(ending) and len(path.name) > len(ending):
                return cls(path, ending)
        hint = nearest_name(path.suffix, known) if path.suffix else f"known: {', '.join(known)}"
        if path.name.lower() in FORMATS:
            hint = f"give a name before the ending: cine{path.name}"
        raise ConfigError(f"no image format for '{text}'", where="-o", hint=hint)

    def check(self, *, force: bool = False) -> None:
        """Check that the target can be written, before the reconstruction starts.

        Raises
        ------
        FileError
            If the file, a numbered file for further stacks, or DICOM files in the folder exist and ``force`` is not
            set, files of other programs would be replaced, or the target is not writable.
        """
        if self.ending != FOLDER:
            for path in (self.path, *self._numbered_files(), *companions(self.path)):
                refuse_existing(path, force=force)
                if self.ending == ENHANCED and path.is_file() and not is_own(path):
                    raise FileError("this file was not written by cinerecon", where=str(path), hint="another name")
        elif self.path.is_file():
            raise FileError("this is a file, but DICOM needs a folder", where=str(self.path))
        elif self.path.is_dir():
            require_folder_of(FolderKind.IMAGES, self.path)
            inside = next(self.path.glob("*.dcm"), None)
            refuse_existing(inside or self.path / "slice00_frame000.dcm", force=force)
            foreign = next((path for path in self.path.glob(FILE_PATTERN) if not is_own(path)), None)
            if foreign is not None:
                what = f"{foreign.name} was not written by cinerecon and would be replaced by the new series"
                raise FileError(what, where=str(self.path), hint="choose another folder")
        else:
            refuse_existing(self.path)

    def may_write(self, path: Path) -> bool:
        """Whether this export may write a file: the target itself, a numbered file, or a DICOM file of the series."""
        if any(is_same_file(path, own) for own in (self.path, *companions(self.path))):
            return True
        real = Path(os.path.realpath(path))
        if self.ending == FOLDER:
            return is_same_file(real.parent, self.path) and real.match(FILE_PATTERN)
        return is_same_file(real.parent, self.path.parent) and self._is_numbered(real.name)

    @property
    def _name_parts(self) -> tuple[str, str]:
        """The name without its suffix, and the suffix as written, which is empty for a folder."""
        length = len(self.path.name) - (0 if self.ending == FOLDER else len(self.ending))
        return self.path.name[:length], self.path.name[length:]

    def _inserted(self, part: object) -> Path:
        """The path with a part inserted before its suffix."""
        stem, ending = self._name_parts
        return self.path.with_name(f"{stem}.{part}{ending}")

    def numbered(self, number: int) -> Path:
        """The path of a further stack of slices: ``cine.2.nii.gz`` for ``cine.nii.gz`` and 2."""
        return self.path if number == 1 else self._inserted(number)

    def of_map(self, quantity: str) -> "Target":
        """The target of a map: ``cine.snr.nii.gz`` for ``cine.nii.gz``, ``dicom.snr/`` for ``dicom/``."""
        return Target(self._inserted(quantity), self.ending)

    def with_maps(self, *attributes: str) -> "list[Target]":
        """The target and, if the format supports maps, those of the maps of attributes (keys of `MAPS`)."""
        quantities = [quantity for name in attributes for quantity in MAPS[name]]
        return [self, *(self.of_map(quantity) for quantity in quantities if self.ending in MAPPED)]

    def includes(self, path: Path) -> bool:
        """Whether a file with this name belongs to the target: the target itself, a map or a further stack."""
        stem, ending = self._name_parts
        if not (path.name.startswith(stem) and path.name.endswith(ending) and path.parent == self.path.parent):
            return False
        return bool(MAP_OR_STACK.fullmatch(path.name[len(stem) : len(path.name) - len(ending)]))

    def _is_numbered(self, name: str) -> bool:
        stem, ending = map(re.escape, self._name_parts)
        return self.ending in VOLUMES and bool(re.fullmatch(rf"{stem}\.\d+{ending}", name))

    def _numbered_files(self) -> list[Path]:
        """Existing files of further stacks, found without listing the folder, which may contain thousands of files."""
        files = map(self.numbered, count(2))
        return list(takewhile(Path.exists, files)) if self.ending in VOLUMES else []


def export(
    cines: list[CineImage], target: Target, *, overwrite: bool = True, patient: Patient | None = None
) -> dict[Path, float]:
    """Write slices to a target and their maps to adjacent files, each atomically.

    DICOM files contain the identity of the patient if it is given; all other files are anonymous.

    Parameters
    ----------
    cines
        The slices.
    target
        The file or folder.
    overwrite
        Replace existing files.
    patient
        Identity of the patient, for DICOM.

    Returns
    -------
    dict
        The written paths, and the time for each [s].

    Raises
    ------
    FileError
        If a file cannot be written, or exists and ``overwrite`` is not set.
    """
    written: dict[Path, float] = {}
    for part, images in series_of(cines, target):
        written |= export_series(images, part, overwrite=overwrite, patient=patient)
    return written


def series_of(cines: list[CineImage], target: Target) -> Iterator[tuple[Target, list[CineImage]]]:
    """The image series and the series of maps, each with its target."""
    yield target, cines
    if target.ending in MAPPED:
        for quantity in _quantities(cines):
            yield target.of_map(quantity), [as_map(cine, quantity) for cine in cines]


def _quantities(cines: list[CineImage]) -> list[str]:
    """The maps that all slices have."""
    names = (name for name in MAPS if all(getattr(cine, name) is not None for cine in cines))
    return [quantity for name in names for quantity in MAPS[name]]


def export_series(
    cines: list[CineImage], target: Target, *, overwrite: bool, patient: Patient | None
) -> dict[Path, float]:
    """Write one series; parameters, result and errors are those of `export`."""
    start = time.perf_counter()
    if target.ending == FOLDER:
        with series_moved_into_place(target.path, FILE_PATTERN, overwrite=overwrite) as temporary:
            write_dicom(temporary, cines, patient)
        return {target.path: time.perf_counter() - start}
    written, write = {}, FORMATS[target.ending]
    if target.ending == ENHANCED:
        provenance = cines[0].provenance or provenance_of_pixels(cines)
        write = partial(write_enhanced_dicom, patient=patient, provenance=provenance)
    for number, part in enumerate(stacks(cines) if target.ending in VOLUMES else [cines], start=1):
        path, start = target.numbered(number), time.perf_counter()
        with moved_into_place(path, overwrite=overwrite) as temporary, ExitStack() as stack:
            moved = [stack.enter_context(moved_into_place(p, overwrite=overwrite)) for p in companions(path)]
            write(temporary, part)
            for companion, name in zip(companions(temporary), moved, strict=True):
                companion.replace(name)
        written[path] = time.perf_counter() - start
    return written
