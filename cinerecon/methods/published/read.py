"""Read the variables of a checkpoint, whose type is recognised by its content."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import FileError, UnsupportedError, WeightsError
from cinerecon.io.checksums import hash_file
from cinerecon.io.tf_checkpoint import DATA_ENDING, INDEX_ENDING, is_table, read_tf_checkpoint
from cinerecon.io.untrusted import read_npz, read_pth, refuse_pipe
from cinerecon.methods.model_file import MODEL_ENDING, read_model

KINDS = "a TensorFlow checkpoint (folder, prefix or .index), a PyTorch .pth or a NumPy .npz"

Variables = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The variables of a published network, by their names in its program.

    Attributes
    ----------
    variables
        Arrays by name.
    path
        The file with the numbers.
    label
        Name of the file and, for TensorFlow, of its folder, which often describes the training.
    """

    variables: Variables
    path: Path
    label: str

    @property
    def sha256(self) -> str:
        """Checksum of the file with the numbers."""
        return hash_file(self.path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any published program.

    Parameters
    ----------
    path
        TensorFlow: the folder, the prefix, or one of the two files. PyTorch, NumPy: the file.

    Raises
    ------
    FileError
        If there is no such file, or a part of it is missing.
    WeightsError
        If it is damaged, contains code, or is not a checkpoint.
    UnsupportedError
        If it was written by TensorFlow 1.
    """
    prefix = _tf_prefix(path)
    if prefix is not None:
        variables: Variables = read_tf_checkpoint(prefix)
        label = f"{prefix.absolute().parent.name}/{prefix.name}"
        checkpoint = Checkpoint(variables, Path(f"{prefix}{DATA_ENDING}"), label)
    elif not path.is_file():
        raise FileError("there is no such checkpoint", where=str(path), hint=f"expected {KINDS}")
    else:
        checkpoint = Checkpoint(_read_file(path), path, path.name)
    for name, value in checkpoint.variables.items():
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise WeightsError(f"the checkpoint is damaged: '{name}' is not finite", where=str(path))
    return checkpoint


def _tf_prefix(path: Path) -> Path | None:
    """The path of a TensorFlow checkpoint without suffix; None for other files."""
    if path.is_dir():
        index_files = sorted(path.glob(f"*{INDEX_ENDING}"))
        if len(index_files) != 1:
            if not index_files:
                raise FileError("no checkpoint in this folder", where=str(path), hint=f"expected {KINDS}")
            what = f"there are {len(index_files)} TensorFlow checkpoints in this folder"
            names = ", ".join(entry.stem for entry in index_files)
            raise FileError(what, where=str(path), hint=f"give one of them: {names}")
        return index_files[0].with_suffix("")
    for ending in (INDEX_ENDING, DATA_ENDING):
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending))
    has_parts = any(Path(f"{path}{ending}").is_file() for ending in (INDEX_ENDING, DATA_ENDING))
    return path if has_parts and not path.is_file() else None


def _read_file(path: Path) -> Variables:
    """Read a single file, whose type is recognised by its first bytes or its suffix."""
    refuse_pipe(path)
    content = path.read_bytes()
    if zipfile.is_zipfile(path) or content[:2] == b"PK":
        return read_pth(path) if _holds_pickle(path) else read_npz(path)
    if content[:1] == b"\x80":
        return read_pth(path)
    if is_table(content):
        raise UnsupportedError(
            "a checkpoint of TensorFlow 1", where=str(path), hint="published checkpoints were written by TensorFlow 2"
        )
    if path.suffix == MODEL_ENDING:
        read_model(path)  # raises an error if it is not one of our models
        raise WeightsError("this is already a cinerecon model", where=str(path), hint=f"use it: --model {path}")
    raise WeightsError("this is not a checkpoint of a known type", where=str(path), hint=f"expected {KINDS}")


def _holds_pickle(path: Path) -> bool:
    """Whether a zip archive was written by PyTorch, which stores a pickle; NumPy stores only arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return path.suffix != ".npz"
