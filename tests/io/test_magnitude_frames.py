"""Segmentations are no images, and frames without an image of their own are left out."""

import nibabel
import numpy as np
import pytest

from cinerecon.errors import DataError, NotACineError
from cinerecon.io.magnitude import open_archive, open_nifti
from cinerecon.io.magnitude.images import has_label_name
from cinerecon.words import name_frames

N = 6
IMAGES = np.random.default_rng(0).integers(1, 900, (N, 20, 24)).astype(np.int16)
LABELS = np.zeros((N, 20, 24), np.uint8)
LABELS[0, 4:16, 4:16], LABELS[0, 6:14, 6:14], LABELS[3, 4:15, 4:15] = 1, 2, 3
BLURRED = np.stack([np.convolve(np.repeat([0.0, 1, 0], 8), [0.25, 0.5, 0.25], "same")] * 20)[None].repeat(2, 0)
BLURRED = BLURRED * np.linspace(0, 1, 20).round(1)[:, None]


def nifti(path, frames, step_s=0.04):
    """A NIfTI file of one slice from ``(frames, y, x)``."""
    image = nibabel.Nifti1Image(frames.transpose(2, 1, 0)[:, :, None], np.diag([1, 1, 8, 1]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_zooms((1, 1, 8, step_s))
    nibabel.save(image, path)
    return open_nifti(path)


def archive(path, frames):
    np.savez(
        path,
        magnitude=frames,
        trigger_time_ms=np.arange(len(frames)) * 40.0,
        pixel_spacing_mm=[1.5, 1.5],
        slice_thickness_mm=8.0,
        image_orientation_patient=[1.0, 0, 0, 0, 1, 0],
        image_position_patient=[0.0, 0, 0],
    )
    return path


@pytest.mark.parametrize("labels", [LABELS, LABELS * 85, LABELS.astype(np.float32), LABELS > 1])
def test_segmentations_are_known_by_their_values(tmp_path, labels):
    labels = labels.astype(np.uint8) if labels.dtype == bool else labels
    with pytest.raises(
        NotACineError, match="this is a segmentation, not an image: its pixels are labels, 0, "
    ) as caught:
        nifti(tmp_path / "a.nii.gz", labels).read_slice(0)
    assert caught.value.kind == "segmentations"
    with pytest.raises(NotACineError):
        open_archive(archive(tmp_path / "a.npz", labels)).read_slice(0)


def test_many_labels_are_a_segmentation(tmp_path):
    rows, columns = np.indices((40, 40)) // 5
    labels = (1 + rows * 5 + columns)[None].repeat(N, 0) * np.arange(1, N + 1)[:, None, None] % 50
    with pytest.raises(NotACineError):
        nifti(tmp_path / "a.nii", labels.astype(np.int16)).read_slice(0)


def test_interpolated_labels_are_known_by_their_name(tmp_path):
    assert len(np.unique(BLURRED)) > 8
    with pytest.raises(NotACineError):
        nifti(tmp_path / "patient_seg.nii", BLURRED.astype(np.float32)).read_slice(0)


def test_images_are_images_under_any_name(tmp_path):
    eight_bit = np.clip(IMAGES // 40 + np.arange(24)[::-1] * 6, 0, 255).astype(np.uint8)
    for name, pixels in (("cine_gt", IMAGES), ("mask", eight_bit), ("labels", IMAGES * (LABELS[0] > 0))):
        magnitude, _ = nifti(tmp_path / f"{name}.nii", pixels).read_slice(0)
        np.testing.assert_allclose(magnitude, pixels / pixels.max(), atol=1e-6)


def test_label_names(tmp_path):
    for name in (
        "A0A1_sa_gt.nii.gz",
        "patient001_frame01_gt.nii",
        "seg.npz",
        "heart-label.nii",
        "LV_Mask.nii",
        "rois1.nii",
    ):
        assert has_label_name(tmp_path / name), name
    for name in ("A0A1_sa.nii.gz", "segment3_cine.nii", "masked.nii", "gtx.nii", "cine_unlabelled.nii"):
        assert not has_label_name(tmp_path / name), name


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ([0, 1, 2, 3, None, None], "frames 4, 5 of 6 left out: empty"),
        ([None, 0, 1, 2, 3, 4], "frame 0 of 6 left out: empty"),
        ([0, 1, 2, 3, 3, 3], "frames 4, 5 of 6 left out: copies of earlier frames"),
        ([0, 1, 2, 0, 1, 2], "frames 3 to 5 of 6 left out: copies of earlier frames"),
        ([0, 0, 1, 1, 2, 2], "frames 1, 3, 5 of 6 left out: copies of earlier frames"),
    ],
)
@pytest.mark.parametrize("empty", [0, np.nan])
def test_frames_without_an_image_of_their_own(tmp_path, kept, reason, empty):
    frames = np.stack([np.full((20, 24), empty) if n is None else IMAGES[n] for n in kept]).astype(np.float32)
    distinct = [kept.index(n) for n in dict.fromkeys(kept) if n is not None]
    expected = frames[distinct] / frames[distinct].max()
    for opened in (nifti(tmp_path / "a.nii", frames), open_archive(archive(tmp_path / "a.npz", frames))):
        magnitude, meta = opened.read_slice(0)
        np.testing.assert_allclose(magnitude, expected, atol=1e-6)
        assert meta.warnings == (reason,)
        assert meta.frame_times_ms == pytest.approx([40.0 * (n - distinct[0]) for n in distinct])


def test_a_frame_that_is_cut_off_at_the_end_is_left_out(tmp_path):
    frames = IMAGES.copy()
    frames[-1, 9:] = 0
    magnitude, meta = nifti(tmp_path / "a.nii", frames).read_slice(0)
    np.testing.assert_allclose(magnitude, frames[:-1] / frames[:-1].max(), atol=1e-6)
    assert meta.warnings == ("frame 5 of 6 left out: incomplete",)


def test_frames_missing_in_between_are_refused(tmp_path):
    for n_rows, reason in ((0, "empty"), (10, "incomplete")):
        frames = IMAGES.copy()
        frames[2:4, n_rows:] = 0
        with pytest.raises(DataError, match=f"frames 2, 3 of 6: {reason}") as caught:
            nifti(tmp_path / "a.nii", frames).read_slice(0)
        assert caught.value.where.endswith("a.nii, slice 0")


def test_one_image_is_no_cine(tmp_path):
    with pytest.raises(DataError, match="a cine needs several frames: of 6, 5 copies of earlier frames"):
        nifti(tmp_path / "a.nii", IMAGES[:1].repeat(N, 0)).read_slice(0)


def test_symmetric_motion_without_noise_is_no_padding(tmp_path):
    frames = IMAGES[[0, 1, 2, 3, 2, 1]]
    magnitude, meta = nifti(tmp_path / "a.nii", frames).read_slice(0)
    np.testing.assert_allclose(magnitude, frames / frames.max(), atol=1e-6)
    assert meta.warnings == ()


def test_numbers_of_frames_are_joined_to_ranges():
    assert name_frames([0, 2, 3, 5, 6, 7]) == "frames 0, 2, 3, 5 to 7"
