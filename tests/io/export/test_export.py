"""Images in files: values, positions and times are read back as written."""

import gzip
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import imageio.v2 as imageio
import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
from oblique_cine import ACROSS, CENTRE, PHASE, PIXEL, READ, make_cine
from PIL import Image
from raw_scan import header_xml

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import ConfigError, FileError
from cinerecon.image import CineImage, grey, locate_first_voxel, stacks
from cinerecon.io import atomic as files
from cinerecon.io.export import FOLDER, Target, export
from cinerecon.io.export.movie import montage
from cinerecon.io.export.nifti import affine_ras
from cinerecon.io.export.summary import draw_summary, find_motion
from cinerecon.io.magnitude import open_dicom
from cinerecon.io.picture import column_in_panel, enlarged, font_of_size
from cinerecon.provenance import Provenance


def written(tmp_path, name, cines):
    paths = export(cines, Target.parse(str(tmp_path / name)))
    assert not list(tmp_path.rglob(".partial*"))
    return list(paths)


def test_outputs_may_begin_with_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Target.parse("~/cine.npz").path == tmp_path / "cine.npz"
    assert Target.parse("~/dicom/") == Target(tmp_path / "dicom", FOLDER)


def test_position_is_that_of_the_centre_pixel():
    for matrix in ((9, 12), (8, 11)):
        cine = make_cine(matrix=matrix)
        corner, read, phase, _ = cine.first_voxel
        y, x = matrix[0] // 2, matrix[1] // 2
        assert np.allclose(corner + y * PIXEL[0] * phase + x * PIXEL[1] * read, CENTRE)


def test_mrd_images_are_read_back_by_ismrmrd(tmp_path):
    cines = [make_cine(0), make_cine(1)]
    (path,) = written(tmp_path, "out.h5", [replace(cine, header_xml="<ismrmrdHeader/>") for cine in cines])
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


def rotated(cine, degrees, about):
    """The image with its directions rotated about one of them; the centre is unchanged."""
    geometry, angle = cine.meta.geometry, np.deg2rad(degrees)
    axis = np.array(getattr(geometry, about))
    turned = {}
    for name in ("read_dir", "phase_dir", "slice_dir"):
        v = np.array(getattr(geometry, name))
        along = (axis @ v) * axis
        turned[name] = tuple(along + np.cos(angle) * (v - along) + np.sin(angle) * np.cross(axis, v))
    return replace(cine, meta=replace(cine.meta, geometry=replace(geometry, **turned)))


def moved(cine, vector_mm):
    """The image at another position."""
    position = tuple(np.array(cine.meta.geometry.position_mm) + vector_mm)
    return replace(cine, meta=replace(cine.meta, geometry=replace(cine.meta.geometry, position_mm=position)))


@pytest.mark.parametrize("about", ["read_dir", "phase_dir", "slice_dir"])
def test_slices_that_turn_slightly_from_slice_to_slice_are_no_volume(about):
    """Half a degree from slice to slice displaces the edges of the last slices by several pixels."""
    wide = [make_cine(n, matrix=(192, 192)) for n in range(8)]
    assert [len(stack) for stack in stacks([rotated(cine, 0.5 * n, about) for n, cine in enumerate(wide)])] == [1] * 8
    slightly = [rotated(cine, 0.002 * n, about) for n, cine in enumerate(wide)]
    assert len(stacks(slightly)) == 1
    assert affine_error(slightly) < 0.125


def test_slices_that_move_sideways_or_are_unevenly_spaced_are_no_volume():
    for step, sizes in ((0.4 * READ, [1] * 4), (0.04 * READ, [4]), (0.4 * ACROSS, [4])):
        assert [len(stack) for stack in stacks([moved(make_cine(n), n * step) for n in range(4)])] == sizes
    rounded = [moved(make_cine(n), np.random.default_rng(n).uniform(-0.05, 0.05, 3)) for n in range(6)]
    assert len(stacks(rounded)) == 1
    assert affine_error(rounded) < 0.125
    assert [len(stack) for stack in stacks([moved(make_cine(n), 0.2 * n**2 * ACROSS) for n in range(4)])] == [2, 2]


