"""Sampling masks in files of this package and of other programs: ``.npz``, ``.npy``, ``.mat`` or ``.h5``."""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import ConfigError, FileError, nearest_name
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.bart import cfl_files
from cinerecon.io.hdf5 import open_hdf5
from cinerecon.io.matlab import open_matlab
from cinerecon.io.paths import AnyPath, as_path
from cinerecon.io.recognise import is_cfl
from cinerecon.io.untrusted import refuse_pipe

Mask = NDArray[np.bool_]
SUFFIXES = (".npz", ".npy", ".mat", ".h5", ".hdf5")
NO_MASK = "expected an array of zeros and ones; cinerecon mask writes one"
KINDS = "biuf"
"""Kinds of data types of masks: bool, integers and real numbers."""


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file, specified by a string such as ``mask.npz`` or ``vista.mat,axes=yt``.

    Attributes
    ----------
    path
        The file.
    array
        Name of the array; if empty, the only mask in the file, or the array ``mask``.
    axes
        Axes in the order of the array: t (frames), y (ky) and x (kx); if empty, they are determined by the sizes.
    uncentred
        Whether the zero frequency is at index 0.
    """

    path: Path
    array: str = ""
    axes: str = ""
    uncentred: bool = False

    @classmethod
    def parse(cls, text: str) -> "MaskFile | None":
        """Parse the string; None if it is not the name of a mask file.

        Raises
        ------
        ConfigError
            If an option is unknown.
        """
        ends = [text.lower().find(suffix + ",") + len(suffix) for suffix in SUFFIXES if suffix + "," in text.lower()]
        end = min(ends, default=len(text))
        path, options = Path(text[:end]), text[end + 1 :].split(",") if ends else []
        if path.suffix.lower() not in SUFFIXES:
            return None
        settings: dict[str, Any] = {}
        for option in options:
            key, sign, value = option.strip().partition("=")
            if key not in ("array", "axes", "uncentred") or (key == "uncentred") == bool(sign):
                hint = nearest_name(key, ["array=", "axes=", "uncentred"])
                raise ConfigError(f"'{option}' is not an option of a mask file", where=text, hint=hint)
            settings[key] = value or True
        if set(axes := settings.get("axes", "")) - set("tyx") or len(set(axes)) < len(axes):
            raise ConfigError(f"axes={axes} are not distinct letters of t, y and x", where=text, hint="e.g. axes=tyx")
        return cls(path, **settings)

    def __str__(self) -> str:
        """The string from which `parse` creates this object."""
        options = [f"array={self.array}"] * bool(self.array) + [f"axes={self.axes}"] * bool(self.axes)
        return ",".join([str(self.path), *options, *["uncentred"] * self.uncentred])

    def draw(self, n_frames: int, ky: int, kx: int, _: object = None) -> Mask:
        """Read the mask ``(frames, 1, ky, kx or 1)`` bool; the last argument, a seed, is ignored.

        Raises
        ------
        FileError
            If the file is missing, contains no mask, or the mask is empty.
        ConfigError
            If the shape of the mask does not match, or its axes are ambiguous.
        """
        if not self.path.exists():
            hint = f"cinerecon mask gaussian:8 -o {self.path} --frames {n_frames} --ky {ky} --kx {kx}"
            raise FileError("there is no such mask", where=str(self.path), hint=hint)
        values = _find_mask(_read_arrays(self.path, self.path.stat().st_mtime_ns), self)
        if not values.any():
            raise FileError("the mask contains no ones, so nothing would be sampled", where=str(self.path))
        mask = fit_mask(values, {"t": n_frames, "y": ky, "x": kx}, self)
        if self.uncentred:
            mask = np.fft.fftshift(mask, axes=(-2, -1))
        return mask.copy()


def files_of(text: str | None) -> tuple[Path, ...]:
    """The files given in the value of the option --maps or --pattern."""
    if text is None:
        return ()
    mask = MaskFile.parse(text)
    path = Path(text) if mask is None else mask.path
    return cfl_files(path) if is_cfl(path) else (path,)


def write_mask(path: AnyPath, mask: Mask, pattern: str, seed: int) -> None:
    """Write a mask ``(frames, 1, ky, kx or 1)`` bool with the pattern and the seed from which it was drawn."""
    with moved_into_place(as_path(path)) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, mask=mask, pattern=np.array(pattern), seed=np.array(seed))


def _find_mask(arrays: dict[str, NDArray[Any]], file: MaskFile) -> Mask:
    """Select the mask among the arrays of a file, as bool."""
    masks = [name for name, array in arrays.items() if _is_binary(array)]
    name = file.array or (masks[0] if len(masks) == 1 else "mask")
    if name not in masks:
        what = f"'{name}' is not an array of zeros and ones" if name in arrays else f"there is no array '{name}'"
        hint = f"arrays of zeros and ones: {', '.join(masks)}; select one with ,array=NAME" if masks else NO_MASK
        raise FileError(what, where=str(file.path), hint=hint)
    return arrays[name].astype(bool)


def _is_binary(array: NDArray[Any]) -> bool:
    """Whether an array contains only zeros and ones."""
    return array.dtype.kind in KINDS and array.size > 1 and bool(np.isin(array, (0, 1)).all())


def fit_mask(values: Mask, sizes: dict[str, int], file: MaskFile) -> Mask:
    """Identify the axes by their sizes, and permute them to the order used in this package.

    Files of this package have four axes in a fixed order, which is also tried first for other files. Orders for which
    all of ky but only parts of kx would be sampled are excluded, since no sequence acquires such data. Masks whose axes
    are still ambiguous are refused.

    Parameters
    ----------
    values
        The stored mask.
    sizes
        Length of the axes t, y and x of the scan.
    file
        The file, and the names of the axes if they are given.

    Raises
    ------
    ConfigError
        If the shape of the mask does not match, or its axes are ambiguous.
    """
    flat, named = values.squeeze(), file.axes
    if values.ndim == 4 and not named:
        named = "".join(axis for axis, n in zip("tcyx", values.shape, strict=True) if n > 1)
    orders = ["tyx", "ty", "yx", "y", *("".join(p) for n in (3, 2) for p in itertools.permutations("tyx", n))]
    readings: list[Mask] = []
    for order in [named] if named else orders:
        axes = [axis for axis in order if sizes.get(axis, 0) > 1 or not named]
        if len(axes) != flat.ndim or any(sizes[axis] != n for axis, n in zip(axes, flat.shape, strict=True)):
            continue
        positions = [axes.index(axis) for axis in "tyx" if axis in axes]
        shape = [sizes[axis] if axis in axes else 1 for axis in "tyx"]
        mask = np.broadcast_to(flat.transpose(positions).reshape(shape), (sizes["t"], *shape[1:]))[:, None]
        if mask.shape[2] == sizes["y"] and (named or _is_plausible(mask)):
            readings.append(mask)
            if order == "tyx":
                break
    distinct = [
        mask for n, mask in enumerate(readings) if not any(np.array_equal(mask, other) for other in readings[:n])
    ]
    if len(distinct) != 1:
        raise _misfit(values.shape, sizes, file, n_ways=len(distinct))
    return distinct[0]


def _misfit(shape: tuple[int, ...], sizes: dict[str, int], file: MaskFile, *, n_ways: int) -> ConfigError:
    """The error for a mask whose shape does not match, or whose axes are ambiguous."""
    names = {"t": "frames", "y": "ky", "x": "kx"}
    size = ", ".join(f"{n} {names[axis]}" for axis, n in sizes.items())
    if n_ways:
        hint = "name the axes, e.g. ,axes=yxt (t frames, y ky, x kx)"
        return ConfigError(f"the mask {shape} fits {size} in more than one way", where=str(file), hint=hint)
    if len(shape) == 4 and shape[1] == 1:
        for length, (axis, expected) in zip((shape[0], *shape[2:]), sizes.items(), strict=True):
            if length != expected and not (axis == "x" and length == 1):
                what = f"mask has {length} {names[axis]}, the scan has {expected}"
                hint = "cinerecon mask ... " + " ".join(f"--{names[axis]} {n}" for axis, n in sizes.items())
                return ConfigError(what, where=str(file), hint=hint)
    return ConfigError(f"the mask is {shape}, the scan has {size}", where=str(file))


def _is_plausible(mask: Mask) -> bool:
    """False for a mask that is equal for all ky but incomplete along kx, which no Cartesian sequence acquires."""
    return not (mask == mask[:, :, :1]).all() or bool(mask.all())


@lru_cache(maxsize=8)
def _read_arrays(path: Path, _: int) -> dict[str, NDArray[Any]]:
    """Read the real arrays of a file by name; cached until the file changes."""
    refuse_pipe(path)
    suffix = path.suffix.lower()
    if suffix == ".mat":
        matlab = open_matlab(path)
        return {name: matlab.read(name) for name in matlab.shapes}
    if suffix in (".h5", ".hdf5"):
        with open_hdf5(path) as file:
            items = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
            return {name: item[()] for name, item in items.items() if item.dtype.kind in KINDS}
    try:
        if suffix == ".npy":
            return {"mask": np.load(path, allow_pickle=False)}
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise FileError(f"cannot read the mask: {error.strerror or error}", where=str(path)) from None
    except Exception:  # the parser may fail in any way on arbitrary bytes
        raise FileError("this file contains no mask", where=str(path), hint=NO_MASK) from None
