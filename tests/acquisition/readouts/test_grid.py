"""The encoded grid, its centre, oversampling, and the size of the image."""

import pytest
from helpers import relative_error
from raw_scan import small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import ConfigError, DataError, HeaderError
from cinerecon.physics.final_image import resize_image
from cinerecon.physics.fourier import ifft2c

PLAIN = AcquisitionConfig(csm="walsh")


def test_oversampling_may_be_kept(read):
    data = read(small_scan(), config=AcquisitionConfig(csm="walsh", remove_oversampling=False))
    assert data.matrix == (12, 32)


def test_interpolated_recon_matrix_does_not_enlarge_the_image(read):
    scan = small_scan()
    scan.space["recon"] = (32, 24)
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_doubled_encoded_matrix_is_halved(tmp_path):
    scan = small_scan()
    scan.space["matrix"], scan.space["recon"] = (32, 24), (32, 24)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any("halved to 12" in warning for warning in opened.plan.warnings)


def test_partial_fourier_and_phase_resolution(read):
    """Lines 0..8 with centre 3 are rows 3..11; rows that were not measured are not in the mask."""
    scan = small_scan(vendor="GE")
    scan.keep(scan.heads["idx"]["kspace_encode_step_1"] >= 3)
    scan.heads["idx"]["kspace_encode_step_1"] -= 3
    scan.space["limits"]["kspace_encoding_step_1"] = (8, 3)
    data = read(scan)
    assert data.mask[:, 0, :3].sum() == 0
    assert data.mask[:, 0, 3:].all()
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5


@pytest.mark.parametrize("is_in_header", [True, False])
def test_a_centre_that_the_data_contradict(tmp_path, is_in_header):
    """A large contradiction is refused, a small one gives a warning; a setting overrides both."""
    scan = small_scan(matrix=(64, 16), vendor="GE")
    if is_in_header:
        scan.space["limits"]["kspace_encoding_step_1"] = (63, 5)
    else:
        scan.keep(scan.heads["idx"]["kspace_encode_step_1"] >= 16)
        scan.heads["idx"]["kspace_encode_step_1"] -= 16
        del scan.space["limits"]["kspace_encoding_step_1"]
    path = scan.write(tmp_path / "scan.h5")
    peak = 32 if is_in_header else 16
    with pytest.raises(HeaderError, match=f"maximum is at line {peak}") as caught:
        open_scan(path, PLAIN)
    assert f"ky_centre={peak} follows the data" in caught.value.hint
    data = open_scan(path, AcquisitionConfig(csm="walsh", ky_centre=peak)).read_slice(0)
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5
    assert data.mask.sum() == len(scan.heads)
    if is_in_header:
        assert open_scan(path, AcquisitionConfig(ky_centre=5)).plan.encoded_matrix[0] > 64
        scan.space["limits"]["kspace_encoding_step_1"] = (63, 26)
        assert any("maximum is at line 32" in text for text in open_scan(scan.write(path), PLAIN).plan.warnings)
    with pytest.raises(ConfigError, match="line 99"):
        open_scan(path, AcquisitionConfig(ky_centre=99))


def test_lines_beyond_the_encoded_matrix(tmp_path):
    """Phase resolution above 100 %: the header's matrix holds fewer rows than there are lines."""
    scan = small_scan(vendor="GE")
    scan.space["matrix"] = (32, 10)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any("phase resolution above 100 %" in warning for warning in opened.plan.warnings)


@pytest.mark.parametrize("vendor", ["SIEMENS", "GE"])
def test_phase_oversampling(read, vendor):
    """A full scan is cut in k-space, an undersampled one in the image."""
    scan = small_scan(rows=16, vendor=vendor)
    full = read(scan)
    assert full.matrix == (12, 16)
    assert full.meta.crop_y is None
    assert relative_error(full.kspace, scan.kspace[0]) < 1e-5
    scan.keep([i for i in range(48) if i != 20])
    data = read(scan)
    assert data.matrix == (16, 16)
    assert data.meta.crop_y == 12
    image = resize_image(ifft2c(data.kspace)[0], data.meta)  # frame 0 is still full
    assert relative_error(image, ifft2c(scan.kspace[0, 0])) < 1e-5
    assert data.meta.pixel_size_mm == pytest.approx((20, 20))


