"""Magnitude cines in DICOM files: grouped into slices, ordered in time; what is not a cine is excluded or refused."""

import numpy as np
import pydicom
import pytest
from magnitude_series import assert_same, series
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from cinerecon.errors import DataError, FileError, NotACineError
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.magnitude import is_dicom, open_dicom
from cinerecon.io.magnitude.dicom import LOSSY, SERIES
from cinerecon.io.plausibility import UNKNOWN_TIMES


@pytest.fixture
def cines(tmp_path):
    """Two slices of four frames, written to the folder of the test as by another program."""
    cines = series()
    write_dicom(tmp_path, cines)
    edit(tmp_path, set_all(Manufacturer="another"))
    return cines


def open_folder(folder):
    return open_dicom(folder, [file for file in folder.iterdir() if is_dicom(file)])


def edit(folder, change, pattern="*.dcm"):
    """Change the DICOM files of a folder; `change` gets the dataset and the number of the file."""
    for number, file in enumerate(sorted(folder.glob(pattern))):
        image = pydicom.dcmread(file)
        change(image, number)
        image.save_as(file)


def set_all(**values):
    return lambda image, _: [setattr(image, name, value) for name, value in values.items()]


def test_a_series_is_read_as_it_was_written(tmp_path, cines):
    (opened,) = open_folder(tmp_path)
    assert_same(opened, cines, 1e-3)
    assert (opened.subject, opened.is_interpolated, len(opened.files)) == ("", False, 8)
    assert not opened.read_slice(0)[1].warnings
    assert not is_dicom(tmp_path / "missing")


def test_interpolation_is_found_and_the_patient_is_hidden(tmp_path, cines):
    edit(tmp_path, set_all(AcquisitionMatrix=[0, 12, 8, 0], PatientID="19700101-1234"))
    (opened,) = open_folder(tmp_path)
    assert opened.is_interpolated
    assert opened.subject.startswith("person-")
    assert "1970" not in opened.subject


@pytest.mark.parametrize("jitter_mm", [1e-5, 0.03])
def test_positions_that_differ_by_rounding_are_one_slice(tmp_path, cines, jitter_mm):
    rng = np.random.default_rng(0)

    def change(image, _):
        position = np.array(image.ImagePositionPatient, float) + jitter_mm * rng.uniform(-1, 1, 3)
        image.ImagePositionPatient = [f"{value:.8g}" for value in position]

    edit(tmp_path, change)
    (opened,) = open_folder(tmp_path)
    assert opened.n_slices == 2
    np.testing.assert_allclose(opened.read_slice(1)[0], cines[1].magnitude / cines[1].magnitude.max(), atol=1e-3)


def test_a_slice_that_moves_is_refused(tmp_path, cines):
    def change(image, number):
        image.ImagePositionPatient = [float(value) + 0.4 * (number % 2) for value in image.ImagePositionPatient]

    edit(tmp_path, change)
    with pytest.raises(DataError, match=r"images of one slice differ in position by 0\.69 mm, its thickness is 8 mm"):
        open_folder(tmp_path)


def test_copies_are_read_once(tmp_path, cines):
    for file in list(tmp_path.glob("*.dcm")):
        (tmp_path / f"{file.stem} (1).dcm").write_bytes(file.read_bytes())
    (opened,) = open_folder(tmp_path)
    assert_same(opened, cines, 1e-3)
    assert opened.read_slice(0)[1].warnings == (
        "DICOM files excluded: 8 (copies of other files, same SOP Instance UID)",
    )


def test_copies_under_new_uids_are_refused(tmp_path, cines):
    for file in list(tmp_path.glob("*.dcm")):
        image = pydicom.dcmread(file)
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.save_as(tmp_path / f"{file.stem} (1).dcm")
    with pytest.raises(DataError, match="8 images of one slice have no temporal order"):
        open_folder(tmp_path)


