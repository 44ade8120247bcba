"""Calibration lines and the coil maps estimated from them."""

import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import RawFile, header_xml, small_scan, without_oversampling

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.inspection import inspect_scan
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError
from cinerecon.physics.coils import (
    estimate_csm,
)

PLAIN = AcquisitionConfig(csm="walsh")


def undersampled_with_calibration(n_acs: int = 12, vendor: str = "GE", n_columns: int = 16) -> RawFile:
    """Every third line of the image, and central lines for calibration alone: they come after it, of other contrast."""
    scan = small_scan(matrix=(48, n_columns), vendor=vendor)
    lines = scan.heads["idx"]["kspace_encode_step_1"].astype(int)
    central = np.flatnonzero((abs(lines - 24 + n_acs % 2 / 2) < n_acs / 2 + 0.1) & (scan.heads["idx"]["phase"] == 0))
    calibration = [(scan.heads[row].copy(), 5 * scan.samples[row]) for row in central[:n_acs]]
    scan.keep(lines % 3 == 0)
    for head, samples in calibration:
        scan.append(0, samples)["idx"] = head["idx"]
        scan.heads["idx"]["contrast"][-1] = 1
        scan.flag(len(scan.heads) - 1, 20)
    return scan


def test_calibration_lines_with_coils_in_another_order_are_reported(tmp_path):
    scan = undersampled_with_calibration(n_columns=64)
    for row in np.flatnonzero(scan.heads["flags"] & (1 << 19)):
        scan.samples[row] = scan.samples[row][[2, 0, 1]]
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert any("the coils of the calibration lines are in a different order" in text for text in warnings)


@pytest.mark.parametrize("is_filled", [False, True])
def test_maps_come_from_calibration_lines(tmp_path, is_filled):
    """They make no image; what the image measures of their lines may be left out of them."""
    scan = undersampled_with_calibration()
    only = (scan.heads["flags"] & (1 << 19)) > 0
    rows = sorted(set(scan.heads["idx"]["kspace_encode_step_1"][only].tolist()))
    if is_filled:
        scan.samples = [samples / 5 if extra else samples for samples, extra in zip(scan.samples, only, strict=True)]
        scan.keep(~only | (scan.heads["idx"]["kspace_encode_step_1"] % 3 != 0))
        rows.append(30)  # the image's own, next to them
    path = scan.write(tmp_path / "scan.h5")
    plan = inspect_scan(path, PLAIN)
    data = open_scan(path, PLAIN).read_slice(0)
    image = torch.arange(48) % 3 == 0
    assert torch.equal(data.mask[:, 0, :, 0], image.expand(3, -1))
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5
    mask = torch.zeros(1, 1, 48, 1, dtype=torch.bool)
    mask[..., rows, :] = True
    calibration = scan.kspace[0, :1] * mask
    if is_filled:
        calibration[..., image, :] = (scan.kspace[0].mean(0, keepdim=True) * mask)[..., image, :]
    assert relative_error(data.csm, estimate_csm(calibration, mask, "walsh")) < 1e-3
    assert plan.n_calibration_readouts == (8 if is_filled else 12)
    assert plan.steps[-1] == f"estimate coil maps (walsh) from {len(rows)} calibration lines"
    assert not plan.dropped and not any("a different order" in text for text in plan.warnings)
    assert not any("coil maps" in text for text in data.meta.warnings)
    compressed = open_scan(path, AcquisitionConfig(csm="walsh", n_virtual_coils=2)).read_slice(0)
    assert compressed.csm.shape == (2, 48, 16)