def test_a_false_claim_of_oversampling(tmp_path):
    scan = small_scan(matrix=(16, 16), oversampling=1)
    scan.space["fov"] = (640.0, 320.0)
    scan.space["recon_fov"] = (320.0, 320.0)
    scan.space["recon"] = (8, 16)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any("2x readout oversampling" in warning for warning in opened.plan.warnings)


@pytest.mark.parametrize("is_oversampled", [True, False])
def test_oversampling_that_the_fields_of_view_and_the_image_matrix_leave_out_is_reported(tmp_path, is_oversampled):
    """Pixels of low phase resolution have the same shape, but there the object fills the field of view."""
    scan = (
        small_scan(matrix=(16, 16), oversampling=2) if is_oversampled else small_scan(matrix=(16, 32), oversampling=1)
    )
    scan.space["fov"] = scan.space["recon_fov"] = (320.0, 320.0)
    scan.space["recon"] = (32, 32)
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert any("if the readout oversampling is missing in the header" in text for text in warnings) == is_oversampled


def test_a_block_of_less_than_half_the_lines_is_no_full_scan(read):
    scan = small_scan(vendor="GE")
    lines = scan.heads["idx"]["kspace_encode_step_1"]
    scan.keep((lines >= 4) & (lines < 9))
    assert read(scan).reference is None


def test_pixels_that_are_a_little_uneven_are_no_false_claim(read):
    """Threefold oversampling of long pixels is plausible, although twofold would make them square."""
    scan = small_scan(matrix=(24, 16), oversampling=3, vendor="GE")
    scan.space["fov"], scan.space["recon_fov"] = (960.0, 320.0), (320.0, 320.0)
    data = read(scan)
    assert data.matrix == (24, 16)
    assert relative_error(data.kspace, scan.kspace[0]) < 1e-5


def test_pixels_are_those_of_the_encoded_grid(read):
    """Ten and a half pixels, and 10 2/3 along the readout, are rounded; their size stays."""
    scan = small_scan(vendor="GE")
    scan.space["recon_fov"] = (640 / 3, 210.0)
    data = read(scan)
    assert data.matrix == (10, 11)
    assert data.meta.pixel_size_mm == pytest.approx((20, 20))


@pytest.mark.parametrize("spaces", [("fov", "recon_fov"), ("recon_fov",), ("matrix", "recon", "fov", "recon_fov")])
def test_exchanged_axes_are_refused(tmp_path, spaces):
    scan = small_scan(matrix=(24, 32), vendor="GE")
    scan.space["fov"], scan.space["recon_fov"] = (640.0, 240.0), (320.0, 240.0)
    assert not open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings[2:]
    for name in spaces:
        scan.space[name] = scan.space[name][::-1]
    with pytest.raises((HeaderError, DataError)) as caught:
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert "x is the readout: exchange x and y" in caught.value.hint


@pytest.mark.parametrize("centre", [10, 11, 13])
def test_lines_that_fill_the_matrix_have_their_centre_in_its_middle(tmp_path, centre):
    scan = small_scan(matrix=(24, 32), vendor="GE")
    scan.space["limits"]["kspace_encoding_step_1"] = (23, centre)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any(f"at line {centre}; lines 0 to 23 fill" in text for text in opened.plan.warnings)
    data = open_scan(tmp_path / "scan.h5", AcquisitionConfig(csm="walsh", ky_centre=centre)).read_slice(0)
    assert data.kspace.shape[-2] > 24


def test_phase_oversampling_of_the_matrix_alone(tmp_path):
    """The header has the field of view of the image in both spaces: pixels would be too small along y."""
    scan = small_scan(rows=16, vendor="GE")
    scan.space["fov"] = (640.0, 240.0)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    data = opened.read_slice(0)
    assert data.meta.pixel_size_mm == (20.0, 20.0)
    assert relative_error(data.kspace, scan.kspace[0]) < 1e-5
    assert any("if this is phase oversampling: 320 mm is used" in text for text in opened.plan.warnings)


@pytest.mark.parametrize("recon", [(16, 16), (16, 12)])
def test_pixels_that_are_not_square_with_phase_oversampling_stay(read, recon):
    scan = small_scan(matrix=(16, 16), vendor="GE")
    scan.space |= {"recon": recon, "fov": (640.0, 320.0), "recon_fov": (320.0, 320.0)}
    data = read(scan)
    assert data.meta.pixel_size_mm == (20.0, 20.0)
    assert relative_error(data.kspace, scan.kspace[0]) < 1e-5
