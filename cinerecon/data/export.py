"""Images to files: the ending of a name decides the format. This file alone lists all formats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cinerecon.config import nearest_name
from cinerecon.data.files import moved_into_place, refuse_existing
from cinerecon.data.image import CineImage, stacks
from cinerecon.errors import ConfigError, FileError

Writer = Callable[[Path, list[CineImage], str | None], None]
FOLDER = "dicom/"


@dataclass(frozen=True)
class Target:
    """A file or folder to write, and its format: an ending in `FORMATS`, or `FOLDER`."""

    path: Path
    ending: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``-o TEXT``: a known ending, or a folder for DICOM.

        Raises
        ------
        ConfigError
            If no format has this ending.
        """
        path = Path(text)
        if text.endswith(("/", "\\")) or path.name == FOLDER.rstrip("/") or path.is_dir():
            return cls(path, FOLDER)
        for ending in FORMATS:
            if path.name.lower().endswith(ending) and len(path.name) > len(ending):
                return cls(path, ending)
        known = [*FORMATS, FOLDER]
        hint = nearest_name(path.suffix, known) if path.suffix else f"known: {', '.join(known)}"
        raise ConfigError(f"no image format for '{text}'", where="-o", hint=hint)

    def check(self, *, force: bool = False) -> None:
        """Refuse, before any work, what could not be written at the end.

        Raises
        ------
        FileError
            If the file exists, or the folder holds DICOM files, and ``force`` is not set; or it is not writable.
        """
        if self.ending != FOLDER:
            refuse_existing(self.path, force=force)
        elif self.path.is_file():
            raise FileError("this is a file, DICOM needs a folder", where=str(self.path))
        elif self.path.is_dir():
            inside = next(self.path.glob("*.dcm"), None)
            refuse_existing(inside or self.path / "slice00_frame000.dcm", force=force)
        else:
            refuse_existing(self.path)


def export(cines: list[CineImage], target: Target, *, header_xml: str | None = None) -> list[Path]:
    """Write the slices to one target and return the paths written. Each file is whole or not there.

    Parameters
    ----------
    cines
        Slices, in order.
    target
        File or folder, see `Target.parse`.
    header_xml
        Header of the raw scan; copied into ISMRMRD images.

    Raises
    ------
    FileError
        If the file system refuses.
    """
    if target.ending == FOLDER:
        return _export_dicom(cines, target.path)
    parts = stacks(cines) if target.ending in (".nii", ".nii.gz") else [cines]
    write = FORMATS[target.ending]
    written = []
    for number, part in enumerate(parts, start=1):
        path = target.path if number == 1 else _numbered(target, number)
        with moved_into_place(path) as temporary:
            write(temporary, part, header_xml)
        written.append(path)
    return written


def _numbered(target: Target, number: int) -> Path:
    """``cine.nii.gz`` and 2 to ``cine.2.nii.gz``: slices that do not fit one volume get files of their own."""
    stem, ending = target.path.name[: -len(target.ending)], target.path.name[-len(target.ending) :]
    return target.path.with_name(f"{stem}.{number}{ending}")


def _export_dicom(cines: list[CineImage], folder: Path) -> list[Path]:
    """Write into a folder of its own, then move file by file: what else lies in the folder is left alone."""
    from cinerecon.data.dicom import FILE_PATTERN, write_dicom

    staging = folder / "new"
    with moved_into_place(staging) as temporary:
        write_dicom(temporary, cines)
    for old in folder.glob(FILE_PATTERN):
        old.unlink()
    for new in staging.iterdir():
        new.replace(folder / new.name)
    staging.rmdir()
    return [folder]


def _h5(path: Path, cines: list[CineImage], header_xml: str | None) -> None:
    from cinerecon.data.mrd_images import write_mrd_images

    write_mrd_images(path, cines, header_xml)


def _nifti(path: Path, stack: list[CineImage], _: str | None) -> None:
    from cinerecon.data.nifti import write_nifti

    write_nifti(path, stack)


def _npz(path: Path, cines: list[CineImage], _: str | None) -> None:
    from cinerecon.data.npz import write_npz

    write_npz(path, cines)


def _gif(path: Path, cines: list[CineImage], _: str | None) -> None:
    from cinerecon.data.movie import write_gif

    write_gif(path, cines)


def _mp4(path: Path, cines: list[CineImage], _: str | None) -> None:
    from cinerecon.data.movie import write_mp4

    write_mp4(path, cines)


def _png(path: Path, cines: list[CineImage], _: str | None) -> None:
    from cinerecon.data.picture import write_png

    write_png(path, cines)


FORMATS: dict[str, Writer] = {
    ".h5": _h5,
    ".nii.gz": _nifti,
    ".nii": _nifti,
    ".npz": _npz,
    ".gif": _gif,
    ".mp4": _mp4,
    ".png": _png,
}
"""Writers by ending. Each imports its library only when asked for."""
