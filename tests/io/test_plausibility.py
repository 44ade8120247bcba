"""Implausible sizes and times are reported in the same way for all file formats, and plausible ones are not."""

import re

import nibabel
import numpy as np
import pydicom
import pytest
from helpers import SHARED_DATA
from magnitude_series import series
from matlab_file import write_v73

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.cine_meta import CineMeta
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.magnitude import open_archive, open_dicom, open_nifti
from cinerecon.io.plausibility import (
    UNKNOWN_TIMES,
    are_orthonormal,
    frame_time_warnings,
    intensity_warnings,
    tr_warnings,
    venc_warnings,
    with_plausibility_warnings,
)
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

MATRIX = (40, 36)
PLAIN = AcquisitionConfig(csm="walsh", whiten=False)
GEOMETRY = "the array has no geometry: images have no orientation"


@pytest.fixture(scope="module")
def kspace():
    """``(slices, frames, coils, ky, kx)`` of a beating heart."""
    slices = simulate_cine(SimulateConfig(n_frames=6, ky=MATRIX[0], kx=MATRIX[1], n_coils=3, n_slices=2, noise=0.002))
    return np.stack([data.kspace.numpy() for data in slices])


def from_array(folder, kspace, pixel_mm, thickness_mm, step_ms):
    values = {"pixel_size_mm": pixel_mm, "slice_thickness_mm": thickness_mm, "frame_time_ms": step_ms}
    values = {name: value for name, value in values.items() if value is not None}
    np.savez(folder / "k.npz", kspace=kspace[0], axes="frames coils ky kx", oversampling=1, **values)
    return [text for text in open_scan(folder / "k.npz", PLAIN).read_slice(0).meta.warnings if text != GEOMETRY]


def from_archive(folder, kspace, pixel_mm, thickness_mm, step_ms):
    arrays = {
        "magnitude": np.abs(kspace[0, :, 0]),
        "trigger_time_ms": np.arange(6) * step_ms,
        "pixel_spacing_mm": (pixel_mm, pixel_mm),
        "slice_thickness_mm": thickness_mm,
        "image_orientation_patient": (1, 0, 0, 0, 1, 0),
        "image_position_patient": (0, 0, 0),
    }
    np.savez(folder / "cine.npz", **arrays)
    return open_archive(folder / "cine.npz").read_slice(0)[1].warnings


def from_nifti(folder, kspace, pixel_mm, thickness_mm, step_ms):
    pixels = np.abs(kspace[:1, :, 0]).transpose(3, 2, 0, 1)
    image = nibabel.Nifti1Image(pixels, np.diag([-pixel_mm, -pixel_mm, thickness_mm, 1]))
    image.header.set_xyzt_units("mm", "unknown" if step_ms is None else "msec")
    image.header.set_zooms((pixel_mm, pixel_mm, thickness_mm, step_ms or 1.0))
    nibabel.save(image, folder / "cine.nii")
    return open_nifti(folder / "cine.nii").read_slice(0)[1].warnings


def from_dicom(folder, kspace, pixel_mm, thickness_mm, step_ms):
    write_dicom(folder, series(1, matrix=MATRIX, n_frames=6))
    for number, file in enumerate(sorted(folder.glob("*.dcm"))):
        image = pydicom.dcmread(file)
        image.PixelSpacing = [pixel_mm, pixel_mm]
        image.SliceThickness, image.TriggerTime = thickness_mm, None if step_ms is None else number * step_ms
        image.save_as(file)
    (cine,) = open_dicom(folder, sorted(folder.glob("*.dcm")))
    return cine.read_slice(0)[1].warnings


def from_cmrxrecon(folder, kspace, pixel_mm, thickness_mm, step_ms):
    path = folder / "TrainingSet/FullSample/P001/cine_sax.mat"
    write_v73(path, kspace_full=kspace.swapaxes(0, 1))
    rows = [f"FOVx(mm),{MATRIX[1] * pixel_mm}", f"FOVy(mm),{MATRIX[0] * pixel_mm}", "readoutOverSample,1"]
    rows += [] if thickness_mm is None else [f"sliceThickness,{thickness_mm}"]
    path.with_name("cine_sax_info.csv").write_text("\n".join(rows))
    return open_scan(path, PLAIN).read_slice(0).meta.warnings


TIMED = (from_array, from_archive, from_nifti, from_dicom)
READERS = (*TIMED, from_cmrxrecon)


@pytest.mark.parametrize("read", READERS)
def test_plausible_values_give_no_warning(tmp_path, kspace, read):
    expected = (UNKNOWN_TIMES,) if read is from_cmrxrecon else ()  # the tables of CMRxRecon have no times
    assert tuple(read(tmp_path, kspace, 1.5, 8.0, 40.0)) == expected


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("pixel_mm", "words"),
    [
        (0.0015, "is probably in metres"),
        (0.15, "a small animal, or the .* is in centimetres"),
        (1500, "larger than any"),
    ],
)
def test_sizes_in_other_units(tmp_path, kspace, read, pixel_mm, words):
    (text, *_) = (text for text in read(tmp_path, kspace, pixel_mm, 8.0, 40.0) if text != UNKNOWN_TIMES)
    assert re.search(words, text)


