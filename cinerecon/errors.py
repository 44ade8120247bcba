"""Errors that users can cause: what is wrong, where it occurs, and what to try."""

import difflib
from collections.abc import Sequence
from functools import partial


class CineReconError(Exception):
    """An error in the input, described in three short parts. The command line prints it and exits with code 2.

    Parameters
    ----------
    what
        Description of the error, with the actual and the expected value.
    where
        The file, slice, acquisition or option in which the error occurs.
    hint
        A suggestion for the user.
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        """The three parts, one line each, without the empty ones."""
        parts = (("", self.what), ("where  ", self.where), ("try    ", self.hint))
        return "\n".join(label + text for label, text in parts if text)


class FileError(CineReconError):
    """The file is missing, damaged, of another kind, or would be overwritten."""


class StorageError(FileError):
    """The file system accepts no more data because it is full, read-only or faulty; further files would also fail."""


class HeaderError(CineReconError):
    """The header is missing, malformed, or contradicts the data."""


class DataError(CineReconError):
    """The measured data are unusable: wrong sizes, not finite, incomplete."""


class UnsupportedError(CineReconError):
    """The scan is valid, but its type is not supported."""


class NotACineError(UnsupportedError):
    """The file is intact but contains no cine; such files are skipped in folders.

    Attributes
    ----------
    kind
        Description of such files in the plural, for lists of excluded files.
    """

    def __init__(self, what: str, *, kind: str, where: str = "", hint: str = "") -> None:
        super().__init__(what, where=where, hint=hint)
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        """Support for pickling, so that the error can be raised in another process."""
        return partial(type(self), self.what, kind=self.kind, where=self.where, hint=self.hint), ()


class ConfigError(CineReconError):
    """A recipe, an option or a name is unknown or of a wrong type."""


class WeightsError(CineReconError):
    """A checkpoint is missing, damaged, or does not fit its architecture."""


class ShapeError(CineReconError):
    """An array has the wrong axes or sizes."""


class CineReconWarning(UserWarning):
    """Warning for readers of an image, issued by `cinerecon.reconstruct` and written to files with the image."""


def nearest_name(name: str, known: Sequence[str]) -> str:
    """A hint for a name that is not in a list: the nearest one, or all of them."""
    match = difflib.get_close_matches(name, known, n=1)
    question = f"did you mean '{match[0]}'? " if match else ""
    return question + "known: " + ", ".join(known)
