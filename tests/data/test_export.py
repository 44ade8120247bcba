"""Images to files: what was written is read back, in place, in time and in value."""

from dataclasses import replace

import imageio.v2 as imageio
import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from cinerecon.data.cine import CineMeta, Geometry
from cinerecon.data.export import Target, export
from cinerecon.data.image import CineImage, first_voxel, stacks
from cinerecon.data.nifti import affine_ras
from cinerecon.data.picture import find_motion
from cinerecon.errors import ConfigError, FileError

READ, PHASE = np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, -1.0])
ACROSS = np.cross(READ, PHASE)
CENTRE = np.array([10.0, -20.0, 30.0])
PIXEL = (1.5, 1.25)


def make_cine(index=0, matrix=(9, 12), frames=5, geometry=True, spacing=8.0, reference=False, seed=0):
    rng = np.random.default_rng(seed + index)
    image = (rng.standard_normal((frames, *matrix)) + 1j * rng.standard_normal((frames, *matrix))).astype(np.complex64)
    centre = CENTRE + index * spacing * ACROSS
    where = Geometry(tuple(centre), tuple(READ), tuple(PHASE), tuple(ACROSS), "HFS") if geometry else None
    times = tuple(30.0 * np.arange(frames))
    meta = CineMeta("scan.h5", index, times, PIXEL, 6.0, where, protocol="cine_sax")
    return CineImage(image, image * 1.1 if reference else None, meta, "zerofilled")


def written(tmp_path, name, cines, **options):
    paths = export(cines, Target.parse(str(tmp_path / name)), **options)
    assert not list(tmp_path.glob(".partial*"))
    return paths


def test_position_is_that_of_the_centre_pixel():
    for matrix in ((9, 12), (8, 11)):
        cine = make_cine(matrix=matrix)
        corner, read, phase, _ = cine.place
        y, x = matrix[0] // 2, matrix[1] // 2
        assert np.allclose(corner + y * PIXEL[0] * phase + x * PIXEL[1] * read, CENTRE)


