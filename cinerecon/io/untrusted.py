"""Safe reading of files from other sources: pipes, devices, and archives or checkpoints with code are refused.

Opening a pipe or a device would block. NumPy archives and PyTorch checkpoints can contain pickled code, which is never
executed.
"""

import os
import pickle
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError, WeightsError

if TYPE_CHECKING:
    import torch


def is_pipe(path: Path) -> bool:
    """Whether a path exists and is neither a regular file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe or a device; missing files and folders are left to the reader.

    Raises
    ------
    FileError
        If the path is a pipe or a device.
    """
    if is_pipe(path):
        raise FileError("this is not a regular file (a pipe or a device)", where=str(path))


def unreadable(error: OSError, path: Path) -> FileError:
    """The error if the operating system refuses to read a file."""
    return FileError(f"cannot read: {error.strerror or error}", where=str(path))


def reason_of(error: Exception) -> str:
    """The message of an error in one line of at most 200 characters; its type if it has no message.

    For an error of the operating system, its description without number and path.
    """
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0).lower()
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


@contextmanager
def reporting_damage(what: str, where: Path | str, hint: str = "") -> Iterator[None]:
    """Raise all errors of a parser as `FileError`: on arbitrary bytes, it may fail in any way.

    Parameters
    ----------
    what
        Description of the error, which the message of the parser follows.
    where, hint
        As in `FileError`.

    Raises
    ------
    FileError
        If the parser fails.
    """
    try:
        yield
    except Exception as error:
        raise FileError(f"{what}: {reason_of(error)}", where=str(where), hint=hint) from None


def open_npy(path: Path) -> NDArray[Any]:
    """Map a NumPy file into memory; arrays of objects are refused, never loaded.

    Raises
    ------
    FileError
        If it is missing, truncated, or not an array of numbers.
    """
    refuse_pipe(path)
    try:
        result: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return result
    except OSError as error:
        raise unreadable(error, path) from None
    except Exception as error:  # the parser may fail in any way on arbitrary bytes
        is_short = "mmap" in str(error)
        what = "the file is truncated: its header declares more values than it contains" if is_short else str(error)
        hint = "save it as an array of numbers" if "object" in what.lower() else "copy it again"
        raise FileError(f"cannot read the array: {what}"[:200], where=str(path), hint=hint) from None


def read_npz(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the arrays of a NumPy archive.

    Raises
    ------
    FileError
        If the file cannot be opened.
    WeightsError
        If it is damaged or contains pickled objects.
    """
    refuse_pipe(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise unreadable(error, path) from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as error:
        if "allow_pickle" in str(error):
            hint = "only arrays of numbers are read: code in a file is never executed"
            raise WeightsError(
                "the archive contains objects or code, not only numbers", where=str(path), hint=hint
            ) from None
        raise WeightsError(f"the archive is damaged: {error}", where=str(path)) from None


def read_pth(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read the tensors of a PyTorch state dict, which may be the entry ``state_dict`` of a checkpoint.

    Raises
    ------
    FileError
        If the file cannot be opened.
    WeightsError
        If it contains code or objects, is damaged, or is not a dictionary of tensors.
    """
    import torch

    refuse_pipe(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they concern the author of the file
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise unreadable(error, path) from None
    except pickle.UnpicklingError as error:
        if any(text in str(error) for text in ("Unsupported", "GLOBAL", "not an allowed")):
            hint = "only dictionaries of tensors are read: code in a file is never executed"
            raise WeightsError(
                "the file contains objects or code, not only numbers", where=str(path), hint=hint
            ) from None
        raise WeightsError("the checkpoint is damaged, or not a PyTorch checkpoint", where=str(path)) from None
    except Exception as error:  # a damaged pickle or archive may raise any exception
        what = f"the checkpoint is damaged, or not a PyTorch checkpoint: {reason_of(error)}"
        raise WeightsError(what, where=str(path)) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError("the file is not a dictionary of tensors", where=str(path))
    return {str(name): _as_numpy(tensor) for name, tensor in content.items()}


def _as_numpy(tensor: "torch.Tensor") -> NDArray[np.generic]:
    """Convert a tensor to an array; 16-bit numbers become float32, since NumPy lacks some of these types."""
    import torch

    is_short = tensor.is_floating_point() and tensor.element_size() < torch.float32.itemsize
    array: NDArray[np.generic] = (tensor.float() if is_short else tensor).detach().numpy()
    return array
