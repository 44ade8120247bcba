"""Slices of random pixels in an oblique position, with times."""

import numpy as np

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.image import CineImage

READ, PHASE = np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, -1.0])
ACROSS = np.cross(READ, PHASE)
CENTRE = np.array([10.0, -20.0, 30.0])
PIXEL = (1.5, 1.25)


def make_cine(index=0, matrix=(9, 12), frames=5, geometry=True, spacing=8.0, reference=False, seed=0, **meta):
    rng = np.random.default_rng(seed + index)
    image = (rng.standard_normal((frames, *matrix)) + 1j * rng.standard_normal((frames, *matrix))).astype(np.complex64)
    centre = CENTRE + index * spacing * ACROSS
    where = Geometry(tuple(centre), tuple(READ), tuple(PHASE), tuple(ACROSS), "HFS") if geometry else None
    times = tuple(30.0 * np.arange(frames))
    values = {"frame_times_ms": times, "geometry": where, "protocol": "cine_sax"} | meta
    meta = CineMeta("scan.h5", index, pixel_size_mm=PIXEL, slice_thickness_mm=6.0, **values)
    return CineImage(image, image * 1.1 if reference else None, meta, "zerofilled")
