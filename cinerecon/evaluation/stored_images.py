"""Images for figures and movies of an evaluation: magnitudes of image and reference, stored next to the scores."""

from pathlib import Path

import numpy as np
from torch import Tensor

from cinerecon.cine_meta import CineMeta
from cinerecon.image import CineImage
from cinerecon.io.atomic import moved_into_place

IMAGES = "images"
TRUTH = "reference"
"""Name of the reference in figures and movies."""


def image_file(folder: Path, task: str) -> Path:
    """Where the images of a task are stored."""
    return folder / IMAGES / f"{task}.npz"


def store_image(folder: Path, task: str, image: Tensor, reference: Tensor, meta: CineMeta) -> None:
    """Store image and truth ``(frames, y, x)``, scaled to a maximum of 1 of the truth, in half precision."""
    peak = float(reference.abs().max()) or 1.0
    ours, truth = ((x.abs() / peak).cpu().numpy().astype(np.float16) for x in (image, reference))
    known = {"pixel_size_mm": np.array(meta.pixel_size_mm), "frame_times_ms": np.array(meta.frame_times_ms)}
    with moved_into_place(image_file(folder, task)) as temporary, temporary.open("wb") as file:
        np.savez(file, image=ours, reference=truth, **known)  # type: ignore[arg-type]


def read_image(folder: Path, task: str, method: str, slice_number: int) -> tuple[CineImage, CineImage]:
    """Image and truth of a task, under the name of the method."""
    with np.load(image_file(folder, task)) as file:
        arrays = {name: file[name] for name in file.files}
    size, times = arrays.get("pixel_size_mm", np.ones(2)), arrays.get("frame_times_ms", np.empty(0))
    meta = CineMeta(
        slice=slice_number, pixel_size_mm=(float(size[0]), float(size[1])), frame_times_ms=tuple(times.tolist())
    )
    image, truth = (arrays[name].astype(np.complex64) for name in ("image", "reference"))
    return CineImage(image, meta=meta, method=method), CineImage(truth, meta=meta, method=TRUTH)
