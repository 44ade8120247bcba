"""Enhanced MR files: values, positions, times and identifiers are those of classic images; other programs read them."""

import shutil
import subprocess
import warnings
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest
from oblique_cine import make_cine
from pydicom.tag import Tag
from raw_scan import header_xml

import cinerecon
from cinerecon.errors import ConfigError, FileError
from cinerecon.image import as_map
from cinerecon.io.export import Target, export, make_patient
from cinerecon.io.export.dicom import holds_reconstruction, is_own
from cinerecon.io.export.dicom_elements import PRIVATE_CREATOR, PRIVATE_GROUP
from cinerecon.io.export.nifti import LPS_TO_RAS, affine_ras
from cinerecon.provenance import Provenance
from cinerecon.verdict import Verdict

VERDICT = Verdict(
    status="doubtful",
    reasons=("much noise",),
    psnr=31.0,
    psnr_low=29.0,
    psnr_high=33.0,
    heart_error=0.1,
    heart_error_low=0.05,
    heart_error_high=0.2,
    usual_psnr=35.0,
    risk=0.4,
)
SEQUENCE = "<sequenceParameters><TR>3.1</TR><TE>1.4</TE><flipAngle_deg>50</flipAngle_deg></sequenceParameters>"
SPACE = {"matrix": (24, 9), "fov": (640.0, 240.0), "recon": (12, 9), "recon_fov": (320.0, 240.0), "limits": {}}


def make_stack(n=3, **options):
    provenance = Provenance("a", "study", "frame", "series")
    return [replace(make_cine(number, is_one_beat=True, **options), provenance=provenance) for number in range(n)]


def written(tmp_path, cines, name="cine.dcm", **options):
    return [pydicom.dcmread(path) for path in export(cines, Target.parse(str(tmp_path / name)), **options)]


def frames_of(image):
    """The functional groups of each frame."""
    return list(image.PerFrameFunctionalGroupsSequence)


def test_values_positions_and_times_are_those_of_classic_images(tmp_path):
    cines = make_stack()
    (image,) = written(tmp_path, cines)
    export(cines, Target.parse(f"{tmp_path}/dicom/"))
    classic = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom").glob("*.dcm"))]
    shared = image.SharedFunctionalGroupsSequence[0]
    assert image.SOPClassUID == "1.2.840.10008.5.1.4.1.1.4.1"
    assert image.NumberOfFrames == len(frames_of(image)) == len(classic) == 15
    np.testing.assert_array_equal(image.pixel_array, [one.pixel_array for one in classic])
    for one, groups in zip(classic, frames_of(image), strict=True):
        assert groups.PlanePositionSequence[0].ImagePositionPatient == one.ImagePositionPatient
        assert groups.CardiacSynchronizationSequence[0].NominalCardiacTriggerDelayTime == one.TriggerTime
        assert groups.CardiacSynchronizationSequence[0].RRIntervalTimeNominal == one.NominalInterval == 150
        assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == one.ImageOrientationPatient
        for name in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
            assert shared.PixelMeasuresSequence[0][name].value == one[name].value
        assert shared.FrameVOILUTSequence[0].WindowWidth == one.WindowWidth
        assert shared.RealWorldValueMappingSequence == one.RealWorldValueMappingSequence
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "SeriesDescription", "PatientPosition"):
        assert image[name].value == classic[0][name].value
    assert image.SeriesInstanceUID != classic[0].SeriesInstanceUID
    assert image.SeriesNumber != classic[0].SeriesNumber


def test_frames_are_ordered_by_slice_and_time(tmp_path):
    (image,) = written(tmp_path, make_stack(2))
    order = [groups.FrameContentSequence[0].DimensionIndexValues for groups in frames_of(image)]
    assert [list(values) for values in order] == [[1, s, t] for s in (1, 2) for t in range(1, 6)]
    uid = image.DimensionOrganizationSequence[0].DimensionOrganizationUID
    for item in image.DimensionIndexSequence:
        assert item.DimensionOrganizationUID == uid
        group = frames_of(image)[0][item.FunctionalGroupPointer][0]
        assert item.DimensionIndexPointer in group
    assert image.DimensionIndexSequence[2].DimensionIndexPointer == Tag("NominalCardiacTriggerDelayTime")


