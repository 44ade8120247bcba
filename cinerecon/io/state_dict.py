"""Read named arrays from PyTorch checkpoints, and never the code such files can carry."""

import pickle
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cinerecon.errors import FileError, WeightsError
from cinerecon.io.regular import refuse_pipe


def read_pth(path: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a PyTorch state dict, which may be the entry ``state_dict`` of a checkpoint.

    Raises
    ------
    FileError
        If the file cannot be opened.
    WeightsError
        If it holds code or objects, is damaged, or is not a dictionary of tensors.
    """
    refuse_pipe(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice to the author of the file
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise FileError(f"cannot read: {error.strerror or error}", where=str(path)) from None
    except pickle.UnpicklingError as error:
        text = " ".join(str(error).split())
        if "Unsupported" in text or "GLOBAL" in text or "not an allowed" in text:
            hint = "only dictionaries of tensors are read: code in a file is never run"
            raise WeightsError("the file holds objects or code, not only numbers", where=str(path), hint=hint) from None
        raise WeightsError("the checkpoint is damaged, or no PyTorch checkpoint", where=str(path)) from None
    except Exception as error:  # what a damaged pickle or archive makes torch raise is not to be foreseen
        what = f"the checkpoint is damaged, or no PyTorch checkpoint: {' '.join(str(error).split())[:120]}"
        raise WeightsError(what, where=str(path)) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError("the file is not a dictionary of tensors", where=str(path))
    return {str(name): _as_numpy(tensor) for name, tensor in content.items()}


def _as_numpy(tensor: torch.Tensor) -> NDArray[np.generic]:
    """The numbers of a tensor; NumPy does not have all short floating-point formats."""
    is_short = tensor.is_floating_point() and tensor.element_size() < torch.float32.itemsize
    array: NDArray[np.generic] = (tensor.float() if is_short else tensor).detach().numpy()
    return array