@pytest.mark.parametrize("gain", [0.3, 1.0, 3.0])
def test_calibration_lines_of_another_gain_are_not_combined_with_image_lines(tmp_path, gain):
    """Every other line belongs to the image; the central ones are also for calibration, with lines between them."""
    scan = small_scan(matrix=(48, 16), vendor="GE")
    line = scan.heads["idx"]["kspace_encode_step_1"].astype(int)
    is_image, is_central = line % 2 == 0, abs(line - 24) < 9
    for row in np.flatnonzero(is_central):
        scan.flag(row, 21 if is_image[row] else 20)
        scan.samples[row] = scan.samples[row] * (1 if is_image[row] else gain)
    scan.keep(is_image | is_central)
    data = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).read_slice(0)
    assert any("times the amplitude of the image lines between them" in text for text in data.meta.warnings) == (
        gain != 1.0
    )
    if gain == 1.0:
        mask = torch.from_numpy(is_central[:48])[:, None].expand(1, 1, 48, 1)
        assert relative_error(data.csm, estimate_csm(scan.kspace[0].mean(0, keepdim=True) * mask, mask, "walsh")) < 0.05


def test_unusable_calibration_lines(tmp_path):
    scan = undersampled_with_calibration()
    only = (scan.heads["flags"] & (1 << 19)) > 0
    scan.heads["idx"]["kspace_encode_step_1"][only] -= 15
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert any("maximum at line 9, not at the centre" in text for text in opened.plan.warnings)
    assert opened.plan.dropped[0].n_readouts == 12
    scan.heads["idx"]["kspace_encode_step_1"][only] += 15
    scan.heads["center_sample"][only] += 4
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert any("12 calibration readouts do not fit the grid" in text for text in opened.plan.warnings)


def test_maps_from_too_few_lines_give_a_warning(tmp_path):
    scan = undersampled_with_calibration(n_acs=0)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    warning = "coil maps come from 1 central line: do not trust the image; acquire or keep ACS lines"
    assert opened.plan.warnings.count(warning) == opened.read_slice(0).meta.warnings.count(warning) == 1
    one_coil = small_scan(n_coils=1)
    one_coil.keep(one_coil.heads["idx"]["kspace_encode_step_1"] % 3 == 0)
    warnings = open_scan(one_coil.write(tmp_path / "one.h5"), PLAIN).read_slice(0).meta.warnings
    assert not any("coil maps" in text for text in warnings)


def test_holes_are_in_the_mask(read):
    scan = small_scan(vendor="GE")
    scan.keep([i for i in range(36) if i != 17])
    data = read(scan)
    assert data.mask.sum() == 35
    assert not data.mask[1, 0, 5]
    assert data.reference is None
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5


