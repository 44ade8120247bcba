"""Cut and combined cases are consistent: A applied to the reference is the k-space."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import DataError, UnsupportedError
from cinerecon.image import CineImage
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.operators import Encoding
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.shape import Window, combine_coils, cut_case, shape_case, windows

PLACE = Geometry((10.0, 20.0, 30.0), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0), (0.0, 0.0, 1.0))


@pytest.fixture
def full(make_cine):
    data = make_cine(per_frame=None, dtype=torch.complex128)
    times = tuple(40.0 * n for n in range(8))
    meta = CineMeta(source="scan.h5", frame_times_ms=times, pixel_size_mm=(2.0, 1.5), geometry=PLACE)
    return replace(data, meta=meta, shading=torch.rand(24, 21))


def assert_whole(data):
    encoding = Encoding(data.mask, data.csm, matrix=data.matrix, dtype=data.kspace.dtype)
    assert relative_error(encoding.forward(data.reference), data.kspace) < 1e-10


@pytest.mark.parametrize(
    ("first", "size"),
    [((2, 0, 0), (3, 24, 21)), ((0, 3, 4), (8, 17, 12)), ((1, 8, 5), (2, 8, 16)), ((7, 11, 9), (1, 1, 1))],
)
def test_a_cut_case_is_the_case_of_the_cut_image(full, first, size):
    before = full.kspace.clone()
    cut = cut_case(full, Window(first, size))
    part = tuple(slice(f, f + n) for f, n in zip(first, size, strict=True))
    assert torch.equal(cut.reference, full.reference[part])
    assert torch.equal(cut.shading, full.shading[part[1:]])
    assert (cut.n_frames, *cut.matrix) == size
    assert cut.meta.frame_times_ms == tuple(40.0 * n for n in range(size[0]))
    assert_whole(cut)
    assert torch.equal(full.kspace, before)


def test_every_pixel_stays_where_it_is_in_the_patient(full):
    """The corner of the cut image, found by the writers' own rule, is the pixel it was cut at."""
    for first, size in (((0, 0, 0), (8, 24, 21)), ((0, 3, 4), (8, 17, 12)), ((0, 2, 1), (8, 18, 20))):
        cut = cut_case(full, Window(first, size))
        whole, part = (CineImage(data.reference.numpy(), meta=data.meta).first_voxel for data in (full, cut))
        corner = whole[0] + first[1] * 2.0 * whole[2] + first[2] * 1.5 * whole[1]
        np.testing.assert_allclose(part[0], corner, atol=1e-9)


def test_a_crop_keeps_the_middle(full):
    for crop in ((24, 21), (13, 12), (12, 13), (5, 4)):
        cut = shape_case(full, PrepareConfig(crop=crop))
        assert cut.matrix == crop
        assert torch.equal(cut.reference[:, crop[0] // 2, crop[1] // 2], full.reference[:, 12, 10])
        assert cut.meta.geometry == PLACE
    assert shape_case(full, PrepareConfig(readout=8)).matrix == (24, 8)
    assert shape_case(full, PrepareConfig(frames=3)).n_frames == 3


def test_windows_slide_over_the_whole_case(full):
    config = PrepareConfig(patches=((4, 10, 8), (8, 24, 21), (9, 1, 1)), stride=(2, 7, 13))
    found = [(window.first, window.size) for window in windows(full, config)]
    expected = [((t, y, x), (4, 10, 8)) for t in (0, 2, 4) for y in (0, 7, 14) for x in (0, 13)]
    assert found == [*expected, ((0, 0, 0), (8, 24, 21))]
    assert len({window.name for window in windows(full, config)}) == len(found)
    half = [window.first for window in windows(full, PrepareConfig(patches=((8, 12, 20),)))]
    assert half == [(0, 0, 0), (0, 6, 0), (0, 12, 0)]
    with pytest.raises(DataError, match=r"8x24x21 .frames x y x x., smaller than the patch 9x1x1 or 1x25x1"):
        list(windows(full, PrepareConfig(patches=((9, 1, 1), (1, 25, 1)))))


def test_combined_coils_are_one_coil_of_the_reference(full):
    combined = combine_coils(full)
    assert (combined.n_coils, combined.csm) == (1, None)
    assert relative_error(combined.kspace[:, 0], fft2c(full.reference)) < 1e-14
    assert_whole(combined)


def test_an_undersampled_case(make_cine):
    data = make_cine(per_frame=6)
    columns = shape_case(data, PrepareConfig(readout=10))
    assert torch.equal(columns.mask, data.mask)
    expected = fft2c(ifft2c(data.kspace)[..., 10 - 5 : 10 + 5])
    assert relative_error(columns.kspace, expected) < 1e-6
    assert relative_error(Encoding(columns.mask, columns.csm).forward(columns.reference), columns.kspace) < 1e-5
    with pytest.raises(UnsupportedError, match="rows of an undersampled case cannot be cropped"):
        shape_case(data, PrepareConfig(crop=(20, 21)))
    with pytest.raises(UnsupportedError, match="columns of an undersampled case"):
        points = torch.rand(8, 1, 24, 21) < 0.4
        shape_case(replace(data, mask=points, kspace=data.kspace * points), PrepareConfig(readout=10))
    combined = combine_coils(data)
    assert relative_error(combined.kspace, data.mask * fft2c(data.reference)[:, None]) < 1e-6
    assert torch.equal(combined.reference, data.reference)
    with pytest.raises(UnsupportedError, match="undersampled case cannot be combined"):
        combine_coils(replace(data, reference=None))


def test_unmeasured_edges_stay_unmeasured(full):
    """Partial Fourier and an asymmetric echo: after the cut, a point counts only if adjacent points were measured."""
    mask = torch.ones(8, 1, 24, 21, dtype=torch.bool)
    mask[:, :, :4] = mask[..., :6] = False
    data = replace(full, mask=mask, kspace=full.kspace * mask)
    cut = cut_case(data, Window((0, 6, 5), (8, 12, 11)))
    rows, columns = cut.mask[0, 0].any(1), cut.mask[0, 0].any(0)
    assert rows.tolist() == [False] * 3 + [True] * 9
    assert columns.tolist() == [False] * 4 + [True] * 7
    assert not cut.kspace[~cut.mask.expand_as(cut.kspace)].any()
    truth = cut_case(full, Window((0, 6, 5), (8, 12, 11))).kspace * cut.mask
    assert relative_error(cut.kspace, truth) < 0.1


@pytest.mark.parametrize(
    ("window", "match"),
    [
        (Window((0, 0, 0), (9, 24, 21)), "8 frames, 9 are requested"),
        (Window((0, 1, 0), (8, 24, 21)), "24 rows, 24 are requested"),
        (Window((0, 0, 0), (8, 24, 22)), "21 columns, 22 are requested"),
    ],
)
def test_windows_beyond_the_case_are_refused(full, window, match):
    with pytest.raises(DataError, match=match):
        cut_case(full, window)


def test_cutting_is_linear(full):
    window = Window((1, 3, 2), (5, 11, 13))
    other = replace(full, kspace=complex_randn(*full.kspace.shape, seed=3), reference=complex_randn(8, 24, 21, seed=4))
    both = replace(
        full, kspace=2 * full.kspace + 1j * other.kspace, reference=2 * full.reference + 1j * other.reference
    )
    for name in ("kspace", "reference"):
        one, two, sums = (getattr(cut_case(data, window), name) for data in (full, other, both))
        assert relative_error(sums, 2 * one + 1j * two) < 1e-12
