"""Magnitude cines come back as our own writers wrote them, with their place and times."""

from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest

from cinerecon.cine import CineMeta, Geometry
from cinerecon.errors import DataError, FileError, UnsupportedError
from cinerecon.image import CineImage
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.magnitude import cut_out, is_dicom, open_archive, open_dicom, open_nifti

READ, PHASE, ACROSS = (0.6, 0.8, 0.0), (0.0, 0.0, -1.0), (-0.8, 0.6, 0.0)


def series(n_slices=2, matrix=(15, 12)):
    rng = np.random.default_rng(0)
    cines = []
    for number in range(n_slices):
        position = tuple(10.0 * number * np.array(ACROSS) + (5.0, -7.0, 20.0))
        meta = CineMeta(
            slice=number,
            frame_times_ms=(0.0, 40.0, 80.0, 120.0),
            pixel_size_mm=(1.5, 1.25),
            slice_thickness_mm=8.0,
            geometry=Geometry(position, READ, PHASE, ACROSS, "HFS"),
        )
        cines.append(CineImage(rng.random((4, *matrix)).astype(np.complex64), meta=meta))
    return cines


def assert_same(opened, cines, tolerance):
    assert opened.n_slices == len(cines)
    for number, cine in enumerate(cines):
        magnitude, meta = opened.read_slice(number)
        np.testing.assert_allclose(magnitude, cine.magnitude / cine.magnitude.max(), atol=tolerance)
        assert meta.pixel_size_mm == pytest.approx((1.5, 1.25))
        assert meta.frame_times_ms == pytest.approx(cine.meta.frame_times_ms)
        for name in ("position_mm", "read_dir", "phase_dir", "slice_dir"):
            found, expected = getattr(meta.geometry, name), getattr(cine.meta.geometry, name)
            assert found == pytest.approx(expected, abs=1e-4), name


def test_nifti_round_trip(tmp_path):
    cines = series()
    write_nifti(tmp_path / "cine.nii.gz", cines)
    assert_same(open_nifti(tmp_path / "cine.nii.gz"), cines, 1e-6)


def test_dicom_round_trip(tmp_path):
    cines = series()
    write_dicom(tmp_path, cines)
    files = list(tmp_path.glob("*.dcm"))
    (opened,) = open_dicom(tmp_path, files)
    assert_same(opened, cines, 1e-3)
    assert (opened.person, opened.is_interpolated, len(opened.files)) == ("", False, 8)
    assert all(is_dicom(file) for file in files)
    assert not is_dicom(tmp_path / "missing")


def bend(folder, change):
    for file in folder.glob("*.dcm"):
        image = pydicom.dcmread(file)
        change(image)
        image.save_as(file)
    return open_dicom(folder, list(folder.glob("*.dcm")))


def test_dicom_tells_interpolation_and_hides_the_patient(tmp_path):
    write_dicom(tmp_path, series(1))

    def change(image):
        image.AcquisitionMatrix = [0, 12, 8, 0]
        image.PatientID = "19700101-1234"

    (opened,) = bend(tmp_path, change)
    assert opened.is_interpolated
    assert opened.person.startswith("person-")
    assert "1970" not in opened.person


def test_dicom_that_is_no_magnitude_cine(tmp_path):
    write_dicom(tmp_path, series(1))
    assert bend(tmp_path, lambda image: setattr(image, "ImageType", ["ORIGINAL", "PRIMARY", "P"])) == []
    write_dicom(tmp_path, series(1))
    for file in sorted(tmp_path.glob("*.dcm"))[1:]:
        file.unlink()
    assert open_dicom(tmp_path, list(tmp_path.glob("*.dcm"))) == [], "one time is no cine"
    with pytest.raises(UnsupportedError, match=r"3 frames .enhanced MR."):
        bend(tmp_path, lambda image: setattr(image, "NumberOfFrames", 3))


def test_dicom_cut_short(tmp_path):
    write_dicom(tmp_path, series(1))
    file = sorted(tmp_path.glob("*.dcm"))[2]
    file.write_bytes(file.read_bytes()[:-20])
    (opened,) = open_dicom(tmp_path, list(tmp_path.glob("*.dcm")))
    with pytest.raises(FileError, match="cannot read the pixels") as caught:
        opened.read_slice(0)
    assert caught.value.where == str(file)