def affine_error(stack):
    """Largest distance of the outermost voxels from their positions by the affine of a stack [mm]."""
    affine, errors = affine_ras(stack), []
    for number, cine in enumerate(stack):
        corner, read, phase, _ = cine.first_voxel
        (dy, dx), (n_y, n_x) = cine.meta.pixel_size_mm, cine.matrix
        for y, x in ((0, 0), (0, n_x - 1), (n_y - 1, 0), (n_y - 1, n_x - 1)):
            expected = (corner + y * dy * phase + x * dx * read) * [-1, -1, 1]
            errors.append(np.linalg.norm((affine @ [x, y, number, 1])[:3] - expected))
    return max(errors)


def test_without_geometry_none_is_written(tmp_path):
    cine = make_cine(geometry=False)
    (path,) = written(tmp_path, "out.nii", [cine])
    assert nibabel.load(path).header["sform_code"] == 0
    assert np.allclose(affine_ras([cine]), np.diag([1.25, 1.5, 6.0, 1.0]))
    written(tmp_path, "dicom/", [cine])
    assert pydicom.dcmread(tmp_path / "dicom/slice00_frame000.dcm").ImagePositionPatient is None


def read_dicom(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def test_dicom_has_values_and_times_and_no_patient(tmp_path):
    cine = make_cine(is_one_beat=True)
    written(tmp_path, "dicom/", [cine])
    images = read_dicom(tmp_path / "dicom")
    assert len(images) == 5
    assert len({image.SOPInstanceUID for image in images}) == 5
    assert len({image.SeriesInstanceUID for image in images}) == 1
    for frame, image in enumerate(images):
        scale = float(image.ImageComments.rpartition(" ")[2])
        assert np.allclose(image.pixel_array * scale, np.abs(cine.image[frame]), atol=scale)
        assert float(image.RescaleSlope) == 1
        assert 1 < float(image.WindowWidth) == 2 * float(image.WindowCenter) < 4096
        assert (image.TriggerTime, image.ScanOptions) == (30.0 * frame, "CG")
        assert image.PatientName == "Anonymous^"
        assert image.DerivationDescription == "cinerecon zerofilled, not for diagnostic use"


def test_slices_of_unknown_origin_are_one_series_with_the_same_identifiers_each_time(tmp_path):
    for name in ("a", "b"):
        written(tmp_path, f"{name}/dicom", [make_cine(0), make_cine(1)])
    first, again = (read_dicom(tmp_path / name / "dicom") for name in ("a", "b"))
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SeriesNumber", "PatientID"):
        assert len({getattr(image, name) for image in (*first, *again)}) == 1
    assert [image.SOPInstanceUID for image in first] == [image.SOPInstanceUID for image in again]
    assert [image.InstanceNumber for image in first] == [*range(1, 11)]
    written(tmp_path, "c/dicom", [make_cine(0, seed=9)])
    assert read_dicom(tmp_path / "c/dicom")[0].PatientID != first[0].PatientID


def test_images_of_many_stacks_have_identifiers_of_their_own(tmp_path):
    """Twelve long-axis views: ``1, 11`` and ``11, 1`` are different stacks and instances."""
    cines = []
    for number, angle in enumerate(np.linspace(0, np.pi, 12, endpoint=False)):
        read = (float(np.cos(angle)), float(np.sin(angle)), 0.0)
        geometry = Geometry((0.0, 0.0, 0.0), read, (0.0, 0.0, -1.0), tuple(np.cross(read, (0.0, 0.0, -1.0))))
        cines.append(make_cine(number, frames=12))
        cines[-1] = replace(cines[-1], meta=replace(cines[-1].meta, geometry=geometry))
    written(tmp_path, "dicom/", cines)
    images = read_dicom(tmp_path / "dicom")
    assert len({image.SOPInstanceUID for image in images}) == len(images) == 144
    assert len({image.SeriesInstanceUID for image in images}) == 12
    assert len({image.FrameOfReferenceUID for image in images}) == 1


@pytest.mark.parametrize(
    ("turn", "shift"),
    [((-1, 1, -1), 0), ((1, -1, -1), 0), ((-1, -1, 1), 0), ((1, 1, 1), 3)],
    ids=["opposite", "opposite, along y", "turned in the plane", "shifted in the plane"],
)
def test_parallel_slices_of_several_series_have_their_distance_and_order(tmp_path, turn, shift):
    cines = [make_cine(number, spacing=10.0) for number in range(3)]
    geometry = cines[1].meta.geometry
    read, phase, across = (
        tuple(sign * np.array(direction))
        for sign, direction in zip(turn, (geometry.read_dir, geometry.phase_dir, geometry.slice_dir), strict=True)
    )
    position = tuple(np.array(geometry.position_mm) + shift * READ)
    geometry = Geometry(position, read, phase, across, "HFS")
    cines[1] = replace(cines[1], meta=replace(cines[1].meta, geometry=geometry))
    written(tmp_path, "dicom/", cines)
    images = [pydicom.dcmread(tmp_path / f"dicom/slice{number:02d}_frame000.dcm") for number in range(3)]
    assert [float(image.SpacingBetweenSlices) for image in images] == pytest.approx([10, 10, 10], abs=1e-4)
    assert np.diff([float(image.SliceLocation) for image in images]) == pytest.approx(10, abs=1e-4)


def test_dicom_folder_is_refused_and_with_force_only_our_files_are_replaced(tmp_path):
    target = Target.parse(str(tmp_path / "dicom/"))
    export([make_cine(frames=5)], target)
    (tmp_path / "dicom/notes.txt").write_text("mine")
    with pytest.raises(FileError, match="exists"):
        Target.parse(str(tmp_path / "dicom")).check()
    target.check(force=True)
    (tmp_path / "dicom/new").mkdir()
    export([make_cine(frames=3)], target)
    names = sorted(path.name for path in (tmp_path / "dicom").iterdir())
    assert names == ["new", "notes.txt", *(f"slice00_frame{frame:03d}.dcm" for frame in range(3))]


def test_dicom_of_other_programs_is_never_replaced(tmp_path):
    target = Target.parse(str(tmp_path / "dicom/"))
    export([make_cine(frames=2)], target)
    head = pydicom.dcmread(tmp_path / "dicom/slice00_frame001.dcm")
    head.Manufacturer = "scanner"
    head.save_as(tmp_path / "dicom/slice07_frame001.dcm")
    with pytest.raises(FileError, match=r"slice07_frame001\.dcm was not written by cinerecon"):
        target.check(force=True)


@pytest.mark.parametrize("nth", [0, 1, 3, 4])
def test_an_interruption_leaves_the_old_series_whole(tmp_path, monkeypatch, nth):
    """Two old files are moved away, three new ones come: it may end in the midst of either."""
    target = Target.parse(str(tmp_path / "dicom/"))
    export([make_cine(frames=2)], target)
    before = [image.SOPInstanceUID for image in read_dicom(target.path)]
    moves, move = [], Path.replace

    def interrupted(here, there):
        moves.append(here)
        if len(moves) == nth + 1:
            raise KeyboardInterrupt
        return move(here, there)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export([make_cine(frames=3, seed=1)], target)
    assert [image.SOPInstanceUID for image in read_dicom(target.path)] == before
    assert len(list(target.path.iterdir())) == 2
    monkeypatch.undo()
    export([make_cine(frames=3)], target)
    assert len(read_dicom(target.path)) == 3


def test_what_a_killed_run_left_is_removed(tmp_path):
    target = Target.parse(str(tmp_path / "dicom/"))
    own = tmp_path / files.temporary_name("dicom")
    recent, stale = (tmp_path / f".partial-{number}-dicom" for number in (1, 2))
    for folder in (own, recent, stale):
        (folder / "new").mkdir(parents=True)
        (folder / "new/slice09_frame000.dcm").write_bytes(b"half")
    os.utime(stale, (0, 0))
    export([make_cine(frames=2)], target)
    assert len(list(target.path.iterdir())) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [recent.name, "dicom"]


def test_dicom_has_no_heart_rate_if_it_is_unknown(tmp_path):
    written(tmp_path, "beat/dicom", [make_cine(is_one_beat=True)])
    written(tmp_path, "some/dicom", [make_cine(frames=1)])
    beat, some = (read_dicom(tmp_path / name / "dicom")[0] for name in ("beat", "some"))
    assert (beat.NominalInterval, beat.CardiacNumberOfImages) == (150, 5)
    assert (some.ScanOptions, some.TemporalPositionTimeOffset) == ("", 0)
    for name in ("TriggerTime", "NominalInterval", "CardiacNumberOfImages"):
        assert name not in some


def test_dicom_has_the_values_of_the_header_and_leaves_out_invalid_ones(tmp_path, recwarn):
    extra = (
        "<sequenceParameters><TR>28.5</TR><TE>1.2</TE><TE>3.4</TE><flipAngle_deg>60</flipAngle_deg>"
        "<sequence_type>SSFP</sequence_type></sequenceParameters>"
    )
    space = {"matrix": (64, 30), "fov": (640.0, 300.0), "recon": (32, 30), "recon_fov": (320.0, 300.0)}
    xml = header_xml(**space, limits={"kspace_encoding_step_1": (23, 12)}, extra=extra)
    cine = make_cine()
    lying = replace(cine.meta.geometry, patient_position="on the side")
    cine = replace(cine, header_xml=xml, meta=replace(cine.meta, geometry=lying))
    written(tmp_path, "dicom/", [cine])
    image = read_dicom(tmp_path / "dicom")[0]
    assert (image.EchoTime, image.RepetitionTime, image.FlipAngle) == (1.2, 28.5, 60)
    assert (image.SequenceName, list(image.AcquisitionMatrix)) == ("SSFP", [32, 0, 0, 24])
    assert image.PatientPosition == ""
    assert not recwarn.list


def test_warnings_go_with_the_images(tmp_path):
    text = "do not trust <this> image"
    cines = [make_cine(0), make_cine(1, warnings=(text,))]
    for name in ("dicom/", "out.h5", "out.nii.gz", "out.npz", "out.png"):
        written(tmp_path, name, cines)
    comments = [image.ImageComments for image in read_dicom(tmp_path / "dicom")]
    assert [text in comment for comment in comments] == [False] * 5 + [True] * 5
    with ismrmrd.Dataset(str(tmp_path / "out.h5"), mode="r") as file:
        first, last = (ismrmrd.Meta.deserialize(file.read_image("image_0", n).attribute_string) for n in (0, 9))
    assert first["ImageComments"] == "not for diagnostic use"
    assert last["ImageComments"] == ["not for diagnostic use", f"warning: {text}"]
    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert bytes(header["descrip"]).startswith(b"not for diagnostic use, 1 warning, cinerecon")
    assert header.extensions[0].get_content() in (f"warning: slice 1: {text}", f"warning: slice 1: {text}".encode())
    assert np.load(tmp_path / "out.npz")["warnings"].tolist() == [f"slice 1: {text}"]
    (plain,) = written(tmp_path, "plain.png", [make_cine(0), make_cine(1)])
    assert Image.open(tmp_path / "out.png").height > Image.open(plain).height


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
    names = [f"{name}_slice{number}" for name in ("frame_times_ms", "image") for number in (0, 1)]
    assert set(names) <= set(arrays)
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
    assert (motion.most_blood, motion.least_blood) == (0, 4)
    assert abs(motion.column - 35) <= 1


@pytest.mark.parametrize("matrix", [(1, 1), (2, 3), (1, 7), (6, 2)])
def test_the_smallest_images_are_drawn(tmp_path, matrix):
    for name in ("out.png", "out.gif", "out.mp4"):
        (path,) = written(tmp_path, name, [make_cine(matrix=matrix)])
        assert path.stat().st_size > 0


@pytest.mark.parametrize("swap", [False, True], ids=["wide", "narrow"])
def test_long_images_keep_their_pixels_square_in_a_panel_of_limited_width(tmp_path, swap):
    """An image of 8 rows of 1 mm and 200 columns of 10 mm, black but for its middle third."""
    image = np.zeros((3, 8, 200), np.complex64)
    image[:, :, 67:133] = 1
    image, pixels = (image.swapaxes(1, 2), (10.0, 1.0)) if swap else (image, (1.0, 10.0))
    cine = CineImage(image, meta=CineMeta(pixel_size_mm=pixels))
    for name in ("out.png", "out.gif", "out.mp4"):
        written(tmp_path, name, [cine])
    frame = montage([cine])[0]
    assert frame.shape == ((384, 96) if swap else (384, 1536))
    middle = (frame.T if swap else frame)[:, frame.shape[swap ^ 1] // 2]
    bright = np.flatnonzero(middle > 128)
    assert abs(len(bright) - (384 if swap else 1536) * 8 / 2000) <= 1
    assert abs(bright.mean() - len(middle) / 2) <= 1
    assert max(Image.open(tmp_path / "out.png").size) < 4000
    panel = enlarged(Image.fromarray(grey(cine.magnitude[0], 1.0)), cine, 300, Image.Resampling.NEAREST)
    bright = np.flatnonzero(np.asarray(panel).max(0) > 128)
    first, last = (column_in_panel(cine, column, panel.width) for column in ((0, 7) if swap else (67, 132)))
    assert abs(first - bright[0]) <= 1
    assert abs(last - bright[-1]) <= (1 if swap else 1200 / 200)


def test_captions_of_a_summary_do_not_overlap(tmp_path):
    """The caption of the map is wider than its panel: another panel begins after it."""
    cine = replace(make_cine(matrix=(40, 12), reference=True), uncertainty=np.ones((5, 40, 12), np.float32))
    caption = "uncertainty  ·  least blood  ·  white is 100.0%"
    without = replace(cine, uncertainty=None)
    added = np.subtract(*(draw_summary([part]).width for part in (cine, without)))
    assert added > font_of_size(14).getlength(caption) > 300 * 12 * PIXEL[1] / (40 * PIXEL[0])


TIMES = [(np.nan,) * 5, (0.0, 30.0, 20.0, 90.0, 120.0), (0.0, 0.0, 0.0, 0.0, 0.0), (0.0, 30.0)]


@pytest.mark.parametrize("times", TIMES, ids=["not numbers", "not in order", "equal", "too few"])
def test_times_that_are_no_times_are_unknown(tmp_path, times):
    cine = make_cine(frame_times_ms=times, is_one_beat=True)
    assert cine.times_ms == ()
    for name in ("a.h5", "a.mrd", "a.mrd2", "a.nii", "a.npz", "a.gif", "dicom/"):
        written(tmp_path, name, [cine])
    assert np.isnan(np.load(tmp_path / "a.npz")["frame_times_ms"]).all()
    assert nibabel.load(tmp_path / "a.nii").header.get_zooms()[3] == 0
    image = read_dicom(tmp_path / "dicom")[0]
    assert image.TriggerTime is None
    assert "NominalInterval" not in image


def test_times_before_the_r_wave(tmp_path):
    """DICOM has them as they are; the counters of ISMRMRD have no sign and count from the first frame."""
    cine = make_cine(frame_times_ms=(-90.0, -60.0, -30.0, 0.0, 30.0), is_one_beat=True)
    for name in ("a.h5", "a.mrd2", "dicom/"):
        written(tmp_path, name, [cine])
    with ismrmrd.Dataset(str(tmp_path / "a.h5"), mode="r") as file:
        stamps = [file.read_image("image_0", number).physiology_time_stamp[0] for number in range(5)]
    assert [stamp * 2.5 for stamp in stamps] == [0, 30, 60, 90, 120]
    images = read_dicom(tmp_path / "dicom")
    assert [image.TriggerTime for image in images] == [-90, -60, -30, 0, 30]
    assert (images[0].NominalInterval, images[0].HeartRate) == (150, 400)


def test_texts_with_control_characters(tmp_path):
    text = "Süd\u0001\n" + "é" * 80
    cine = replace(make_cine(protocol=text, warnings=(text,)), header_xml="")
    for name in ("a.h5", "a.mrd", "a.mrd2", "a.nii", "dicom/"):
        written(tmp_path, name, [cine])
    image = read_dicom(tmp_path / "dicom")[0]
    assert image.ProtocolName == ("Süd  " + "é" * 80)[:64]
    assert all(letter.isprintable() for letter in image.ImageComments)
    assert "warning: Süd  ééé" in image.ImageComments
    with ismrmrd.Dataset(str(tmp_path / "a.h5"), mode="r") as file:
        attributes = file.read_image("image_0", 0).attribute_string
    texts = [value.text for value in ElementTree.fromstring(attributes).iter("value")]
    assert "warning: Süd  " + "é" * 80 in texts


def test_stacks_and_maps_of_a_run_are_listed_in_order(tmp_path):
    """Series are numbered by stack, each followed by its maps; another run has other numbers."""
    maps = {"noise": np.ones((5, 9, 12), np.float32), "noise_source": "noise readouts"}
    maps["provenance"] = Provenance("a", "b", "c", "d")
    cines = [replace(make_cine(number, spacing=spacing), **maps) for number, spacing in ((0, 8.0), (1, 8.0), (2, 30.0))]
    written(tmp_path, "dicom/", cines)
    series = {}
    for folder in ("dicom", "dicom.snr", "dicom.noise"):
        for image in read_dicom(tmp_path / folder):
            series.setdefault(image.SeriesNumber, []).append((folder, image.InstanceNumber, image.SliceLocation))
    keys = [(parts[0][0], len(parts)) for _, parts in sorted(series.items())]
    assert keys == [(name, n) for n in (10, 5) for name in ("dicom", "dicom.snr", "dicom.noise")]
    for parts in series.values():
        assert [number for _, number, _ in parts] == [*range(1, len(parts) + 1)]
        assert np.ptp([location for _, _, location in parts[:5]]) == 0
    written(tmp_path, "other/dicom", [make_cine(0, seed=5)])
    assert read_dicom(tmp_path / "other/dicom")[0].SeriesNumber not in series


@pytest.mark.parametrize("name", ["a.NII.GZ", "b.Nii.gz", "c.NII", "d.nii.Gz", "e.Nii"])
def test_endings_in_capitals(tmp_path, name):
    cines = [make_cine(0), make_cine(1)]
    (path,) = written(tmp_path, name, cines)
    assert path.name == name
    is_compressed = path.read_bytes()[:2] == b"\x1f\x8b"
    assert is_compressed == name.lower().endswith(".gz")
    content = gzip.decompress(path.read_bytes()) if is_compressed else path.read_bytes()
    image = nibabel.Nifti1Image.from_bytes(content)
    values = np.stack([np.abs(cine.image).transpose(2, 1, 0) for cine in cines], axis=2)
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), values)
    np.testing.assert_allclose(image.affine, affine_ras(cines), atol=1e-5)


