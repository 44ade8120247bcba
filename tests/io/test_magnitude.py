"""Magnitude cines come back as our own writers wrote them, with their place and times."""

import gzip
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from magnitude_series import assert_same, series

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError, FileError, NotACineError, UnsupportedError
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.magnitude import cut_out, open_archive, open_nifti
from cinerecon.io.magnitude.archive import REORDERED
from cinerecon.io.plausibility import UNKNOWN_TIMES
from cinerecon.simulation.scan import SimulateConfig, simulate_cine


def test_nifti_round_trip(tmp_path):
    cines = series()
    write_nifti(tmp_path / "cine.nii.gz", cines)
    assert_same(open_nifti(tmp_path / "cine.nii.gz"), cines, 1e-6)


def test_nifti_without_position_or_times(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.arange(180, dtype=np.int16).reshape(6, 5, 2, 3), None), tmp_path / "cine.nii")
    _, meta = open_nifti(tmp_path / "cine.nii").read_slice(1)
    assert meta.geometry is None
    assert meta.frame_times_ms == ()


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("meter", 1000.0), ("micron", 0.001), ("unknown", 1.0)])
def test_lengths_of_nifti_are_in_its_unit(tmp_path, unit, factor):
    affine = np.array([[-1.5, 0, 0, 30], [0, -1.25, 0, 40], [0, 0, 8, 50], [0, 0, 0, factor]]) / factor
    pixels = np.arange(144, dtype=np.int16).reshape(6, 4, 2, 3) ** 2 % 1009
    image = nibabel.Nifti1Image(pixels, affine)
    image.header.set_xyzt_units(unit, "msec")
    nibabel.save(image, tmp_path / "cine.nii")
    _, meta = open_nifti(tmp_path / "cine.nii").read_slice(1)
    assert meta.pixel_size_mm == pytest.approx((1.25, 1.5))
    assert meta.slice_thickness_mm == pytest.approx(8)
    assert meta.geometry.position_mm == pytest.approx((-30 + 3 * 1.5, -40 + 2 * 1.25, 58), abs=1e-3)


def test_nifti_with_time_before_slices_is_refused(tmp_path):
    slices = simulate_cine(SimulateConfig(n_frames=6, ky=40, kx=36, n_slices=3))
    pixels = np.stack([data.reference.abs().numpy() for data in slices]).transpose(3, 2, 0, 1)
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "right.nii.gz")
    assert open_nifti(tmp_path / "right.nii.gz").read_slice(1)[0].shape == (6, 40, 36)
    nibabel.save(nibabel.Nifti1Image(pixels.swapaxes(2, 3), np.eye(4)), tmp_path / "exchanged.nii.gz")
    with pytest.raises(DataError, match="adjacent slices are more similar than adjacent frames"):
        open_nifti(tmp_path / "exchanged.nii.gz").read_slice(1)


@pytest.mark.parametrize("n_slices", [1, 2])
@pytest.mark.parametrize("order", [(0, 2, 1), (2, 0, 1), (2, 1, 0)])
def test_nifti_with_slices_along_another_axis(tmp_path, order, n_slices):
    """Reorientation to the axes of the patient exchanges the axes of oblique and of long-axis views."""
    cines = series(n_slices)
    write_nifti(tmp_path / "cine.nii", cines)
    image = nibabel.load(tmp_path / "cine.nii").as_reoriented([[axis, 1] for axis in order])
    assert image.shape[order[2]] == n_slices
    nibabel.save(image, tmp_path / "turned.nii")
    opened = open_nifti(tmp_path / "turned.nii")
    assert opened.n_slices == n_slices
    for number, cine in enumerate(cines):
        pixels, meta = opened.read_slice(number)
        magnitude = cine.magnitude / cine.magnitude.max()
        is_swapped = order[0] > order[1]
        np.testing.assert_allclose(pixels, magnitude.swapaxes(1, 2) if is_swapped else magnitude, atol=1e-6)
        directions = (cine.meta.geometry.phase_dir, cine.meta.geometry.read_dir)
        assert np.allclose((meta.geometry.phase_dir, meta.geometry.read_dir), directions[:: -1 if is_swapped else 1])
        assert np.allclose(meta.geometry.position_mm, cine.meta.geometry.position_mm, atol=1e-4)
        assert meta.pixel_size_mm == pytest.approx(cine.meta.pixel_size_mm[:: -1 if is_swapped else 1])
        assert meta.frame_times_ms == pytest.approx(cine.meta.frame_times_ms)


