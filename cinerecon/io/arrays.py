"""Read named arrays from the NumPy archives of other programs, and never the code such files can carry."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError, WeightsError
from cinerecon.io.regular import refuse_pipe


def read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a NumPy archive.

    Raises
    ------
    FileError
        If the file cannot be opened.
    WeightsError
        If it is damaged or holds pickled objects.
    """
    refuse_pipe(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise FileError(f"cannot read: {error.strerror or error}", where=str(path)) from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        if "allow_pickle" in str(error):
            hint = "only arrays of numbers are read: code in a file is never run"
            raise WeightsError(
                "the archive holds objects or code, not only numbers", where=str(path), hint=hint
            ) from None
        raise WeightsError(f"the archive is damaged: {error}", where=str(path)) from None