def test_the_same_images_are_the_same_bytes(tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        written(tmp_path, name, [make_cine(0)])
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("name", ["out.gif", "out.mp4"])
def test_movie_shows_the_frames(tmp_path, name):
    (path,) = written(tmp_path, name, [beating_disc(), beating_disc()])
    frames = np.stack([np.atleast_3d(frame)[..., :3].mean(-1) for frame in imageio.mimread(path)[:8]])
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
    assert Target.parse(".") == Target(Path.cwd(), "dicom/")
    assert Target.parse("./").of_map("snr").path == Path(f"{Path.cwd()}.snr")
    assert Target.parse("series/").ending == "dicom/"
    for wrong in ("a.mp3", "a", ".h5", ""):
        with pytest.raises(ConfigError, match="no image format"):
            Target.parse(wrong)
    with pytest.raises(ConfigError, match="a separate folder"):
        Target.parse("/")
    with pytest.raises(ConfigError) as error:
        Target.parse("out/.NII.gz")
    assert error.value.hint == "give a name before the ending: cine.NII.gz"


def test_existing_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"precious")
    with pytest.raises(FileError, match="already exists"):
        Target.parse(str(path)).check()
    Target.parse(str(path)).check(force=True)


def test_numbered_files_are_refused_too(tmp_path):
    (tmp_path / "a.2.nii.gz").write_bytes(b"precious")
    target = Target.parse(str(tmp_path / "a.nii.gz"))
    with pytest.raises(FileError, match=r"a\.2\.nii\.gz already exists"):
        target.check()
    target.check(force=True)
    Target.parse(str(tmp_path / "a.npz")).check()
    Target.parse(str(tmp_path / "a.nii")).check()