@pytest.mark.parametrize("column", [1, 2])
def test_nifti_with_a_sheared_affine(tmp_path, column):
    """Pixels that are not rectangular have no orientation; slices may be shifted in their plane."""
    affine = np.diag([-1.5, -1.25, 8, 1])
    affine[0, column] = 0.5
    pixels = np.arange(144, dtype=np.int16).reshape(6, 4, 2, 3) ** 2 % 1009
    image = nibabel.Nifti1Image(pixels, affine)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "cine.nii")
    _, meta = open_nifti(tmp_path / "cine.nii").read_slice(1)
    assert (meta.geometry is None) == (column == 1)
    assert ("the directions are not orthonormal: images have no orientation" in meta.warnings) == (column == 1)
    assert meta.slice_thickness_mm == pytest.approx(8)


PIXELS = np.arange(144, dtype=np.int16).reshape(6, 4, 2, 3) ** 2 % 1009
AFFINE = np.array([[-1.5, 0, 0, 30], [0, -1.25, 0, 40], [0, 0, 8, 50], [0, 0, 0, 1]])
MOVED = AFFINE + np.outer([1, 0, 0, 0], [0, 0, 0, 12])


def saved(path, pixels=PIXELS, change=lambda image: None, endianness="<"):
    """Save a NIfTI file with the same position in sform and qform, and open it."""
    image = nibabel.Nifti1Image(pixels, AFFINE, nibabel.Nifti1Header(endianness=endianness))
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 40
    image.set_sform(AFFINE, code=1)
    image.set_qform(AFFINE, code=1)
    change(image)
    nibabel.save(image, path)
    return open_nifti(path)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (lambda image: None, ""),
        (lambda image: image.set_qform(AFFINE + 1e-4, code=1), ""),
        (lambda image: image.set_qform(None, code=0), ""),
        (lambda image: image.set_sform(None, code=0), ""),
        (
            lambda image: image.set_sform(MOVED, code=2),
            "sform and qform place the images up to 12 mm apart: the sform is used",
        ),
        (
            lambda image: image.set_sform(np.eye(4), code=2),
            "voxels are 1 x 1 x 1 mm by the sform and 1.5 x 1.25 x 8 mm by pixdim: the sform is used",
        ),
    ],
    ids=["equal", "rounded", "only sform", "only qform", "moved", "unset"],
)
def test_contradictions_of_sform_and_qform_are_reported(tmp_path, change, warning):
    for name in ("cine.nii", "cine.nii.gz"):
        _, meta = saved(tmp_path / name, change=change).read_slice(0)
        assert [text for text in meta.warnings if "sform" in text] == ([warning] if warning else [])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_with_a_fifth_axis_of_one_element_or_of_other_byte_order(tmp_path, ending):
    expected, meta = saved(tmp_path / f"a{ending}").read_slice(1)
    for pixels, order in ((PIXELS[..., None], "<"), (PIXELS[..., None, None], "<"), (PIXELS, ">")):
        values, other = saved(tmp_path / f"b{ending}", pixels, endianness=order).read_slice(1)
        np.testing.assert_array_equal(values, expected)
        assert replace(other, source=meta.source) == meta
    for pixels in (PIXELS[:, :, :, None], np.stack([PIXELS, PIXELS], 4)):  # frames in the fifth axis, vectors
        with pytest.raises(NotACineError, match=r"a cine has \(x, y, slices, frames\)"):
            saved(tmp_path / f"c{ending}", pixels)


