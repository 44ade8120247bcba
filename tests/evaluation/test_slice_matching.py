"""Images are compared with the reference of the same slice, in any order in the files."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import beating_cine

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import DataError, ShapeError
from cinerecon.evaluation import compare_files
from cinerecon.evaluation.slice_matching import match_slices
from cinerecon.image import CineImage
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.export.npz import write_npz
from cinerecon.io.ismrmrd.images import write_mrd_images

PLACE = Geometry((0.0, 0.0, 0.0), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0), (0.0, 0.0, 1.0))
HEIGHTS = (-10.0, 0.0, 10.0)


def at(height, shift=0.0):
    return replace(PLACE, position_mm=(5.0 + shift, 2.0, height))


def cines(heights=HEIGHTS, noise=0.0):
    """Slices of three sizes of a heart, by their heights; each the same wherever it is in the list."""
    whole = beating_cine(4, (40, 36)).numpy()
    images = {h: np.roll(whole, n * 7, -1) * (1 + n) for n, h in enumerate(HEIGHTS)}
    generator = np.random.default_rng(0)
    return [
        CineImage(
            (images[h] + noise * generator.normal(size=whole.shape)).astype(np.complex64),
            meta=CineMeta(slice=n, geometry=at(h), pixel_size_mm=(2.0, 2.0), slice_thickness_mm=8.0),
        )
        for n, h in enumerate(heights)
    ]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.h5", write_mrd_images),
        ("x.npz", write_npz),
        ("x.nii.gz", write_nifti),
        ("dicom", write_dicom),
    ],
)
def test_slices_are_matched_by_position(tmp_path, name, write):
    write_npz(tmp_path / "truth.npz", cines())
    write(tmp_path / name, cines(HEIGHTS[::-1], noise=0.01))
    scores = compare_files([tmp_path / name], tmp_path / "truth.npz", profile="cmrxrecon23")  # own scale
    assert [score.slice for score in scores] == [0, 1, 2]
    assert min(score.psnr for score in scores) > 30
    assert not any("slice" in score.marks or "flipped" in score.marks for score in scores)


def test_some_of_the_slices_are_enough(tmp_path):
    write_npz(tmp_path / "truth.npz", cines())
    write_npz(tmp_path / "one.npz", cines(HEIGHTS[2:], noise=0.01))
    (score,) = compare_files([tmp_path / "one.npz"], tmp_path / "truth.npz")
    assert score.slice == 2
    assert score.psnr > 30


def test_a_slice_at_another_position_is_refused(tmp_path):
    write_npz(tmp_path / "truth.npz", cines())
    moved = [replace(c, meta=replace(c.meta, geometry=at(h + 60))) for c, h in zip(cines(), HEIGHTS, strict=True)]
    write_npz(tmp_path / "moved.npz", moved)
    with pytest.raises(DataError, match="slice 0 is 40 mm from the nearest slice of the truth"):
        compare_files([tmp_path / "moved.npz"], tmp_path / "truth.npz")


def test_without_positions_another_order_is_marked(tmp_path):
    write_npz(tmp_path / "truth.npz", cines())
    np.save(tmp_path / "bare.npy", np.stack([cine.image for cine in cines(HEIGHTS[::-1], noise=0.01)]))
    scores = compare_files([tmp_path / "bare.npy"], tmp_path / "truth.npz")
    assert [score.marks for score in scores] == [
        "bare: slice 0 looks like slice 2 of the truth?",
        "",
        "bare: slice 2 looks like slice 0 of the truth?",
    ]
    np.save(tmp_path / "two.npy", np.stack([cine.image for cine in cines()[:2]]))
    with pytest.raises(ShapeError):
        compare_files([tmp_path / "two.npy"], tmp_path / "truth.npz")


def test_positions_that_do_not_distinguish_slices_are_not_used():
    same = [at(0.0)] * 3
    assert match_slices(same, [at(h) for h in HEIGHTS], "") is None
    assert match_slices([None], [at(0.0)], "") is None
    assert match_slices([PLACE], [at(30.0)], "") is None, "a position that the writer left out"
    assert match_slices([at(0.3, shift=3)], [at(0.0)], "") == [0], "a shift in the plane is none of the slice"


def test_slices_that_cross_are_not_the_same():
    long_axis = replace(at(0.0), slice_dir=(0.0, 1.0, 0.0))
    with pytest.raises(DataError, match="not parallel"):
        match_slices([long_axis], [at(0.0)], "x.npz")