def test_a_target_recognises_its_own_files(tmp_path):
    (tmp_path / "link.h5").symlink_to(tmp_path / "scan.h5")
    (tmp_path / "scan.h5").touch()
    hits = [
        ("scan.h5", "link.h5"),
        ("link.h5", "scan.h5"),
        ("x/../scan.h5", "scan.h5"),
        ("a.nii", "a.12.nii"),
        ("dicom/", "dicom/slice03_frame012.dcm"),
    ]
    (tmp_path / "x").mkdir()
    for name, path in hits:
        assert Target.parse(str(tmp_path / name)).may_write(tmp_path / path)
    for name, path in [("a.nii", "a.x.nii"), ("a.nii", "a.2.nii.gz"), ("a.npz", "a.2.npz"), ("dicom/", "dicom/x.dcm")]:
        assert not Target.parse(str(tmp_path / name)).may_write(tmp_path / path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("ending", ["h5", "nii", "npz", "gif", "mp4", "png"])
def test_a_full_disk_is_a_short_error(tmp_path, monkeypatch, capfd, ending):
    """The temporary file leads to a device that is always full."""
    path = tmp_path / f"12:30.{ending}"
    temporary = tmp_path / files.temporary_name(path.name)
    monkeypatch.setattr(files, "_remove", lambda path: None)
    temporary.symlink_to("/dev/full")
    with pytest.raises(FileError, match="cannot write: No space left on device\n") as raised:
        export([make_cine()], Target.parse(str(path)))
    assert str(raised.value).count("\n") == 2
    assert capfd.readouterr().err == ""
    assert not path.exists()


def test_a_movie_may_have_a_colon_in_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export([make_cine()], Target.parse("12:30.mp4"))
    assert (tmp_path / "12:30.mp4").stat().st_size > 0


def test_a_failed_write_leaves_the_old_file_and_no_half_one(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(b"precious")

    def fail(file, *_, **__):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", fail)
    with pytest.raises(FileError, match="No space left"):
        export([make_cine()], Target.parse(str(path)))
    assert path.read_bytes() == b"precious"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_first_voxel_is_independent_of_the_crop():
    """Cropping around the centre pixel moves no remaining pixel in the patient."""
    geometry = make_cine().meta.geometry
    large, small = (locate_first_voxel(geometry, PIXEL, matrix)[0] for matrix in ((9, 12), (5, 7)))
    assert np.allclose(small - large, 2 * 1.5 * PHASE + 3 * 1.25 * READ)


def uneven_cine():
    """Frames at times that no common interval gives."""
    cine = make_cine()
    return replace(cine, meta=replace(cine.meta, frame_times_ms=(0.0, 31.0, 70.0, 100.0, 120.0)))


def test_slices_in_reverse_order_keep_their_positions():
    cines = [make_cine(2), make_cine(1), make_cine(0)]
    assert np.allclose((affine_ras(cines) @ [6, 4, 2, 1])[:3], CENTRE * [-1, -1, 1])


def test_dicom_has_frame_times_and_an_anonymous_patient(tmp_path):
    cine = uneven_cine()
    written(tmp_path, "real_time/dicom/", [cine])
    images = read_dicom(tmp_path / "real_time/dicom")
    assert [image.TemporalPositionTimeOffset * 1000 for image in images] == pytest.approx([0, 31, 70, 100, 120])
    (opened,) = open_dicom(tmp_path, (tmp_path / "real_time/dicom").glob("*.dcm"))
    assert opened.read_slice(0)[1].frame_times_ms == pytest.approx(cine.meta.frame_times_ms)
    written(tmp_path, "gated/dicom/", [replace(cine, meta=replace(cine.meta, is_one_beat=True))])
    images = read_dicom(tmp_path / "gated/dicom")
    assert [float(image.TriggerTime) for image in images] == [0, 31, 70, 100, 120]
    assert {image.PatientIdentityRemoved for image in images} == {"YES"}


def test_mrd_images_have_frame_times(tmp_path):
    (path,) = written(tmp_path, "out.h5", [uneven_cine()])
    with ismrmrd.Dataset(str(path), mode="r") as file:
        stamps = [file.read_image("image_0", frame).physiology_time_stamp[0] for frame in range(5)]
    assert stamps == [0, 12, 28, 40, 48]