@pytest.mark.parametrize("element", ["EchoNumbers", "AcquisitionNumber"])
def test_two_images_per_time_are_two_cines_where_an_element_distinguishes_them(tmp_path, cines, element):
    for file in list(tmp_path.glob("*.dcm")):
        image = pydicom.dcmread(file)
        setattr(image, element, 1)
        image.save_as(file)
        setattr(image, element, 2)
        image.SOPInstanceUID = generate_uid()
        image.save_as(tmp_path / f"second_{file.name}")
    (opened,) = open_folder(tmp_path)
    assert opened.n_slices == 4
    assert [len(opened.read_slice(n)[0]) for n in range(4)] == [4] * 4
    np.testing.assert_array_equal(opened.read_slice(0)[0], opened.read_slice(1)[0])


def test_frames_follow_the_temporal_position_not_the_instance_number(tmp_path, cines):
    def change(image, _):
        image.TriggerTime = None
        image.InstanceNumber = 100 - int(image.TemporalPositionIdentifier)

    edit(tmp_path, change)
    magnitude, meta = open_folder(tmp_path)[0].read_slice(0)
    np.testing.assert_allclose(magnitude, cines[0].magnitude / cines[0].magnitude.max(), atol=1e-3)
    assert meta.frame_times_ms == ()


def test_frames_follow_the_trigger_time_where_there_is_one(tmp_path, cines):
    edit(tmp_path, lambda image, _: setattr(image, "TemporalPositionIdentifier", 5 - image.TemporalPositionIdentifier))
    magnitude, meta = open_folder(tmp_path)[0].read_slice(0)
    np.testing.assert_allclose(magnitude, cines[0].magnitude / cines[0].magnitude.max(), atol=1e-3)
    assert meta.frame_times_ms == (0, 40, 80, 120)


def test_a_missing_frame_gives_a_warning(tmp_path, cines):
    (tmp_path / "slice00_frame001.dcm").unlink()
    (opened,) = open_folder(tmp_path)
    missing = ("slices have 3 or 4 frames: files may be missing",)
    missing += ("a slice has 3 frames, its header says 4: files may be missing",)
    assert opened.read_slice(0)[1].warnings == missing  # of three frames the interval is not known
    edit(tmp_path, lambda image, number: setattr(image, "TriggerTime", [0, 40, 160, 200][number]), "slice01*.dcm")
    warning = "120 ms between frames 1 and 2, elsewhere 40 ms: a frame may be missing"
    assert open_folder(tmp_path)[0].read_slice(1)[1].warnings == (*missing, warning)


