"""Write images as NumPy arrays, complex, with their times, the truth, and how the method got there."""

from pathlib import Path

import numpy as np

from cinerecon.image import CineImage, collect_warnings


def write_npz(path: Path, cines: list[CineImage]) -> None:
    """Write ``image`` and ``reference`` (slices, frames, y, x) complex64 and ``frame_times_ms`` (slices, frames).

    Slices of different sizes cannot share an array: each then has its own, ``image_slice0``, ``image_slice1``
    and so on. Unknown times are NaN. The convergence of an iterative method is kept as ``convergence_cost``,
    ``convergence_data_residual`` and ``convergence_change`` (slices, iterations), NaN once a slice was done.
    ``warnings`` are texts, ``reference_is`` says what the reference of each slice is.
    """
    columns: dict[str, list[np.ndarray]] = {
        "image": [cine.image for cine in cines],
        "frame_times_ms": [_times(cine) for cine in cines],
    }
    references = [cine.reference for cine in cines if cine.reference is not None]
    if len(references) == len(cines):
        columns["reference"] = references
    arrays: dict[str, np.ndarray] = {}
    for name, parts in columns.items():
        if len({cine.image.shape for cine in cines}) == 1:
            arrays[name] = np.stack(parts)
        else:
            arrays |= {f"{name}_slice{cine.meta.slice}": part for cine, part in zip(cines, parts, strict=True)}
    for name in cines[0].convergence:
        arrays[f"convergence_{name}"] = _side_by_side([cine.convergence[name] for cine in cines])
    arrays["warnings"] = np.array(collect_warnings(cines), dtype=np.str_)
    if len(references) == len(cines):
        arrays["reference_is"] = np.array([cine.meta.reference_is for cine in cines], dtype=np.str_)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _side_by_side(curves: list[np.ndarray]) -> np.ndarray:
    """Stack curves of different lengths, the ends of the shorter ones NaN."""
    stacked = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(stacked, curves, strict=True):
        row[: len(curve)] = curve
    return stacked


def _times(cine: CineImage) -> np.ndarray:
    times = cine.meta.frame_times_ms
    return np.array(times) if len(times) == cine.n_frames else np.full(cine.n_frames, np.nan)