def test_mrd_images_are_read_back_by_ismrmrd(tmp_path):
    cines = [make_cine(0), make_cine(1)]
    (path,) = written(tmp_path, "out.h5", cines, header_xml="<ismrmrdHeader/>")
    with ismrmrd.Dataset(str(path), mode="r") as file:
        assert file.read_xml_header() == b"<ismrmrdHeader/>"
        assert file.number_of_images("image_0") == file.number_of_images("image_1") == 10
        for number in (0, 7):
            cine, frame = cines[number // 5], number % 5
            magnitude, complex_image = file.read_image("image_0", number), file.read_image("image_1", number)
            assert np.allclose(magnitude.data[0, 0], np.abs(cine.image[frame]))
            assert np.array_equal(complex_image.data[0, 0], cine.image[frame])
            assert magnitude.data.dtype == np.float32
            assert complex_image.data.dtype == np.complex64
            assert (magnitude.slice, magnitude.phase, magnitude.image_index) == (number // 5, frame, number + 1)
            assert np.allclose(list(magnitude.position), cine.meta.geometry.position_mm)
            assert np.allclose(list(magnitude.read_dir), READ)
            assert np.allclose(list(magnitude.phase_dir), PHASE)
            assert np.allclose(list(magnitude.field_of_view), (12 * 1.25, 9 * 1.5, 6.0))
            assert list(magnitude.matrix_size) == [12, 9, 1]
            meta = ismrmrd.Meta.deserialize(magnitude.attribute_string)
            assert meta["ImageProcessingHistory"] == "cinerecon zerofilled"
            assert np.allclose([float(part) for part in meta["ImageColumnDir"]], PHASE)


def test_mrd_images_of_two_sizes_go_to_series_of_their_own(tmp_path):
    (path,) = written(tmp_path, "out.h5", [make_cine(0), make_cine(1, matrix=(7, 6), frames=3)])
    with ismrmrd.Dataset(str(path), mode="r") as file:
        assert [file.number_of_images(f"image_{i}") for i in range(4)] == [5, 3, 5, 3]
        assert file.read_image("image_1", 0).data.shape == (1, 1, 7, 6)


def test_nifti_affine_by_hand_and_by_the_dicom_formula(tmp_path):
    cines = [make_cine(0), make_cine(1), make_cine(2)]
    (path,) = written(tmp_path, "out.nii.gz", cines)
    volume = nibabel.load(path)
    x, y, index, frame = 10, 2, 1, 3
    assert np.isclose(volume.get_fdata()[x, y, index, frame], np.abs(cines[index].image[frame, y, x]))
    world = volume.affine @ [x, y, index, 1]
    by_hand = CENTRE + index * 8.0 * ACROSS + (x - 6) * 1.25 * READ + (y - 4) * 1.5 * PHASE
    assert np.allclose(world[:3], by_hand * [-1, -1, 1], atol=1e-4)
    assert np.allclose(volume.header.get_zooms(), (1.25, 1.5, 8.0, 30.0), atol=1e-4)
    assert volume.header.get_xyzt_units() == ("mm", "msec")
    assert volume.header["sform_code"] == 1

    export(cines, Target.parse(str(tmp_path / "dicom/")))
    image = pydicom.dcmread(tmp_path / "dicom/slice01_frame003.dcm")
    row, column = np.array(image.ImageOrientationPatient[:3], float), np.array(image.ImageOrientationPatient[3:], float)
    origin, (dy, dx) = np.array(image.ImagePositionPatient, float), map(float, image.PixelSpacing)
    assert np.allclose((origin + x * dx * row + y * dy * column) * [-1, -1, 1], world[:3], atol=1e-4)


def test_slices_that_fit_no_volume_go_to_files_of_their_own(tmp_path):
    turned = make_cine(2)
    geometry = Geometry(tuple(CENTRE), tuple(PHASE), tuple(READ), tuple(-ACROSS))
    turned = CineImage(turned.image, None, CineMeta("scan.h5", 2, geometry=geometry), "zerofilled")
    cines = [make_cine(0), make_cine(1), turned, make_cine(3, matrix=(8, 8))]
    assert [len(stack) for stack in stacks(cines)] == [2, 1, 1]
    paths = written(tmp_path, "out.nii", cines)
    assert [path.name for path in paths] == ["out.nii", "out.2.nii", "out.3.nii"]
    assert nibabel.load(paths[0]).shape == (12, 9, 2, 5)
    assert nibabel.load(paths[2]).shape == (8, 8, 1, 5)


def test_slices_with_a_gap_are_no_volume():
    assert [len(stack) for stack in stacks([make_cine(0), make_cine(1), make_cine(3)])] == [2, 1]


def test_without_geometry_none_is_written(tmp_path):
    cine = make_cine(geometry=False)
    (path,) = written(tmp_path, "out.nii", [cine])
    assert nibabel.load(path).header["sform_code"] == 0
    assert np.allclose(affine_ras([cine]), np.diag([1.25, 1.5, 6.0, 1.0]))
    written(tmp_path, "dicom/", [cine])
    assert pydicom.dcmread(tmp_path / "dicom/slice00_frame000.dcm").ImagePositionPatient is None


def test_dicom_tells_value_time_and_nothing_of_the_patient(tmp_path):
    cine = make_cine()
    written(tmp_path, "dicom/", [cine])
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom").glob("*.dcm"))]
    assert len(images) == 5
    assert len({image.SOPInstanceUID for image in images}) == 5
    assert len({image.SeriesInstanceUID for image in images}) == 1
    for frame, image in enumerate(images):
        found = image.pixel_array * float(image.RescaleSlope)
        assert np.allclose(found, np.abs(cine.image[frame]), atol=float(image.RescaleSlope))
        assert image.TriggerTime == 30.0 * frame
        assert image.CardiacNumberOfImages == 5
        assert image.PatientName == "Anonymous"
        assert image.DerivationDescription == "cinerecon zerofilled, not for diagnostic use"


def test_dicom_folder_is_refused_and_with_force_only_our_files_are_replaced(tmp_path):
    target = Target.parse(str(tmp_path / "dicom/"))
    export([make_cine(frames=5)], target)
    (tmp_path / "dicom/notes.txt").write_text("mine")
    with pytest.raises(FileError, match="exists"):
        Target.parse(str(tmp_path / "dicom")).check()
    target.check(force=True)
    export([make_cine(frames=3)], target)
    names = sorted(path.name for path in (tmp_path / "dicom").iterdir())
    assert names == ["notes.txt", *(f"slice00_frame{frame:03d}.dcm" for frame in range(3))]


def test_npz_holds_image_times_and_truth(tmp_path):
    cines = [make_cine(0, reference=True), make_cine(1, reference=True)]
    (path,) = written(tmp_path, "out.npz", cines)
    arrays = np.load(path)
    assert np.array_equal(arrays["image"], np.stack([cine.image for cine in cines]))
    assert np.array_equal(arrays["reference"], np.stack([cine.reference for cine in cines]))
    assert arrays["image"].dtype == np.complex64
    assert np.array_equal(arrays["frame_times_ms"], [30.0 * np.arange(5)] * 2)


def test_npz_of_ragged_slices_pads_nothing(tmp_path):
    cines = [make_cine(0), make_cine(1, frames=3)]
    (path,) = written(tmp_path, "out.npz", cines)
    arrays = np.load(path)
    assert sorted(arrays) == ["frame_times_ms_slice0", "frame_times_ms_slice1", "image_slice0", "image_slice1"]
    assert np.array_equal(arrays["image_slice1"], cines[1].image)


def bright_square(frame, n_frames=8, matrix=(40, 60)):
    """A disc whose radius beats; largest at frame 0."""
    y, x = np.mgrid[: matrix[0], : matrix[1]]
    radius = 9 + 4 * np.cos(2 * np.pi * frame / n_frames)
    return 1.0 * (np.hypot(y - 20, x - 35) < radius) + 0.2


def beating_disc():
    return CineImage(np.stack([bright_square(frame) for frame in range(8)]).astype(np.complex64))


def test_motion_is_found():
    motion = find_motion(beating_disc().magnitude)
    assert (motion.diastole, motion.systole) == (0, 4)
    assert abs(motion.column - 35) <= 1


@pytest.mark.parametrize("name", ["out.gif", "out.mp4"])
def test_movie_shows_the_frames(tmp_path, name):
    (path,) = written(tmp_path, name, [beating_disc(), beating_disc()])
    frames = np.stack([np.asarray(frame)[..., :3].mean(-1) for frame in imageio.mimread(path)[:8]])
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0 or name.endswith("gif")
    left = frames[:, :, : frames.shape[2] // 2]
    brightness = left.mean(axis=(1, 2))
    assert (brightness.argmax(), brightness.argmin()) == (0, 4)
    assert np.abs(left - frames[:, :, frames.shape[2] // 2 :]).mean() < 3


def test_picture_shows_the_frames_and_the_error(tmp_path):
    cine = beating_disc()
    worse = CineImage(cine.image, cine.image * 0.8, cine.meta)
    plain, compared = (written(tmp_path, name, [c])[0] for name, c in (("a.png", cine), ("b.png", worse)))
    plain, compared = (np.asarray(Image.open(path)).astype(int) for path in (plain, compared))
    assert compared.shape[1] > plain.shape[1]
    assert compared.shape[0] == plain.shape[0]
    error_panel = compared[60:-60, plain.shape[1] :]
    assert (error_panel.max(axis=(0, 1)) > 100).any()


def test_endings():
    assert Target.parse("a.nii.gz").ending == ".nii.gz"
    assert Target.parse("A.MP4").ending == ".mp4"
    assert Target.parse("x/dicom").ending == "dicom/"
    assert Target.parse("series/").ending == "dicom/"
    for wrong in ("a.mp3", "a", ".h5"):
        with pytest.raises(ConfigError, match="no image format"):
            Target.parse(wrong)


def test_existing_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"precious")
    with pytest.raises(FileError, match="exists already"):
        Target.parse(str(path)).check()
    Target.parse(str(path)).check(force=True)


def test_a_failed_write_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(b"precious")

    def fail(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(FileError, match="No space left"):
        export([make_cine()], Target.parse(str(path)))
    assert path.read_bytes() == b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_first_voxel_is_independent_of_the_crop():
    """Cropping around the centre pixel moves no remaining pixel in the patient."""
    geometry = make_cine().meta.geometry
    large, small = (first_voxel(geometry, PIXEL, matrix)[0] for matrix in ((9, 12), (5, 7)))
    assert np.allclose(small - large, 2 * 1.5 * PHASE + 3 * 1.25 * READ)


def uneven_cine():
    """Frames at times that no common interval gives."""
    cine = make_cine()
    return replace(cine, meta=replace(cine.meta, frame_times_ms=(0.0, 31.0, 70.0, 100.0, 120.0)))


def test_slices_that_run_against_their_direction_lie_where_they_are():
    cines = [make_cine(2), make_cine(1), make_cine(0)]
    assert np.allclose((affine_ras(cines) @ [6, 4, 2, 1])[:3], CENTRE * [-1, -1, 1])


def test_dicom_tells_when_each_frame_was_and_that_nobody_is_named(tmp_path):
    written(tmp_path, "dicom/", [uneven_cine()])
    images = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom").glob("*.dcm"))]
    assert [float(image.TriggerTime) for image in images] == [0, 31, 70, 100, 120]
    assert {image.PatientIdentityRemoved for image in images} == {"YES"}


def test_mrd_images_tell_when_each_frame_was(tmp_path):
    (path,) = written(tmp_path, "out.h5", [uneven_cine()])
    with ismrmrd.Dataset(str(path), mode="r") as file:
        stamps = [file.read_image("image_0", frame).physiology_time_stamp[0] for frame in range(5)]
    assert stamps == [0, 12, 28, 40, 48]
