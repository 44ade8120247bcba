"""Enhanced MR files are read like the classic images of the same cine, also if other programs ordered their frames."""

from copy import deepcopy

import numpy as np
import pydicom
import pytest
from magnitude_series import assert_same, series

from cinerecon.errors import FileError, NotACineError
from cinerecon.io.export import Target, export
from cinerecon.io.magnitude import open_dicom, open_magnitude, open_one_magnitude
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.run import prepare
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine


@pytest.fixture
def cines():
    return series()


@pytest.fixture
def path(tmp_path, cines):
    """An Enhanced MR file of another program."""
    (path,) = export(cines, Target.parse(str(tmp_path / "cine.dcm")))
    edit(path, lambda image: setattr(image, "Manufacturer", "another"))
    return path


def edit(path, change):
    image = pydicom.dcmread(path)
    change(image)
    image.save_as(path)


def rearrange(image, frames):
    """Keep some frames of a file, in another order."""
    groups = list(image.PerFrameFunctionalGroupsSequence)
    image.PerFrameFunctionalGroupsSequence = [groups[n] for n in frames]
    image.PixelData, image.NumberOfFrames = image.pixel_array[list(frames)].tobytes(), len(frames)


def test_it_is_the_cine_that_was_written(path, cines):
    (opened,) = open_magnitude(path)
    assert_same(opened, cines, 1e-3)
    assert opened.files == (path,)
    assert not opened.read_slice(0)[1].warnings


@pytest.mark.parametrize("without", ["", "CardiacSynchronizationSequence"])
def test_frames_are_ordered_by_their_groups_and_not_by_their_place(path, cines, without):
    order = np.random.default_rng(0).permutation(sum(cine.n_frames for cine in cines))

    def change(image):
        rearrange(image, order)
        for groups in image.PerFrameFunctionalGroupsSequence if without else []:
            del groups[without]

    edit(path, change)
    (opened,) = open_magnitude(path)
    for number, cine in enumerate(cines):
        pixels, _ = opened.read_slice(number)
        expected = cine.magnitude / cine.magnitude.max()
        assert np.abs(pixels - expected).max() < 1e-3


def test_each_frame_has_its_own_scale_and_phase_images_are_excluded(path, cines):
    n = sum(cine.n_frames for cine in cines)

    def change(image):
        stored, shared = image.pixel_array, image.SharedFunctionalGroupsSequence[0]
        for name in ("MRImageFrameTypeSequence", "PixelValueTransformationSequence", "RealWorldValueMappingSequence"):
            del shared[name]
        frames = [deepcopy(groups) for groups in [*image.PerFrameFunctionalGroupsSequence] * 2]
        for number, groups in enumerate(frames):
            scale, kind = pydicom.Dataset(), pydicom.Dataset()
            scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = 1.0 + number, -3.0, "US"
            kind.FrameType = ["ORIGINAL", "PRIMARY", "M_FFE" if number < n else "PHASE MAP", "NONE"]
            groups.PixelValueTransformationSequence, groups.MRImageFrameTypeSequence = [scale], [kind]
        image.PerFrameFunctionalGroupsSequence, image.NumberOfFrames = frames, 2 * n
        image.PixelData = np.concatenate([stored, stored[::-1]]).tobytes()
        change.stored = stored.astype(float)

    edit(path, change)
    (opened,) = open_magnitude(path)
    n_frames, start = cines[0].n_frames, 0
    for number in range(len(cines)):
        pixels, meta = opened.read_pixels(number)
        frames = range(start, start + n_frames)
        expected = np.stack([change.stored[frame] * (1.0 + frame) - 3.0 for frame in frames])
        assert np.allclose(pixels, expected)
        assert f"DICOM frames excluded: {n} (phase, real or imaginary images)" in meta.warnings
        start += n_frames


def test_elements_of_private_groups_are_not_used(path, cines):
    """Philips repeats elements of classic images in a private group of each frame."""

    def change(image):
        for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
            item = pydicom.Dataset()
            item.RescaleSlope, item.RescaleIntercept, item.TriggerTime = 1.0 + number, 5, 1000 - number
            item.EchoTime, item.ImageType = number, ["ORIGINAL", "PRIMARY", "P_FFE", "P", "FFE"]
            block = groups.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
            block.add_new(0x0F, "SQ", [item])

    edit(path, change)
    (opened,) = open_magnitude(path)
    assert_same(opened, cines, 1e-3)
    assert not opened.read_slice(0)[1].warnings


@pytest.mark.parametrize("n_in_file", [1, 2, 4])
@pytest.mark.parametrize("is_concatenation", [True, False])
def test_a_series_in_several_files_without_times_is_in_the_order_of_their_numbers(
    path, cines, tmp_path, n_in_file, is_concatenation
):
    """Files with one frame, all slices of a time, or all times of a slice, which have no counters of time."""
    whole = pydicom.dcmread(path)
    n = whole.NumberOfFrames
    order = np.arange(n) if n_in_file == 4 else np.arange(n).reshape(2, 4).T.ravel()
    files = []
    for number, frames in enumerate(order.reshape(-1, n_in_file)):
        part = deepcopy(whole)
        rearrange(part, frames)
        for groups in part.PerFrameFunctionalGroupsSequence:
            del groups.CardiacSynchronizationSequence
            groups.FrameContentSequence[0].TemporalPositionIndex = 1
        part.SOPInstanceUID, part.InstanceNumber = pydicom.uid.generate_uid(), number + 1
        if is_concatenation:
            part.InstanceNumber, part.ConcatenationFrameOffsetNumber = 1, number * n_in_file
        files.append(tmp_path / f"{len(order) - number}.dcm")
        part.save_as(files[-1])
    (opened,) = open_dicom(tmp_path, files)
    for number, cine in enumerate(cines):
        pixels, _ = opened.read_slice(number)
        np.testing.assert_allclose(pixels, cine.magnitude / cine.magnitude.max(), atol=1e-3)


def test_copies_of_a_file_are_left_out_and_damaged_groups_are_named(path, cines, tmp_path):
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(path.read_bytes())
    (opened,) = open_dicom(tmp_path, [path, copy])
    assert_same(opened, cines, 1e-3)
    edit(copy, lambda image: setattr(image, "NumberOfFrames", 1))
    with pytest.raises(FileError, match="describes 8 frames, but counts 1"):
        open_magnitude(copy)
    edit(copy, lambda image: delattr(image, "PerFrameFunctionalGroupsSequence"))
    with pytest.raises(NotACineError, match="not complete Enhanced MR"):
        open_magnitude(copy)


def test_scans_are_simulated_and_cases_prepared_from_it(tmp_path):
    (path,) = export(series(n_slices=1, matrix=(48, 40)), Target.parse(str(tmp_path / "cine.dcm")))
    assert open_one_magnitude(path).n_slices == 1
    (data,) = simulate_cine(SimulateConfig(n_frames=4, ky=48, kx=40, n_coils=1), source=path)
    assert data.reference.shape == (4, 48, 40)
    report = prepare([path], tmp_path / "cases", PrepareConfig())
    assert (report.n_new, report.refused) == (1, ())
