"""Images that other programs store in another order of rows and columns are compared by their directions."""

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.evaluation.files import compare_files
from cinerecon.image import CineImage
from cinerecon.io.export.nifti import write_nifti

READ, PHASE, SLICE = (0.96, 0.28, 0.0), (-0.28, 0.96, 0.0), (0.0, 0.0, 1.0)


@pytest.fixture
def truth(tmp_path):
    """Three slices of 4 frames with pixels of two sizes, in NIfTI."""
    images = np.random.default_rng(0).gamma(2.0, size=(3, 4, 20, 24)).astype(np.complex64)
    metas = [
        CineMeta(
            slice=n, pixel_size_mm=(1.5, 2.0), geometry=Geometry((3.0, -20.0, 5.0 + 8.0 * n), READ, PHASE, SLICE, "HFS")
        )
        for n in range(3)
    ]
    path = tmp_path / "truth.nii"
    write_nifti(path, [CineImage(image, meta=meta) for image, meta in zip(images, metas, strict=True)])
    return path


@pytest.mark.parametrize("code", ["LAS", "RAS", "LPS", "RPS", "ALS", "ARS", "PLS", "PRS", "RAI", "PRI"])
def test_a_turned_file_has_the_scores_of_the_file(truth, tmp_path, code):
    image = nibabel.load(truth)
    turned = image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt(code)))
    nibabel.save(turned, tmp_path / "turned.nii")
    scores = compare_files([tmp_path / "turned.nii"], truth)
    assert [score.slice for score in scores] == [0, 1, 2]
    assert all(score.nmse < 1e-10 and not score.marks for score in scores)


def test_pixels_reversed_without_their_directions_are_marked(truth, tmp_path):
    image = nibabel.load(truth)
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[::-1], image.affine), tmp_path / "mirrored.nii")
    scores = compare_files([tmp_path / "mirrored.nii"], truth)
    assert all(score.nmse > 0.1 and "flipped along x?" in score.marks for score in scores)


def test_empty_frames_are_marked(truth, tmp_path):
    values = np.asarray(nibabel.load(truth).dataobj).transpose(2, 3, 1, 0).copy()
    values[1, 2] = 0
    values[2] = 0
    np.savez(tmp_path / "images.npz", image=values)
    marks = [score.marks for score in compare_files([tmp_path / "images.npz"], truth)]
    assert marks == ["", "images: empty frames: 2", "images: all frames are empty"]
