"""Images of an evaluation: initial images of networks, which are computed once, and magnitudes stored for figures."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta, Geometry, vector
from cinerecon.image import CineImage
from cinerecon.io.atomic import moved_into_place
from cinerecon.machine import Usage, measured
from cinerecon.methods.base import Reconstructor

IMAGES = "images"
GEOMETRY_FIELDS = ("position_mm", "read_dir", "phase_dir", "slice_dir")
"""Fields of `Geometry` that are stored: position and directions of the slice."""
REFERENCE = "reference"
"""Name of the reference in figures and movies."""


@dataclass
class InitialImages:
    """Initial images of networks for one undersampled slice, with computation time and memory.

    Attributes
    ----------
    data
        The undersampled slice.
    device
        Device of the methods.
    """

    data: CineData
    device: str
    _computed: dict[str, tuple[Tensor, Usage]] = field(default_factory=dict)

    def reconstruct(self, method: Reconstructor) -> tuple[Tensor, Usage]:
        """The image ``(frames, y, x)`` of a method; time and memory include those of its initial image."""
        if method.initial_method is None:
            return self._compute(method)
        initial_image, usage = self._compute(method.initial_method)
        with measured(self.device) as own:
            image = method.reconstruct(self.data, initial_image=initial_image).image
        return image, Usage(own.seconds + usage.seconds, max(own.memory_mb, usage.memory_mb))

    def _compute(self, method: Reconstructor) -> tuple[Tensor, Usage]:
        """The image of a method that needs no initial image; it is computed only once."""
        key = f"{type(method).__qualname__} {method.config.model_dump_json()}"
        if key not in self._computed:
            with measured(self.device) as usage:
                image = method(self.data)
            self._computed[key] = image, usage
        return self._computed[key]


def slices_in_figures(n_slices: int, n_pictures: int) -> set[int]:
    """Numbers of the slices that are shown in figures, evenly distributed."""
    return {(2 * i + 1) * n_slices // (2 * n_pictures) for i in range(n_pictures)}


def image_file(folder: Path, task: str) -> Path:
    """The file of the images of a task."""
    return folder / IMAGES / f"{task}.npz"


def store_image(folder: Path, task: str, image: Tensor, reference: Tensor, meta: CineMeta) -> None:
    """Store image and reference ``(frames, y, x)`` in half precision, scaled to a maximum of 1 of the reference.

    Pixel size, times and position of the slice are stored with them.
    """
    peak = float(reference.abs().max()) or 1.0
    largest = float(np.finfo(np.float16).max)  # the scale of an image may differ from that of the reference
    image_half, reference_half = (
        (x.abs() / peak).clamp_max(largest).cpu().numpy().astype(np.float16) for x in (image, reference)
    )
    known = {"pixel_size_mm": np.array(meta.pixel_size_mm), "frame_times_ms": np.array(meta.frame_times_ms)}
    if meta.geometry is not None:
        known |= {name: np.array(getattr(meta.geometry, name)) for name in GEOMETRY_FIELDS}
    with moved_into_place(image_file(folder, task)) as temporary, temporary.open("wb") as file:
        np.savez(file, image=image_half, reference=reference_half, **known)  # type: ignore[arg-type]


def read_image(folder: Path, task: str, method: str, slice_number: int) -> tuple[CineImage, CineImage]:
    """The image of a task under the name of its method, and the reference."""
    with np.load(image_file(folder, task)) as file:
        arrays = {name: file[name] for name in file.files}
    size, times = arrays.get("pixel_size_mm", np.ones(2)), arrays.get("frame_times_ms", np.empty(0))
    geometry = None
    if set(GEOMETRY_FIELDS) <= arrays.keys():
        position, read, phase, through = (vector(arrays[name]) for name in GEOMETRY_FIELDS)
        geometry = Geometry(position, read, phase, through)
    meta = CineMeta(
        slice=slice_number,
        pixel_size_mm=(float(size[0]), float(size[1])),
        frame_times_ms=tuple(times.tolist()),
        geometry=geometry,
    )
    image, reference = (arrays[name].astype(np.complex64) for name in ("image", "reference"))
    return CineImage(image, meta=meta, method=method), CineImage(reference, meta=meta, method=REFERENCE)