@pytest.mark.parametrize("times", [(), tuple(50.0 * np.arange(5))], ids=["unknown", "real time"])
def test_frames_without_a_trigger(tmp_path, times):
    cines = [replace(cine, meta=replace(cine.meta, is_one_beat=False, frame_times_ms=times)) for cine in make_stack(1)]
    (image,) = written(tmp_path, cines)
    for frame, groups in enumerate(frames_of(image)):
        assert "CardiacSynchronizationSequence" not in groups
        assert ("TemporalPositionSequence" in groups) == bool(times)
        if times:
            assert groups.TemporalPositionSequence[0].TemporalPositionTimeOffset == pytest.approx(0.05 * frame)
    assert image.DimensionIndexSequence[2].DimensionIndexPointer == Tag("TemporalPositionIndex")


def test_without_geometry_none_is_written(tmp_path):
    (image,) = written(tmp_path, make_stack(1, geometry=False))
    assert not frames_of(image)[0].PlanePositionSequence[0]
    assert not image.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    assert image.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == [1.5, 1.25]


def nibabel_volume(path):
    with warnings.catch_warnings(action="ignore"):  # its readers are experimental
        from nibabel.nicom.dicomwrappers import wrapper_from_file
    return wrapper_from_file(str(path))


def test_nibabel_finds_every_pixel_in_its_place(tmp_path):
    """The magnitude of a pixel and its position are those that the NIfTI file has."""
    cines = make_stack(1)
    (image,) = written(tmp_path, cines)
    plane = nibabel_volume(tmp_path / "cine.dcm")
    values, affine = plane.get_data(), LPS_TO_RAS @ plane.affine
    index = np.indices(values.shape[:2]).reshape(2, -1)
    positions = affine[:3, :2] @ index + affine[:3, 3:]
    x, y, z = np.linalg.solve(affine_ras(cines), np.vstack([positions, np.ones(index.shape[1])]))[:3]
    assert np.abs(z).max() < 1e-3
    x, y = (np.round(part).astype(int) for part in (x, y))
    scale = image.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0].RealWorldValueSlope
    expected = np.abs(cines[0].image)[:, y, x].T
    np.testing.assert_allclose(values[:, :, 0][tuple(index)] * scale, expected, atol=0.51 * scale)


def test_nibabel_finds_the_slices_and_frames(tmp_path):
    """It sorts the slices along the normal, here from the last to the first."""
    (image,) = written(tmp_path, make_stack(3))
    values = nibabel_volume(tmp_path / "cine.dcm").get_data()[:, :, ::-1]
    rows, columns = image.Rows, image.Columns
    np.testing.assert_array_equal(values, image.pixel_array.reshape(3, 5, rows, columns).transpose(2, 3, 0, 1))


def test_header_verdict_and_warnings(tmp_path):
    xml = header_xml(**SPACE, extra=SEQUENCE)
    cines = [replace(cine, header_xml=xml) for cine in make_stack(2, warnings=("noise is unknown",))]
    cines[1] = replace(cines[1], verdict=VERDICT)
    (image,) = written(tmp_path, cines)
    shared = image.SharedFunctionalGroupsSequence[0]
    assert shared.MREchoSequence[0].EffectiveEchoTime == 1.4
    for text in ("not for diagnostic use", f"slice 1: {VERDICT.remark}", "warning: noise is unknown", "series_sha256"):
        assert text in image.ImageComments
    assert PRIVATE_CREATOR not in str(frames_of(image)[0])
    (item,) = frames_of(image)[-1].private_block(PRIVATE_GROUP, PRIVATE_CREATOR)[0x10].value
    block = item.private_block(PRIVATE_GROUP, PRIVATE_CREATOR)
    assert (block[0x01].value, block[0x02].value, block[0x06].value) == ("doubtful", "much noise", 0.4)
    assert list(block[0x03].value) == [31, 29, 33]
    assert is_own(tmp_path / "cine.dcm")
    assert holds_reconstruction(tmp_path / "cine.dcm")