COLOUR = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
OTHERS = {
    "colour images": COLOUR,
    "phase, real or imaginary images": {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
    "phase, real or imaginary images (Philips)": {"ImageType": ["ORIGINAL", "PRIMARY", "P_FFE", "P", "FFE"]},
    "image type localizer": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
    "image type t1 map": {"ImageType": ["DERIVED", "PRIMARY", "T1_MAP"]},
    "image type mosaic": {"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]},
    "modality SEG": {"Modality": "SEG"},
    "photometric interpretation MONOCHROME1": {"PhotometricInterpretation": "MONOCHROME1"},
    "several frames in one file that is not complete Enhanced MR": {"NumberOfFrames": 3},
    "no ImagePositionPatient": {"ImagePositionPatient": None},
    "colour images: photometric interpretation PALETTE COLOR": {"PhotometricInterpretation": "PALETTE COLOR"},
    "not MR images": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
}


@pytest.mark.parametrize(("reason", "values"), OTHERS.items(), ids=OTHERS)
def test_what_is_not_a_magnitude_cine_is_excluded_and_the_rest_is_read(tmp_path, cines, reason, values):
    write_dicom(tmp_path / "other", series(1))
    edit(tmp_path / "other", set_all(**values))
    reason = reason.removesuffix(" (Philips)")
    with pytest.raises(NotACineError) as caught:
        open_folder(tmp_path / "other")
    assert reason in caught.value.what
    for file in list((tmp_path / "other").glob("*.dcm")):
        file.rename(tmp_path / f"other_{file.name}")
    (opened,) = open_folder(tmp_path)
    assert_same(opened, cines, 1e-3)
    (warning,) = opened.read_slice(0)[1].warnings
    assert warning.startswith("DICOM files excluded: 4 (")
    assert reason in warning


def test_a_medium_with_an_index_is_read(tmp_path, cines):
    index = pydicom.FileDataset("", {}, preamble=b"\0" * 128, file_meta=pydicom.dataset.FileMetaDataset())
    index.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    index.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    index.file_meta.TransferSyntaxUID, index.FileSetID = ExplicitVRLittleEndian, "CINE"
    index.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    for file in list(tmp_path.glob("*.dcm")):
        file.rename(tmp_path / f"IM{file.stem}")
    (opened,) = open_folder(tmp_path)
    assert_same(opened, cines, 1e-3)
    assert opened.read_slice(0)[1].warnings == ("DICOM files excluded: 1 (an index of images, DICOMDIR)",)


def test_philips_magnitude_images_are_read(tmp_path, cines):
    edit(tmp_path, set_all(ImageType=["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"]))
    assert_same(open_folder(tmp_path)[0], cines, 1e-3)


def test_single_images_are_no_cine(tmp_path, cines):
    for file in sorted(tmp_path.glob("*_frame00[123].dcm")):
        file.unlink()
    assert open_folder(tmp_path) == []


def test_images_of_another_size_are_another_slice(tmp_path, cines):
    write_dicom(tmp_path / "other", series(1, matrix=(20, 18)))
    for file in list((tmp_path / "other").glob("*.dcm")):
        image = pydicom.dcmread(file)
        first = pydicom.dcmread(tmp_path / "slice00_frame000.dcm")
        for name in SERIES:
            setattr(image, name, getattr(first, name))
        image.save_as(tmp_path / f"other_{file.name}")
    (opened,) = open_folder(tmp_path)
    assert sorted(opened.read_slice(n)[0].shape for n in range(3)) == [(4, 15, 12), (4, 15, 12), (4, 20, 18)]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_files_without_a_preamble_are_read(tmp_path, cines, syntax):
    for file in list(tmp_path.glob("*.dcm")):
        plain = pydicom.Dataset()
        plain.update(pydicom.dcmread(file))
        plain.save_as(file, implicit_vr=syntax.is_implicit_VR, little_endian=True)
        assert file.read_bytes()[128:132] != b"DICM"
    assert_same(open_folder(tmp_path)[0], cines, 1e-3)


def test_the_rescale_of_each_image_is_applied(tmp_path, cines):
    def change(image, number):
        image.RescaleSlope, image.RescaleIntercept = 1 + number, 7
        image.PixelData = (image.pixel_array // (1 + number)).astype("<u2").tobytes()

    edit(tmp_path, change)
    values = open_folder(tmp_path)[0].read_pixels(0)[0]
    scale = 4095 / max(float(cine.magnitude.max()) for cine in cines)
    assert np.abs(values - 7 - scale * cines[0].magnitude).max() < 4


def test_a_damaged_file_is_an_error(tmp_path, cines):
    file = sorted(tmp_path.glob("*.dcm"))[2]
    file.write_bytes(file.read_bytes()[:-20])
    (opened,) = open_folder(tmp_path)
    with pytest.raises(FileError, match="cannot read the pixels") as caught:
        opened.read_slice(0)
    assert caught.value.where == str(file)
    edit(tmp_path, set_all(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]))
    with pytest.raises(FileError, match="directions of the image are not valid"):
        open_folder(tmp_path)


def test_two_series_in_a_folder_are_two_cines(tmp_path):
    write_dicom(tmp_path / "a", series(1))
    write_dicom(tmp_path / "b", series(2))
    edit(tmp_path / "b", set_all(SeriesInstanceUID=generate_uid()))
    edit(tmp_path / "b", lambda image, _: setattr(image, "SOPInstanceUID", generate_uid()))
    for number, file in enumerate([*tmp_path.glob("a/*.dcm"), *tmp_path.glob("b/*.dcm")]):
        image = pydicom.dcmread(file)
        image.SeriesNumber = 4 if file.parent.name == "a" else 9
        image.save_as(tmp_path / f"{number}.dcm")
    assert {(cine.name, cine.n_slices) for cine in open_folder(tmp_path)} == {("series4", 1), ("series9", 2)}
    edit(tmp_path, set_all(SeriesNumber=4))
    assert {cine.name for cine in open_folder(tmp_path)} == {"series4-1", "series4-2"}


def warnings_of(folder, number=0):
    return open_folder(folder)[0].read_slice(number)[1].warnings


def test_images_of_other_contrast_are_no_frames(tmp_path, cines):
    """An inversion recovery series has a contrast for each image, and is no cine although its instance numbers fit."""
    edit(tmp_path, lambda image, number: setattr(image, "InversionTime", 100 + 50 * number))
    with pytest.raises(NotACineError, match="images of a slice differ in InversionTime"):
        open_folder(tmp_path)


@pytest.mark.parametrize("element", ["EchoTime", "FlipAngle"])
def test_each_contrast_is_a_cine_of_its_own_in_spite_of_different_times(tmp_path, cines, element):
    edit(tmp_path, lambda image, _: setattr(image, element, 10))
    for file in list(tmp_path.glob("*.dcm")):
        image = pydicom.dcmread(file)
        setattr(image, element, 20)
        image.SOPInstanceUID, image.TriggerTime = generate_uid(), image.TriggerTime + 3
        image.PixelData = (image.pixel_array // 2).astype("<u2").tobytes()
        image.save_as(tmp_path / f"second_{file.name}")
    (opened,) = open_folder(tmp_path)
    assert [len(opened.read_pixels(n)[0]) for n in range(4)] == [4] * 4
    first, second = (opened.read_pixels(n)[0] for n in (0, 1))
    np.testing.assert_array_equal(second, first // 2)
    assert any(f"differ in {element}" in text for text in warnings_of(tmp_path))


def test_repetitions_that_interleave_in_time_are_two_cines(tmp_path, cines):
    edit(tmp_path, set_all(AcquisitionNumber=1))
    for file in list(tmp_path.glob("*.dcm")):
        image = pydicom.dcmread(file)
        image.SOPInstanceUID, image.TriggerTime, image.AcquisitionNumber = generate_uid(), image.TriggerTime + 3, 2
        image.save_as(tmp_path / f"second_{file.name}")
    (opened,) = open_folder(tmp_path)
    assert [opened.read_slice(n)[1].frame_times_ms for n in range(4)] == [(0, 40, 80, 120)] * 4
    assert "several cines of a slice, by AcquisitionNumber" in warnings_of(tmp_path)


def test_acquisitions_one_after_the_other_are_one_cine(tmp_path, cines):
    edit(tmp_path, lambda image, _: setattr(image, "AcquisitionNumber", 1 + (image.TemporalPositionIdentifier > 2)))
    assert_same(open_folder(tmp_path)[0], cines, 1e-3)


def test_the_same_uid_for_different_images_gives_a_warning_and_all_are_read(tmp_path, cines):
    edit(tmp_path, set_all(SOPInstanceUID="1.2.3"))
    (opened,) = open_folder(tmp_path)
    assert_same(opened, cines, 1e-3)
    text = "DICOM files with different images that have the same SOP Instance UID: 7"
    assert opened.read_slice(0)[1].warnings == (text,)


def test_two_patients_with_the_same_series_uid_are_two_cines(tmp_path, cines):
    edit(tmp_path, set_all(PatientID="P-1970"), "slice00*")
    edit(tmp_path, set_all(PatientID="P-1971"), "slice01*")
    opened = open_folder(tmp_path)
    assert [cine.n_slices for cine in opened] == [1, 1]
    assert len({cine.subject for cine in opened}) == 2


def test_frames_without_times_give_a_warning(tmp_path, cines):
    def change(image, _):
        del image.TriggerTime, image.TemporalPositionIdentifier

    edit(tmp_path, change)
    texts = ("the order of the images is that of InstanceNumber", UNKNOWN_TIMES)
    assert warnings_of(tmp_path) == texts


@pytest.mark.parametrize("factor", [0.001, 1000])
def test_times_in_another_unit_give_a_warning(tmp_path, cines, factor):
    edit(tmp_path, lambda image, _: setattr(image, "TriggerTime", image.TriggerTime * factor))
    assert any("check the unit of the times" in text for text in warnings_of(tmp_path))


def test_single_images_next_to_a_cine_give_a_warning(tmp_path, cines):
    edit(tmp_path, lambda image, _: setattr(image, "ImagePositionPatient", [0, 0, -300]), "slice01_frame000.dcm")
    assert "images of a series excluded: 1 (the only time point at their position)" in warnings_of(tmp_path)


def test_phase_images_of_ge_are_excluded(tmp_path, cines):
    def change(image, number):
        image.add_new((0x0043, 0x102F), "SS", int(number >= 4))

    edit(tmp_path, change)
    (opened,) = open_folder(tmp_path)
    assert opened.n_slices == 1
    assert "DICOM files excluded: 4 (phase, real or imaginary images)" in opened.read_slice(0)[1].warnings


def test_compressed_images_that_cannot_be_decoded_do_not_exclude_the_others(tmp_path, cines):
    def change(image, _):
        image.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.100")  # MPEG2, of no use for images
        image.PixelData = encapsulate([b"\0" * 16])
        image["PixelData"].is_undefined_length = True

    edit(tmp_path, change, "slice01*")
    (opened,) = open_folder(tmp_path)
    assert opened.n_slices == 1
    (text,) = (text for text in opened.read_slice(0)[1].warnings if "compressed" in text)
    assert text.startswith("DICOM files excluded: 4 (compressed as MPEG2")


@pytest.mark.parametrize("sign", [0, 1], ids=["unsigned", "signed"])
def test_pixels_in_the_upper_bits_are_read(tmp_path, cines, sign):
    """Old files store 12 bits in the upper bits of 16, with overlays in the lower ones."""

    def change(image, _):
        image.PixelData = (image.pixel_array // (1 + sign) << 4 | 0xA).astype("<u2").tobytes()
        image.HighBit, image.PixelRepresentation = 15, sign

    edit(tmp_path, change)
    assert_same(open_folder(tmp_path)[0], cines, 1e-3)


def test_compressed_images_are_read_and_losses_are_reported(tmp_path, cines):
    edit(tmp_path, lambda image, _: image.compress(pydicom.uid.RLELossless))
    (opened,) = open_folder(tmp_path)
    assert_same(opened, cines, 1e-3)
    assert not opened.read_slice(0)[1].warnings
    edit(tmp_path, set_all(LossyImageCompression="01"), "slice01*")
    assert [LOSSY in warnings_of(tmp_path, number) for number in (0, 1)] == [False, True]


def test_bits_that_are_not_stored_are_ignored(tmp_path, cines):
    """Old files hold overlays in the four bits above the twelve of the image."""
    edit(tmp_path, lambda image, _: setattr(image, "PixelData", (image.pixel_array | 0xA000).astype("<u2").tobytes()))
    assert_same(open_folder(tmp_path)[0], cines, 1e-3)


@pytest.mark.parametrize(
    ("element", "value"), [("NumberOfFrames", "x"), ("TriggerTime", "x"), ("SeriesNumber", "x"), ("EchoTime", "x")]
)
def test_text_in_place_of_a_number_is_no_crash(tmp_path, cines, element, value):
    edit(tmp_path, lambda image, _: image.__delitem__(element) if element in image else None)
    for file in tmp_path.glob("*.dcm"):
        image = pydicom.dcmread(file)
        with pydicom.config.disable_value_validation():
            image.add_new(element, "LO", value)
            image.save_as(file)
    try:
        assert len(open_folder(tmp_path)[0].read_slice(0)[0]) == 4
    except FileError as error:
        assert "damaged" in error.what
