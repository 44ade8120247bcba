"""Frames of DICOM series whose trigger times start again: real-time series, and cines that were measured twice."""

import numpy as np
import pydicom
import pytest
from magnitude_series import series
from pydicom.uid import generate_uid

from cinerecon.errors import DataError
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.magnitude import is_dicom, open_dicom

N_FRAMES = 12
STEP_MS = 60.0


def write(folder, elements):
    """A slice of 12 frames; `elements` has the values of the elements of each frame, None to remove one."""
    (cine,) = series(1, n_frames=N_FRAMES)
    write_dicom(folder, [cine])
    for number, file in enumerate(sorted(folder.glob("*.dcm"))):
        image = pydicom.dcmread(file)
        for name, value in elements(number).items():
            if value is None:
                delattr(image, name)
            else:
                setattr(image, name, value)
        image.save_as(file)
    return cine.magnitude / cine.magnitude.max()


def opened(folder):
    (cine,) = open_dicom(folder, [file for file in folder.iterdir() if is_dicom(file)])
    return cine


def clock(milliseconds):
    return f"120{milliseconds // 60_000:.0f}{milliseconds / 1000 % 60:09.6f}"


def real_time(number, **others):
    """A frame of a real-time series at 330 ms from beat to beat."""
    trigger = f"{(7 + STEP_MS * number) % 331:.1f}"
    return {"TriggerTime": trigger, "AcquisitionTime": clock(STEP_MS * number), "ContentTime": "120100"} | others


@pytest.mark.parametrize(
    "others", [{}, {"TemporalPositionIdentifier": None}, {"InstanceNumber": 3, "TemporalPositionIdentifier": None}]
)
def test_real_time_frames_follow_the_acquisition_time(tmp_path, others):
    expected = write(tmp_path, lambda number: real_time(number, **others))
    magnitude, meta = opened(tmp_path).read_slice(0)
    np.testing.assert_allclose(magnitude, expected, atol=1e-3)
    assert meta.frame_times_ms == pytest.approx(STEP_MS * np.arange(N_FRAMES))
    assert meta.is_real_time
    assert any("real-time images, in the order of AcquisitionTime" in text for text in meta.warnings)


def test_equal_trigger_times_of_two_heartbeats_do_not_matter(tmp_path):
    expected = write(tmp_path, lambda number: real_time(number, TriggerTime=STEP_MS * (number % 4)))
    np.testing.assert_allclose(opened(tmp_path).read_slice(0)[0], expected, atol=1e-3)


def test_real_time_frames_without_acquisition_times_follow_the_temporal_position(tmp_path):
    expected = write(tmp_path, lambda number: {"TriggerTime": f"{(7 + STEP_MS * number) % 331:.1f}"})
    magnitude, meta = opened(tmp_path).read_slice(0)
    np.testing.assert_allclose(magnitude, expected, atol=1e-3)
    assert meta.frame_times_ms == ()
    assert any("in the order of TemporalPositionIdentifier" in text for text in meta.warnings)
    assert any("times of the frames are unknown" in text for text in meta.warnings)


def test_frames_that_only_the_number_orders_are_refused_if_trigger_times_contradict_it(tmp_path):
    def elements(number):
        return {"TriggerTime": STEP_MS * (number % 6) + 5 * (number // 6), "TemporalPositionIdentifier": None}

    write(tmp_path, elements)
    with pytest.raises(DataError, match="the trigger times of a slice restart: several heartbeats or measurements"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("numbers", "n_warnings"),
    [
        (np.arange(N_FRAMES)[::-1], 0),
        (np.roll(np.arange(N_FRAMES), 5), 0),
        ((np.arange(N_FRAMES) * 5) % N_FRAMES, 0),
        (np.argsort([str(n) for n in range(N_FRAMES)], kind="stable"), 1),
        (np.arange(N_FRAMES) % 2 * 6 + np.arange(N_FRAMES) // 2, 1),
    ],
    ids=["descending", "from the middle", "any order", "by text", "even before odd"],
)
def test_the_trigger_time_of_a_gated_cine_counts_in_any_order_of_files(tmp_path, numbers, n_warnings):
    expected = write(
        tmp_path,
        lambda number: {"InstanceNumber": int(numbers[number]) + 1, "TemporalPositionIdentifier": None},
    )
    magnitude, meta = opened(tmp_path).read_slice(0)
    np.testing.assert_allclose(magnitude, expected, atol=1e-3)
    assert meta.frame_times_ms == pytest.approx(40 * np.arange(N_FRAMES))
    assert len(meta.warnings) == n_warnings


def test_a_gated_cine_that_starts_in_the_middle_of_the_heartbeat(tmp_path):
    expected = write(tmp_path, lambda number: {"TriggerTime": (400 + 71 * number) % 852})
    np.testing.assert_allclose(opened(tmp_path).read_slice(0)[0], np.roll(expected, -7, 0), atol=1e-3)
    assert not opened(tmp_path).read_slice(0)[1].warnings


@pytest.mark.parametrize("numbers", [np.arange(N_FRAMES)[::-1], (np.arange(N_FRAMES) * 5) % N_FRAMES])
@pytest.mark.parametrize("element", ["InstanceNumber", "TemporalPositionIdentifier"])
def test_a_missing_trigger_time_does_not_make_the_others_invalid(tmp_path, numbers, element):
    """Frame 3 has no trigger time; the frames cannot be ordered by an element that contradicts the other times."""

    def elements(order):
        others = {"InstanceNumber": 3, "TemporalPositionIdentifier": None}
        return lambda number: {
            "TriggerTime": None if number == 3 else 40 * number,
            **others,
            element: int(order[number]) + 1,
        }

    write(tmp_path, elements(numbers))
    with pytest.raises(DataError, match=f"the order of {element} contradicts the trigger times; 1 image without"):
        opened(tmp_path)
    for order in (np.arange(N_FRAMES), np.roll(np.arange(N_FRAMES), 5)):
        expected = write(tmp_path, elements(order))
        np.testing.assert_allclose(opened(tmp_path).read_slice(0)[0], expected[np.argsort(order)], atol=1e-3)


@pytest.mark.parametrize("offset_ms", [0, 2, 20])
@pytest.mark.parametrize("step_ms", [0, 2.5, 40])
def test_a_cine_measured_twice_is_two_cines(tmp_path, offset_ms, step_ms):
    first = write(
        tmp_path, lambda number: {"AcquisitionTime": clock(step_ms * number), "TemporalPositionIdentifier": None}
    )
    for number, file in enumerate(sorted(tmp_path.glob("*.dcm"))):
        image = pydicom.dcmread(file)
        image.TriggerTime, image.InstanceNumber = image.TriggerTime + offset_ms, number + 13
        image.AcquisitionTime = clock(10_000 + step_ms * number)
        image.SOPInstanceUID = generate_uid()
        image.PixelData = np.roll(image.pixel_array, 3, 1).tobytes()
        image.save_as(tmp_path / f"again_{file.name}")
    cine = opened(tmp_path)
    assert cine.n_slices == 2
    for number, expected in enumerate((first, np.roll(first, 3, 2))):
        magnitude, meta = cine.read_slice(number)
        np.testing.assert_allclose(magnitude, expected, atol=1e-3)
        assert meta.frame_times_ms == pytest.approx(40 * np.arange(N_FRAMES))
        assert any("several cines of a slice, by AcquisitionTime" in text for text in meta.warnings)
        assert not meta.is_real_time