def test_stacks_and_maps_are_files_of_their_own(tmp_path):
    cines = [*make_stack(2), replace(make_stack(1, spacing=90.0)[0], meta=make_cine(4, spacing=90.0).meta)]
    velocity = np.linspace(-150, 149, 540, dtype=np.float32).reshape(5, 9, 12)
    cines = [replace(cine, velocity=velocity, venc_cm_s=150.0) for cine in cines]
    paths = export(cines, Target.parse(f"{tmp_path}/cine.dcm"))
    assert [path.name for path in paths] == ["cine.dcm", "cine.2.dcm", "cine.velocity.dcm", "cine.velocity.2.dcm"]
    images = [pydicom.dcmread(path) for path in paths]
    assert len({image.SeriesInstanceUID for image in images}) == len({image.SOPInstanceUID for image in images}) == 4
    assert len({image.StudyInstanceUID for image in images}) == 1
    item = images[2].SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence[0]
    shown = images[2].pixel_array[:5] * float(item.RescaleSlope) + float(item.RescaleIntercept)
    assert np.sort(shown.ravel()) == pytest.approx(np.sort(velocity.ravel()), abs=150 / 2048)
    assert images[2].ComplexImageComponent == "PHASE"
    assert written(tmp_path, [as_map(cines[0], "velocity")], "v.dcm")[0].AcquisitionContrast == "FLOW_ENCODED"


def test_stacks_of_unknown_origin_are_one_study_with_the_same_identifiers_each_time(tmp_path):
    cines = [make_cine(0), make_cine(1), make_cine(2, matrix=(8, 8))]
    first, again = (written(tmp_path / name, cines) for name in ("a", "b"))
    assert len({image.StudyInstanceUID for image in (*first, *again)}) == 1
    assert [image.SOPInstanceUID for image in first] == [image.SOPInstanceUID for image in again]


def test_the_patient_is_written(tmp_path):
    (image,) = written(tmp_path, make_stack(1), patient=make_patient("7", "Dœ^Jäne", "A1"))
    assert (image.PatientID, image.PatientName, image.AccessionNumber) == ("7", "Dœ^Jäne", "A1")
    (image,) = written(tmp_path, make_stack(1), "b.dcm")
    assert image.PatientName == "Anonymous^"
    cinerecon.export(make_stack(1), tmp_path / "c.dcm", patient=make_patient("7"))
    with pytest.raises(ConfigError, match="only to DICOM"):
        cinerecon.export(make_stack(1), tmp_path / "c.nii", patient=make_patient("7"))


def test_dicom_of_other_programs_is_never_replaced(tmp_path):
    target = Target.parse(f"{tmp_path}/cine.dcm")
    (image,) = written(tmp_path, make_stack(1))
    with pytest.raises(FileError, match="already exists"):
        target.check()
    target.check(force=True)
    image.Manufacturer = "SCANNER"
    image.save_as(target.path)
    with pytest.raises(FileError, match="not written by cinerecon"):
        target.check(force=True)


@pytest.mark.parametrize("options", [{"frames": 1}, {"frames": 2}, {"frames": 300}, {"matrix": (1, 40)}])
def test_unusual_sizes(tmp_path, options):
    cines = make_stack(1, **options)
    (image,) = written(tmp_path, cines)
    assert image.NumberOfFrames == cines[0].n_frames == len(frames_of(image))
    assert image.pixel_array.size == cines[0].image.size


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("options", [{}, {"geometry": False}, {"frames": 1}, {"frame_times_ms": ()}])
def test_files_are_valid(tmp_path, options):
    cines = [replace(cine, header_xml=header_xml(**SPACE, extra=SEQUENCE)) for cine in make_stack(2, **options)]
    cines = [replace(cine, verdict=VERDICT, noise=np.ones(cine.image.shape, np.float32)) for cine in cines]
    for path in export(cines, Target.parse(f"{tmp_path}/cine.dcm")):
        text = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True).stderr
        assert not [line for line in text.splitlines() if line.startswith("Error")], text


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
def test_dcm2niix_finds_one_volume_over_time(tmp_path):
    cines = make_stack(3, matrix=(9, 12))
    for name in ("in/cine.dcm", "cine.nii"):
        export(cines, Target.parse(f"{tmp_path}/{name}"))
    subprocess.run(["dcm2niix", "-z", "n", "-f", "x", "-o", tmp_path, tmp_path / "in"], check=True, capture_output=True)
    image, ours = nibabel.load(tmp_path / "x.nii"), nibabel.load(tmp_path / "cine.nii")
    assert image.shape[2:] == ours.shape[2:] == (3, 5)
    sums, expected = (volume.get_fdata().sum((0, 1)) for volume in (image, ours))
    np.testing.assert_allclose(sums / sums.sum(), expected / expected.sum(), rtol=1e-3)