def test_an_undefined_unit_of_nifti_is_unknown(tmp_path):
    _, meta = saved(tmp_path / "cine.nii", change=lambda image: image.header.__setitem__("xyzt_units", 7)).read_slice(0)
    assert meta.frame_times_ms == ()
    assert meta.pixel_size_mm == pytest.approx((1.25, 1.5))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_slope_and_intercept_of_nifti_are_applied(tmp_path, dtype, ending):
    stored = (PIXELS % 101).astype(dtype)
    path = tmp_path / f"cine{ending}"
    saved(path, stored, lambda image: image.header.set_slope_inter(1, 0))
    content = gzip.decompress(path.read_bytes()) if ending == ".nii.gz" else path.read_bytes()
    content = content[:112] + np.array([2.5, 4], "<f4").tobytes() + content[120:]
    path.write_bytes(gzip.compress(content) if ending == ".nii.gz" else content)
    values, _ = open_nifti(path).read_pixels(1)
    np.testing.assert_allclose(values, 2.5 * (PIXELS % 101)[:, :, 1].transpose(2, 1, 0) + 4)


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


ARRAYS = {
    "magnitude": np.arange(60.0).reshape(3, 4, 5),
    "trigger_time_ms": np.arange(3) * 40,
    "pixel_spacing_mm": (2, 3),
    "slice_thickness_mm": 8,
    "image_orientation_patient": (1, 0, 0, 0, 1, 0),
    "image_position_patient": (0, 0, 0),
}


def test_an_archive_has_licence_and_subject_but_no_name(tmp_path):
    np.savez(tmp_path / "plain.npz", **ARRAYS)
    plain = open_archive(tmp_path / "plain.npz")
    assert (plain.subject, plain.licence) == ("", "")
    np.savez_compressed(tmp_path / "cine.npz", **ARRAYS, subject="SCD0000101", licence="CC0-1.0")
    cine = open_archive(tmp_path / "cine.npz")
    assert cine.licence == "CC0-1.0"
    assert cine.subject
    assert "SCD" not in cine.subject
    np.savez(tmp_path / "older.npz", **(ARRAYS | {"person": "SCD0000101"}))  # the former name of the text
    assert open_archive(tmp_path / "older.npz").subject == cine.subject


@pytest.mark.parametrize(
    ("name", "values"), [("pixel_spacing_mm", 1.5), ("trigger_time_ms", np.arange(2)), ("magnitude", np.ones((4, 5)))]
)
def test_archives_need_arrays_of_the_right_size(tmp_path, name, values):
    np.savez(tmp_path / "cine.npz", **ARRAYS)
    assert open_archive(tmp_path / "cine.npz").read_slice(0)[1].pixel_size_mm == (2, 3)
    np.savez(tmp_path / "cine.npz", **ARRAYS | {name: values})
    with pytest.raises(DataError, match=f"'{name}' is .*, expected"):
        open_archive(tmp_path / "cine.npz")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"magnitude": ARRAYS["magnitude"] * (1 + 0.1j)}, "'magnitude' is complex128, expected real numbers"),
        ({"slice_thickness_mm": "8"}, "'slice_thickness_mm' is <U1, expected real numbers"),
        ({"pixel_spacing_mm": (1.5, 0)}, r"'pixel_spacing_mm' is \[1.5, 0.0\]"),
        ({"pixel_spacing_mm": (1.5, np.nan)}, r"'pixel_spacing_mm' is \[1.5, nan\]"),
        ({"image_orientation_patient": (1, 0, 0, 1, 0, 0)}, "directions in .* are not orthonormal"),
        ({"image_orientation_patient": np.zeros(6)}, "directions in .* are not orthonormal"),
        ({"image_position_patient": (0, np.nan, 0)}, "'image_position_patient' is not finite"),
        ({"trigger_time_ms": (0, np.nan, 80)}, "'trigger_time_ms' is not finite or has the same value"),
        ({"trigger_time_ms": (0, 40, 40)}, "'trigger_time_ms' is not finite or has the same value"),
    ],
)
def test_archives_with_invalid_values_are_refused(tmp_path, values, match):
    np.savez(tmp_path / "cine.npz", **ARRAYS | values)
    with pytest.raises(DataError, match=match):
        open_archive(tmp_path / "cine.npz")


