"""A magnitude series that tests write in some format and read again."""

import numpy as np
import pytest

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.image import CineImage

READ, PHASE, ACROSS = (0.6, 0.8, 0.0), (0.0, 0.0, -1.0), (-0.8, 0.6, 0.0)


def series(n_slices=2, matrix=(15, 12), n_frames=4):
    rng = np.random.default_rng(0)
    cines = []
    for number in range(n_slices):
        position = tuple(10.0 * number * np.array(ACROSS) + (5.0, -7.0, 20.0))
        meta = CineMeta(
            slice=number,
            frame_times_ms=tuple(40.0 * frame for frame in range(n_frames)),
            pixel_size_mm=(1.5, 1.25),
            slice_thickness_mm=8.0,
            geometry=Geometry(position, READ, PHASE, ACROSS, "HFS"),
            is_one_beat=True,
        )
        cines.append(CineImage(rng.random((n_frames, *matrix)).astype(np.complex64), meta=meta))
    return cines


def assert_same(opened, cines, tolerance):
    assert opened.n_slices == len(cines)
    for number, cine in enumerate(cines):
        magnitude, meta = opened.read_slice(number)
        np.testing.assert_allclose(magnitude, cine.magnitude / cine.magnitude.max(), atol=tolerance)
        assert meta.pixel_size_mm == pytest.approx((1.5, 1.25))
        assert meta.frame_times_ms == pytest.approx(cine.meta.frame_times_ms)
        for name in ("position_mm", "read_dir", "phase_dir", "slice_dir"):
            vector, expected = getattr(meta.geometry, name), getattr(cine.meta.geometry, name)
            assert vector == pytest.approx(expected, abs=1e-4), name
