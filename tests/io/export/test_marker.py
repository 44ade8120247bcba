"""A bright point in k-space is found at the position where it was placed, in all formats with positions."""

from pathlib import Path

import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
from raw_scan import small_scan

import cinerecon

CENTRE = np.array([11.0, -23.0, 37.0])
POINT = (3, -2)
"""Pixels from the centre along the readout and along the phase encoding."""
X, Y, Z = np.eye(3)
TURNED = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
PLANES = {
    "transverse": (X, Y),
    "transverse, rows to the right": (-X, Y),
    "transverse, exchanged": (Y, X),
    "coronal": (Z, X),
    "sagittal": (Y, -Z),
    "oblique": (TURNED[0], TURNED[1]),
    "oblique, opposite": (TURNED[2], -TURNED[0]),
}


def scan_of_points(read, phase, across, oversampling, rows, vendor):
    """Two slices, 10 mm apart, with a bright point and fainter ones that beat."""
    matrix = (12, 16)
    scan = small_scan(
        matrix=matrix, n_frames=4, n_slices=2, n_coils=1, oversampling=oversampling, rows=rows, vendor=vendor
    )
    ky, kx = rows or matrix[0], oversampling * matrix[1]
    y, x = (np.arange(n) - n // 2 for n in (ky, kx))
    sign = 2j * np.pi if vendor == "SIEMENS" else -2j * np.pi

    def point(u, v):
        return np.exp(sign * (y[:, None] * v / ky + x * u / kx))

    for row, head in enumerate(scan.heads["idx"]):
        beat = 1 + 0.3 * np.cos(np.pi / 2 * head["phase"])
        kspace = 5 * point(*POINT) + beat * point(-1, 1) + 0.7 * point(0, 0) + 0.5 * point(2, 2) + 0.5 * point(-3, -1)
        line = head["kspace_encode_step_1"]
        scan.samples[row] = kspace[line : line + 1].astype(np.complex64)
    scan.heads["read_dir"], scan.heads["phase_dir"], scan.heads["slice_dir"] = read, phase, across
    scan.heads["position"] = CENTRE + 10.0 * scan.heads["idx"]["slice"][:, None] * across
    return scan


def in_nifti(path):
    image = nibabel.load(path)
    for number, volume in enumerate(np.moveaxis(image.get_fdata()[..., 0], 2, 0)):
        x, y = np.unravel_index(volume.argmax(), volume.shape)
        yield (image.affine @ [x, y, number, 1])[:3] * [-1, -1, 1]


def in_dicom(folder):
    for path in Path(folder).glob("*_frame000.dcm"):
        image = pydicom.dcmread(path)
        yield in_plane(image.pixel_array, image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing)


def in_enhanced_dicom(path):
    image = pydicom.dcmread(path)
    shared = image.SharedFunctionalGroupsSequence[0]
    plane = shared.PlaneOrientationSequence[0].ImageOrientationPatient, shared.PixelMeasuresSequence[0].PixelSpacing
    for frame in (0, 4):
        position = image.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0].ImagePositionPatient
        yield in_plane(image.pixel_array[frame], position, *plane)


def in_plane(pixels, position, directions, spacing):
    """The brightest pixel by the equation of PS3.3 C.7.6.2.1.1."""
    row, column = np.unravel_index(pixels.argmax(), pixels.shape)
    directions, (dy, dx) = np.array(directions, float), np.array(spacing, float)
    return np.array(position, float) + column * dx * directions[:3] + row * dy * directions[3:]


def in_mrd(path):
    with ismrmrd.Dataset(str(path), mode="r") as file:
        images = [file.read_image("image_0", number) for number in range(file.number_of_images("image_0"))]
    for image in (image for image in images if image.phase == 0):
        pixels = image.data[0, 0]
        y, x = np.unravel_index(pixels.argmax(), pixels.shape)
        (n_y, n_x), (length_x, length_y, _) = pixels.shape, image.field_of_view
        along = (x - n_x // 2) * length_x / n_x * np.array(image.read_dir)
        yield np.array(image.position) + along + (y - n_y // 2) * length_y / n_y * np.array(image.phase_dir)


READERS = {"a.nii": in_nifti, "dicom/": in_dicom, "a.dcm": in_enhanced_dicom, "a.h5": in_mrd}


@pytest.mark.filterwarnings("ignore::cinerecon.errors.CineReconWarning")
@pytest.mark.parametrize("sign", [1, -1], ids=["", "slice normal reversed"])
@pytest.mark.parametrize("plane", PLANES)
def test_the_point_is_found_where_it_was_placed(tmp_path, plane, sign):
    read, phase = PLANES[plane]
    across = sign * np.cross(read, phase)
    oversampling, rows, vendor = (2, 18, "SIEMENS") if sign > 0 else (1, None, "GE")
    scan = scan_of_points(read, phase, across, oversampling, rows, vendor)
    slices = cinerecon.reconstruct(scan.write(tmp_path / "scan.h5"), method="zerofilled")
    offset = POINT[0] * 20.0 * read + POINT[1] * 20.0 * phase
    expected = sorted((CENTRE + offset + 10.0 * number * across).round(2).tolist() for number in (0, 1))
    for name, find in READERS.items():
        cinerecon.export(slices, f"{tmp_path}/{name}")
        points = sorted(point.round(2).tolist() for point in find(f"{tmp_path}/{name}"))
        np.testing.assert_allclose(points, expected, atol=0.02, err_msg=name)