@pytest.mark.parametrize("read", READERS)
def test_thickness_in_metres(tmp_path, kspace, read):
    assert any(
        "slices are 0.008 mm thick according to the" in text for text in read(tmp_path, kspace, 1.5, 0.008, 40.0)
    )


@pytest.mark.parametrize("read", [from_array, from_dicom, from_cmrxrecon])
def test_an_unknown_thickness(tmp_path, kspace, read):
    assert any("has no slice thickness: 1 mm is assumed" in text for text in read(tmp_path, kspace, 1.5, None, 40.0))


@pytest.mark.parametrize("read", TIMED)
@pytest.mark.parametrize("step_ms", [0.04, 1.0, 1000, 40_000])
def test_times_in_other_units(tmp_path, kspace, read, step_ms):
    texts = read(tmp_path, kspace, 1.5, 8.0, step_ms)
    assert any(f"{step_ms:g} ms from frame to frame is unusual for a cardiac cine" in text for text in texts)


@pytest.mark.parametrize("read", [from_array, from_nifti, from_dicom])
def test_unknown_times(tmp_path, kspace, read):
    assert any(text.startswith(UNKNOWN_TIMES) for text in read(tmp_path, kspace, 1.5, 8.0, None))


def test_a_gap_in_the_times():
    (text,) = frame_time_warnings([0, 40, 80, 4000, 4040])
    assert text == "3920 ms between frames 2 and 3, elsewhere 40 ms: a frame may be missing"
    assert not [*frame_time_warnings([0, 40, 80, 121]), *frame_time_warnings([0.0])]


@pytest.mark.parametrize(
    ("n_frames", "step_ms", "fov_mm", "is_too_short"),
    [(30, 3.5, 320, True), (25, 5.2, 360, True), (30, 33, 320, False), (40, 10, 320, False), (60, 5, 320, False),
     (12, 40, 320, False), (12, 10, 35, False), (16, 7, 40, False)],
)  # fmt: skip
def test_a_time_step_that_is_tr(n_frames, step_ms, fov_mm, is_too_short):
    """Converters to NIfTI store TR; 30 frames are then shorter than any heartbeat, except that of a mouse."""
    times = tuple(step_ms * n for n in range(n_frames))
    meta = CineMeta(frame_times_ms=times, pixel_size_mm=(fov_mm / 200,) * 2, slice_thickness_mm=8.0)
    texts = [text for text in with_plausibility_warnings(meta, (160, 200), "header").warnings if "heartbeat" in text]
    total = n_frames * step_ms
    assert (
        texts == [f"{n_frames} frames in {total:.3g} ms are less than a heartbeat: is the time step TR?"] * is_too_short
    )


def test_intensities_with_an_offset_or_inverted(kspace):
    images = np.abs(np.fft.fftshift(np.fft.ifft2(kspace[0, :, 0]), (-2, -1)))
    images = images / images.max()
    padded = np.pad(images + 0.5, ((0, 0), (4, 4), (0, 0)))
    eight_bit = (255 * images).astype(np.uint8)
    assert not [*intensity_warnings(images), *intensity_warnings(eight_bit), *intensity_warnings(images[:, 9:30, 9:30])]
    for wrong in (images + 0.5, padded):
        (text,) = intensity_warnings(wrong)
        assert "of the intensity of bright ones: was an offset added?" in text
    for wrong in (1 - images, 255 - eight_bit):
        (text,) = intensity_warnings(wrong)
        assert text.endswith("are bright and dark exchanged?")


def test_measured_cines_are_plausible():
    paths = sorted((SHARED_DATA / "cines" / "train").glob("*.npz"))[::6]
    if not paths:
        pytest.skip("measured cines are not in the repository; expected in ../shared/cines")
    for path in paths:
        warnings = open_archive(path).read_slice(0)[1].warnings
        assert not [text for text in warnings if "heartbeat" in text or "bright" in text or "order" in text], path.name


def test_tr_in_seconds_or_microseconds():
    assert [len([*tr_warnings(tr_ms)]) for tr_ms in (0.003, 3.0, 40.0, 40_000.0, None)] == [1, 0, 0, 1, 0]


@pytest.mark.parametrize(("venc", "words"), [(1.5, "1.5 m/s"), (1500, "1500 mm/s"), (10, ""), (150, ""), (600, "")])
def test_venc_in_other_units(venc, words):
    texts = [*venc_warnings(venc)]
    assert len(texts) == bool(words)
    assert all(words in text and "--venc 150 corrects" in text for text in texts)


def test_directions():
    assert are_orthonormal(np.eye(3)[:2])
    assert are_orthonormal(np.array([[0.6, 0.8, 0], [-0.8, 0.6, 1e-3]]))
    for wrong in ([[1, 0, 0], [0.3, 0.95, 0]], [[1, 0, 0], [0, 0.5, 0]], [[1, 0, 0], [0, np.nan, 0]]):
        assert not are_orthonormal(np.array(wrong, float))