DIALECTS = {
    "offline": lambda scan: None,
    "base resolution": lambda scan: scan.space.update(matrix=(16, 48), fov=(320.0, 240.0)),
    "no centre": lambda scan: scan.heads.__setitem__("center_sample", 0),
    "centre off by one": lambda scan: scan.heads.__setitem__("center_sample", 17),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_calibration_lines_in_every_convention(tmp_path, dialect):
    expected = open_scan(undersampled_with_calibration().write(tmp_path / "whole.h5"), PLAIN).read_slice(0)
    scan = undersampled_with_calibration()
    DIALECTS[dialect](scan)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    data = opened.read_slice(0)
    assert opened.plan.n_calibration_readouts == 12 and not opened.plan.dropped
    assert relative_error(data.csm, expected.csm) < 1e-6
    assert relative_error(data.kspace, expected.kspace) < 1e-6


@pytest.mark.parametrize("rows", [24, 48])
def test_calibration_lines_in_an_encoding_of_their_own(tmp_path, rows):
    """Their lines are counted from their own centre; k-space has the same spacing, as the fields of view agree."""
    expected = open_scan(undersampled_with_calibration().write(tmp_path / "whole.h5"), PLAIN).read_slice(0)
    scan = undersampled_with_calibration()
    only = (scan.heads["flags"] & (1 << 19)) > 0
    scan.heads["encoding_space_ref"][only] = 1
    scan.heads["idx"]["kspace_encode_step_1"][only] -= 24 - rows // 2
    limits = {"kspace_encoding_step_1": (rows - 1, rows // 2)}
    other = header_xml(**scan.space | {"matrix": (32, rows), "limits": limits})
    scan.space["extra"] = other[other.index("<encoding>") : other.index("</encoding>") + len("</encoding>")]
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert opened.plan.n_calibration_readouts == 12
    assert relative_error(opened.read_slice(0).csm, expected.csm) < 1e-6
    scan.space["extra"] = scan.space["extra"].replace("<y>240.0</y>", "<y>300.0</y>")
    plan = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan
    assert plan.n_calibration_readouts == 0
    assert "calibration only, of another encoding" in plan.dropped[0].reason


def test_calibration_lines_of_siemens_have_a_centre_of_their_own(tmp_path):
    expected = open_scan(undersampled_with_calibration(vendor="SIEMENS").write(tmp_path / "whole.h5"), PLAIN)
    scan = undersampled_with_calibration(vendor="SIEMENS")
    only, idx = (scan.heads["flags"] & (1 << 19)) > 0, scan.heads["idx"]
    idx["user"][:, 5] = 24
    idx["user"][only, 5:7] = 6, 4
    idx["kspace_encode_step_1"][only] -= 18
    idx["kspace_encode_step_2"][only] = 4
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert opened.plan.n_calibration_readouts == 12
    assert relative_error(opened.read_slice(0).csm, expected.read_slice(0).csm) < 1e-6
    idx["kspace_encode_step_2"][np.flatnonzero(only)[::2]] = 3
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert opened.plan.n_calibration_readouts == 0
    assert any("6 calibration readouts have another partition" in text for text in opened.plan.warnings)


@pytest.mark.parametrize("centre", [8, 16])
@pytest.mark.parametrize("space", ["measured", "image"])
def test_calibration_lines_next_to_removed_oversampling(tmp_path, centre, space):
    """Oversampling is removed from both, and both keep the centre of the measured readout."""
    whole = undersampled_with_calibration(vendor="SIEMENS")
    expected = open_scan(whole.write(tmp_path / "whole.h5"), PLAIN).read_slice(0)
    scan = without_oversampling(undersampled_with_calibration(vendor="SIEMENS"))
    scan.heads["center_sample"] = centre
    if space == "image":
        scan.space.update(matrix=(16, 48), fov=(320.0, 240.0))
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    data = opened.read_slice(0)
    assert opened.plan.n_calibration_readouts == 12 and not opened.plan.dropped
    assert relative_error(data.csm, expected.csm) < 1e-5
    assert relative_error(data.kspace, expected.kspace) < 1e-6


def central(scan: RawFile, half_width: int) -> np.ndarray:
    lines = scan.heads["idx"]["kspace_encode_step_1"].astype(int)
    return np.flatnonzero(abs(lines - scan.space["matrix"][1] // 2) <= half_width)


def test_central_lines_flagged_as_calibration_only_belong_to_the_image(tmp_path):
    """Every frame has them, and no other lines at the centre. Where one frame lacks them, they are another scan."""
    scan = small_scan(vendor="GE")
    for row in central(scan, 2):
        scan.flag(row, 20)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any("lines 4 to 8 are flagged as calibration only" in text for text in opened.plan.warnings)
    assert not opened.plan.dropped
    scan.keep(~np.isin(np.arange(36), central(scan, 2)) | (scan.heads["idx"]["phase"] != 1))
    with pytest.raises(DataError, match="no line at the centre"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


@pytest.mark.parametrize("n_samples", [32, 16])
def test_calibration_and_imaging_lines_of_another_contrast_are_for_maps_only(tmp_path, n_samples):
    """Also if their readouts are shorter than those of the image."""
    scan = small_scan(vendor="GE")
    for row in central(scan, 2)[:5]:
        head = scan.append(row, 4 * scan.samples[row][:, 16 - n_samples // 2 : 16 + n_samples // 2])
        head["center_sample"] = n_samples // 2
        scan.flag(len(scan.heads) - 1, 21)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any("4 times their amplitude): they are used for coil maps only" in text for text in opened.plan.warnings)