def test_two_series_in_a_folder_are_two_cines(tmp_path):
    write_dicom(tmp_path / "a", series(1))
    write_dicom(tmp_path / "b", series(2))
    for number, file in enumerate([*tmp_path.glob("a/*.dcm"), *tmp_path.glob("b/*.dcm")]):
        image = pydicom.dcmread(file)
        image.SeriesNumber = 4 if file.parent.name == "a" else 9
        image.save_as(tmp_path / f"{number}.dcm")
    opened = open_dicom(tmp_path, list(tmp_path.glob("*.dcm")))
    assert {(cine.name, cine.n_slices) for cine in opened} == {("series4", 1), ("series9", 2)}


def test_nifti_without_place_or_times(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.arange(180, dtype=np.int16).reshape(6, 5, 2, 3), None), tmp_path / "cine.nii")
    _, meta = open_nifti(tmp_path / "cine.nii").read_slice(1)
    assert meta.geometry is None
    assert meta.frame_times_ms == ()


def test_nifti_that_is_no_cine(tmp_path):
    path = tmp_path / "cine.nii"
    for shape in ((6, 5), (6, 5, 2), (6, 5, 2, 1)):
        nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.float32), np.eye(4)), path)
        with pytest.raises(UnsupportedError, match="cine"):
            open_nifti(path)
    nibabel.save(nibabel.Nifti1Image(np.ones((6, 5, 2, 3), np.complex64), np.eye(4)), path)
    with pytest.raises(UnsupportedError, match="complex64, expected magnitudes"):
        open_nifti(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(FileError, match="cannot read the NIfTI"):
        open_nifti(path)


@pytest.mark.parametrize(("value", "match"), [(np.nan, "not finite"), (-1, "negative"), (0, "all pixels are zero")])
def test_pixels_that_cannot_be_magnitudes(tmp_path, value, match):
    pixels = np.zeros((6, 5, 1, 3), np.float32) if value == 0 else np.ones((6, 5, 1, 3), np.float32)
    pixels[0] = value
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "cine.nii")
    with pytest.raises(DataError, match=match):
        open_nifti(tmp_path / "cine.nii").read_slice(0)


def test_archives_need_all_arrays(tmp_path):
    np.savez(tmp_path / "cine.npz", magnitude=np.ones((3, 4, 5)))
    with pytest.raises(DataError, match="no array 'trigger_time_ms'"):
        open_archive(tmp_path / "cine.npz")
    with pytest.raises(FileError, match="no such file"):
        open_archive(tmp_path / "missing.npz")


@pytest.mark.parametrize(
    ("name", "values"), [("pixel_spacing_mm", 1.5), ("trigger_time_ms", np.arange(2)), ("magnitude", np.ones((4, 5)))]
)
def test_archives_need_arrays_of_the_right_size(tmp_path, name, values):
    arrays = {
        "magnitude": np.arange(60.0).reshape(3, 4, 5),
        "trigger_time_ms": np.arange(3) * 40,
        "pixel_spacing_mm": (2, 3),
        "slice_thickness_mm": 8,
        "image_orientation_patient": (1, 0, 0, 0, 1, 0),
        "image_position_patient": (0, 0, 0),
    }
    np.savez(tmp_path / "cine.npz", **arrays)
    assert open_archive(tmp_path / "cine.npz").read_slice(0)[1].pixel_size_mm == (2, 3)
    np.savez(tmp_path / "cine.npz", **arrays | {name: values})
    with pytest.raises(DataError, match=f"'{name}' is .*, expected"):
        open_archive(tmp_path / "cine.npz")


def test_a_dark_centre_is_refused():
    magnitude = np.ones((2, 8, 8), np.float32)
    magnitude[:, 2:6, 2:6] = 0
    with pytest.raises(DataError, match="central 4 x 4 pixels are zero"):
        cut_out(magnitude, CineMeta(), 2, (4, 4))


def test_cutting_keeps_the_centre():
    magnitude, meta = np.arange(2 * 9 * 8, dtype=np.float32).reshape(2, 9, 8), CineMeta(frame_times_ms=(0.0, 1.0))
    cut, after = cut_out(magnitude, meta, 1, (4, 3))
    assert cut[0, 2, 1] * magnitude[0, 2:6, 3:6].max() == pytest.approx(magnitude[0, 4, 4])
    assert (cut.shape, cut.max(), after) == ((1, 4, 3), 1, replace(meta, frame_times_ms=(0.0,)))
    with pytest.raises(DataError, match="9 rows, 10 are asked for"):
        cut_out(magnitude, meta, 1, (10, 3))
