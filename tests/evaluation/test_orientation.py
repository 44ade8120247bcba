"""Images in another order of rows and columns are turned by their directions; other departures are reported."""

import nibabel
import numpy as np
import pytest
import torch
from conftest import beating_cine
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.evaluation.compare_files import compare_files
from cinerecon.evaluation.orientation import ORIENTATIONS, orientation_warnings
from cinerecon.image import CineImage
from cinerecon.io.export.nifti import write_nifti
from cinerecon.physics.fourier import fft2c, ifft2c

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


TRUTH = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_images_that_fit_give_no_warning():
    noisy = TRUTH + 0.05 * torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(1))
    assert list(orientation_warnings(noisy, TRUTH)) == []
    assert list(orientation_warnings(torch.zeros(3, 12, 12), TRUTH)) == []


def test_a_factor_is_reported_where_it_matters():
    assert list(orientation_warnings(1000 * TRUTH, TRUTH)) == ["brighter by a factor of 1000? --fit-scale corrects it"]
    assert list(orientation_warnings(TRUTH / 4, TRUTH)) == ["darker by a factor of 4? --fit-scale corrects it"]


@pytest.mark.parametrize("name", [name for name in ORIENTATIONS if name])
def test_each_wrong_orientation_is_reported(name):
    """All but two of them undo themselves; those two undo each other."""
    undone = {"y and x swapped, flipped along y": "y and x swapped, flipped along x"}
    undone |= {there: here for here, there in undone.items()}
    assert list(orientation_warnings(ORIENTATIONS[name](TRUTH), TRUTH)) == [f"{undone.get(name, name)}?"]


def test_images_that_are_not_square_are_turned_within_their_shape():
    assert list(orientation_warnings(TRUTH[:, :8].flip(-1), TRUTH[:, :8])) == ["flipped along x?"]


@pytest.mark.parametrize(
    ("matrix", "shift", "words"),
    [
        ((12, 12), (6, 6), "shifted by half the field of view along y and x?"),
        ((12, 10), (0, 5), "shifted by half the field of view along x?"),
        ((11, 12), (5, 0), "shifted by half the field of view along y?"),
        ((11, 12), (6, 0), "shifted by half the field of view along y?"),
        ((12, 12), (-1, 0), "shifted by 1 pixel along y?"),
        ((12, 12), (2, 6), "shifted by 2 pixels along y, half the field of view along x?"),
    ],
)
def test_a_shift_is_reported(matrix, shift, words):
    truth = TRUTH[:, : matrix[0], : matrix[1]]
    noise = 0.02 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    assert list(orientation_warnings(truth.roll(shift, (-2, -1)) + noise, truth)) == [words]


def test_a_shift_of_a_flipped_image_is_reported():
    """Mirroring an even k-space about its centre leaves the image a pixel off."""
    flipped = TRUTH.flip(-2).roll(1, -2)
    assert list(orientation_warnings(flipped, TRUTH)) == ["flipped along y, shifted by 1 pixel along y?"]


def heart(n_frames=8, matrix=(40, 36)):
    return beating_cine(n_frames, matrix).abs().float()


def noisy(image):
    return image + 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shift", [(0.5, 0.0), (0.0, -0.5), (2.5, -3.4)])
def test_a_shift_by_parts_of_a_pixel_is_reported(shift):
    truth = heart()
    y, x = (torch.fft.fftfreq(n) for n in truth.shape[-2:])
    ramp = torch.exp(-2j * torch.pi * (y[:, None] * shift[0] + x * shift[1]))
    (remark,) = orientation_warnings(noisy(torch.fft.ifft2(torch.fft.fft2(truth) * ramp).real), truth)
    for axis, far in zip("yx", shift, strict=True):
        assert (f"{abs(far):g} pixels along {axis}" in remark) == (far != 0)


@pytest.mark.parametrize("frames", [1, -3])
def test_a_shift_in_time_is_reported(frames):
    truth = heart()
    words = f"shifted in time by {abs(frames)} frame{'s' if abs(frames) > 1 else ''}?"
    assert list(orientation_warnings(noisy(truth.roll(frames, 0)), truth)) == [words]


def test_frames_in_reverse_order_are_reported():
    truth = heart() * torch.linspace(0.7, 1, 8)[:, None, None]
    assert list(orientation_warnings(noisy(truth.flip(0)), truth)) == ["frames in reverse order?"]
    turned = truth.flip(0, -1)
    assert list(orientation_warnings(noisy(turned), truth)) == ["flipped along x, frames in reverse order?"]


def test_conjugate_k_space_is_reported():
    """It turns the image about the pixel n // 2, so that an even matrix is also a pixel off."""
    truth = heart()
    (remark,) = orientation_warnings(noisy(ifft2c(fft2c(truth.to(torch.complex64)).conj()).abs()), truth)
    assert remark == "rotated by 180 degrees, shifted by 1 pixel along y and x?"


def test_an_image_that_is_poor_but_in_place_is_not_reported():
    truth = heart()
    blurred = torch.nn.functional.avg_pool2d(truth, 5, 1, 2)
    assert list(orientation_warnings(blurred, truth)) == []
    assert list(orientation_warnings(truth.mean(0, keepdim=True).expand_as(truth), truth)) == []