def test_frames_of_an_archive_are_sorted_by_time(tmp_path):
    np.savez(tmp_path / "cine.npz", **ARRAYS)
    expected, meta = open_archive(tmp_path / "cine.npz").read_slice(0)
    order = [2, 0, 1]
    shuffled = {name: np.array(ARRAYS[name])[order] for name in ("magnitude", "trigger_time_ms")}
    np.savez(tmp_path / "cine.npz", **ARRAYS | shuffled)
    values, sorted_meta = open_archive(tmp_path / "cine.npz").read_slice(0)
    np.testing.assert_array_equal(values, expected)
    assert sorted_meta.frame_times_ms == meta.frame_times_ms == (0, 40, 80)
    assert set(sorted_meta.warnings) - set(meta.warnings) == {REORDERED}
    for times in (np.zeros(3), np.full(3, np.nan)):
        np.savez(tmp_path / "cine.npz", **ARRAYS | {"trigger_time_ms": times})
        values, sorted_meta = open_archive(tmp_path / "cine.npz").read_slice(0)
        np.testing.assert_array_equal(values, expected)
        assert sorted_meta.frame_times_ms == ()
        assert UNKNOWN_TIMES in sorted_meta.warnings


def test_a_dark_centre_is_refused():
    magnitude = np.ones((2, 8, 8), np.float32)
    magnitude[:, 2:6, 2:6] = 0
    with pytest.raises(DataError, match="central 4 x 4 pixels are all zero"):
        cut_out(magnitude, CineMeta(), 2, (4, 4))


def test_cutting_keeps_the_centre():
    magnitude, meta = np.arange(2 * 9 * 8, dtype=np.float32).reshape(2, 9, 8), CineMeta(frame_times_ms=(0.0, 1.0))
    cut, after = cut_out(magnitude, meta, 1, (4, 3))
    assert cut[0, 2, 1] * magnitude[0, 2:6, 3:6].max() == pytest.approx(magnitude[0, 4, 4])
    assert (cut.shape, cut.max(), after) == ((1, 4, 3), 1, replace(meta, frame_times_ms=(0.0,)))
    with pytest.raises(DataError, match="9 rows, but 10 are requested"):
        cut_out(magnitude, meta, 1, (10, 3))


def test_fewer_frames_are_spread_over_the_cine():
    times = tuple(30.0 * n for n in range(25))
    magnitude = np.arange(1.0, 26.0, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    cut, meta = cut_out(magnitude, CineMeta(frame_times_ms=times), 12, (4, 4))
    chosen = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
    np.testing.assert_allclose(cut[:, 0, 0] * 23, 1 + np.array(chosen))
    assert meta.frame_times_ms == tuple(times[n] for n in chosen)
    assert cut_out(magnitude, CineMeta(frame_times_ms=times), 25, (4, 4))[1].frame_times_ms == times


@pytest.mark.parametrize(("stored", "expected"), [(3.0, 3.0), (15000, 1.5), (0, None), (np.nan, None), (-1, None)])
def test_the_field_strength_is_read(tmp_path, stored, expected):
    np.savez(tmp_path / "cine.npz", **ARRAYS, field_strength_tesla=stored)
    assert open_archive(tmp_path / "cine.npz").field_strength_tesla == expected
