from collections.abc import Callable

import h5py
import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import PHASE, READ, SLICE, RawFile, small_scan

from cinerecon.acquisition import AcquisitionConfig, intake, open_scan
from cinerecon.cine import crop_image, finish_image
from cinerecon.errors import CineReconError, ConfigError, DataError, HeaderError, UnsupportedError
from cinerecon.physics.coils import (
    apply_geometric_compression,
    estimate_csm,
    geometric_compression_matrices,
    noise_covariance,
)
from cinerecon.physics.fourier import ifft2c, mirrored_indices

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture
def read(tmp_path):
    """Write a scan and read one slice of it."""

    def run(scan: RawFile, number: int = 0, config: AcquisitionConfig = PLAIN):
        return open_scan(scan.write(tmp_path / "scan.h5"), config).read_slice(number)

    return run


def rows_of(scan, **counters):
    chosen = np.full(len(scan.heads), True)
    for name, value in counters.items():
        chosen &= scan.heads["idx"][name] == value
    return np.flatnonzero(chosen)


@pytest.mark.parametrize("vendor", ["SIEMENS", "Siemens Healthineers", "GE MEDICAL SYSTEMS", ""])
@pytest.mark.parametrize(("matrix", "oversampling"), [((12, 16), 2), ((13, 15), 2), ((11, 16), 1), ((12, 15), 3)])
def test_kspace_is_that_of_the_image(read, vendor, matrix, oversampling):
    scan = small_scan(matrix=matrix, oversampling=oversampling, vendor=vendor)
    data = read(scan)
    assert relative_error(data.kspace, scan.kspace[0]) < 1e-5
    assert data.mask.shape == (3, 1, matrix[0], 1)
    assert data.mask.all()
    image = ifft2c(data.kspace)
    assert relative_error(image, scan.images[0].unsqueeze(1).to(image) * scan.csm.to(image)) < 1e-5


def test_forced_transform(read):
    scan = small_scan(oversampling=1, vendor="GE")
    turned = read(scan, config=AcquisitionConfig(csm="walsh", transform="fft"))
    expected = (
        scan.kspace[0]
        .index_select(-1, torch.from_numpy(mirrored_indices(16)))
        .index_select(-2, torch.from_numpy(mirrored_indices(12)))
    )
    assert relative_error(turned.kspace, expected) < 1e-5


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


@pytest.mark.parametrize("vendor", ["SIEMENS", "GE"])
@pytest.mark.parametrize("early", [True, False])
def test_asymmetric_echo(read, vendor, early):
    """Missing samples are False in the mask; what is True is near the truth although it was interpolated."""
    scan = small_scan(matrix=(12, 32), vendor=vendor)
    missing = 16
    for i, samples in enumerate(scan.samples):
        scan.samples[i] = samples[:, missing:] if early else samples[:, :-missing]
    scan.heads["number_of_samples"] -= missing
    scan.heads["center_sample"] -= missing if early else 0
    data = read(scan)
    assert data.mask.shape == (3, 1, 12, 32)
    first_missing = early == (vendor != "SIEMENS")  # mirroring k-space puts the gap on the other side
    columns = data.mask[0, 0, 0]
    assert columns.sum() == pytest.approx(32 - missing / 2, abs=2)
    assert bool(columns[2 if first_missing else -2]) is False
    assert bool(columns[-2 if first_missing else 2]) is True
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 0.04
    assert data.kspace[~data.mask.expand_as(data.kspace)].abs().max() == 0
    assert data.reference is not None


def test_each_readout_by_its_own_centre(read):
    scan = small_scan(oversampling=1, vendor="GE")
    late = np.arange(len(scan.heads)) % 2 == 1
    for i in np.flatnonzero(late):
        scan.samples[i] = scan.samples[i][:, 5:]
    scan.heads["number_of_samples"][late], scan.heads["center_sample"][late] = 11, 3
    data = read(scan)
    expected = torch.ones(12, 16, dtype=torch.bool)
    expected[1::2, :5] = False
    assert torch.equal(data.mask[1, 0], expected)
    assert relative_error(data.kspace, scan.kspace[0] * expected) < 1e-5


@pytest.mark.parametrize("counted_before", [True, False])
def test_discarded_samples(read, counted_before):
    """center_sample counts from the first stored sample, or after the discarded ones; here one of the two fits."""
    scan = small_scan(oversampling=1, vendor="GE")
    for i, samples in enumerate(scan.samples):
        junk = np.full((3, 6), 1e3, np.complex64)
        scan.samples[i] = np.concatenate([junk[:, :4], samples[:, 4:], junk[:, :2]], 1)
    scan.heads["number_of_samples"] = 18
    scan.heads["discard_pre"], scan.heads["discard_post"] = 4, 2
    scan.heads["center_sample"] = 8 if counted_before else 4
    data = read(scan)
    mask = torch.arange(16) >= 4
    assert relative_error(data.kspace, scan.kspace[0] * mask) < 1e-5


def test_reversed_readouts(read):
    scan = small_scan()
    for i in range(0, len(scan.heads), 2):
        scan.samples[i] = scan.samples[i][:, ::-1]
        scan.flag(i, 22)
    scan.heads["center_sample"][:] = 16
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_pilot_tone_by_name(read):
    scan = small_scan(oversampling=1)
    for samples in scan.samples:
        samples[:, :3] = samples[:, -1:] = 1e4
    parameter = "<userParameterLong><name>{}</name><value>1</value></userParameterLong>"
    scan.space["extra"] = (
        f"<userParameters>{parameter.format('Other') + parameter.format('PilotTone')}</userParameters>"
    )
    data = read(scan)
    assert data.mask[0, 0].sum(-1).unique().tolist() == [12]
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5


def test_averages_are_averaged_where_they_are(read):
    """Two averages of different size; the second lacks a line, which then keeps the value of the first."""
    scan = small_scan(vendor="GE")
    for row in range(1, 36):
        scan.append(row, 3 * scan.samples[row])["idx"]["average"] = 1
    data = read(scan)
    weight = torch.full((3, 1, 12, 1), 2.0)
    weight[0, 0, 0] = 1
    assert relative_error(data.kspace, scan.kspace[0] * weight) < 1e-5


def test_double_line_is_averaged_and_said(tmp_path):
    scan = small_scan(vendor="GE")
    scan.append(7, 3 * scan.samples[7])
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    weight = torch.ones(3, 1, 12, 1)
    weight[0, 0, 7] = 2
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0] * weight) < 1e-5
    assert any("more than once" in warning for warning in opened.plan.warnings)


def test_other_readouts_are_left_out(tmp_path):
    scan = small_scan()
    junk = np.full((3, 32), 1e3, np.complex64)
    for number in (20, 23, 24, 26, 27, 28, 30, 31):
        scan.append(number, junk)
        scan.flag(len(scan.heads) - 1, number)
    scan.flag(4, 20)
    scan.flag(4, 21)
    for number in (3, 4, 5, 6, 25):
        scan.flag(9, number)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert sum(part.n_readouts for part in opened.plan.dropped) == 8
    assert {part.reason.split(":")[0] for part in opened.plan.dropped} >= {"flag 20", "flag 31"}
    assert opened.plan.flags["23 navigator"] == 1
    assert opened.plan.flags["20 parallel calibration"] == 2


def undersampled_with_calibration(n_acs: int = 12) -> RawFile:
    """Every third line of the image, and central lines for calibration alone: they come after it, of other contrast."""
    scan = small_scan(matrix=(48, 16), vendor="GE")
    lines = scan.heads["idx"]["kspace_encode_step_1"].astype(int)
    central = np.flatnonzero((abs(lines - 24 + n_acs % 2 / 2) < n_acs / 2 + 0.1) & (scan.heads["idx"]["phase"] == 0))
    calibration = [(scan.heads[row].copy(), 5 * scan.samples[row]) for row in central[:n_acs]]
    scan.keep(lines % 3 == 0)
    for head, samples in calibration:
        scan.append(0, samples)["idx"] = head["idx"]
        scan.heads["idx"]["contrast"][-1] = 1
        scan.flag(len(scan.heads) - 1, 20)
    return scan


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
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    opened.check_samples()
    data = opened.read_slice(0)
    image = torch.arange(48) % 3 == 0
    assert torch.equal(data.mask[:, 0, :, 0], image.expand(3, -1))
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5
    mask = torch.zeros(1, 1, 48, 1, dtype=torch.bool)
    mask[..., rows, :] = True
    calibration = scan.kspace[0, :1] * mask
    if is_filled:
        calibration[..., image, :] = (scan.kspace[0].mean(0, keepdim=True) * mask)[..., image, :]
    assert relative_error(data.csm, estimate_csm(calibration, mask, "walsh")) < 1e-3
    assert opened.plan.n_calibration == (8 if is_filled else 12)
    assert opened.plan.steps[-1] == f"estimate coil maps by walsh from {len(rows)} calibration lines"
    assert not opened.plan.dropped
    assert not any("coil maps" in text for text in data.meta.warnings)
    compressed = open_scan(opened.files[0], AcquisitionConfig(csm="walsh", n_virtual_coils=2)).read_slice(0)
    assert compressed.csm.shape == (2, 48, 16)


def test_calibration_lines_that_are_of_no_use(tmp_path):
    scan = undersampled_with_calibration()
    only = (scan.heads["flags"] & (1 << 19)) > 0
    scan.heads["idx"]["kspace_encode_step_1"][only] -= 15
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert any("peak at line 9, not at the centre" in text for text in opened.plan.warnings)
    assert opened.plan.dropped[0].n_readouts == 12
    scan.heads["idx"]["kspace_encode_step_1"][only] += 15
    scan.heads["center_sample"][only] += 4
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert any("12 calibration readouts do not fit the grid" in text for text in opened.plan.warnings)


def test_maps_from_too_few_lines_are_said_to_be(tmp_path):
    scan = undersampled_with_calibration(n_acs=0)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    warning = "coil maps come from 1 central line: do not trust the image; measure or keep ACS lines"
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


def test_partial_fourier_and_phase_resolution(read):
    """Lines 0..8 of which line 3 is the centre lie on rows 3..11; what was not measured is not claimed."""
    scan = small_scan(vendor="GE")
    scan.keep(scan.heads["idx"]["kspace_encode_step_1"] >= 3)
    scan.heads["idx"]["kspace_encode_step_1"] -= 3
    scan.space["limits"]["kspace_encoding_step_1"] = (8, 3)
    data = read(scan)
    assert data.mask[:, 0, :3].sum() == 0
    assert data.mask[:, 0, 3:].all()
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5


@pytest.mark.parametrize("is_told", [True, False])
def test_a_centre_that_the_data_contradict(tmp_path, is_told):
    """Far off it is refused, less far it is warned of; a setting corrects it, or insists."""
    scan = small_scan(matrix=(64, 16), vendor="GE")
    if is_told:
        scan.space["limits"]["kspace_encoding_step_1"] = (63, 5)
    else:
        scan.keep(scan.heads["idx"]["kspace_encode_step_1"] >= 16)
        scan.heads["idx"]["kspace_encode_step_1"] -= 16
        del scan.space["limits"]["kspace_encoding_step_1"]
    path = scan.write(tmp_path / "scan.h5")
    peak = 32 if is_told else 16
    with pytest.raises(HeaderError, match=f"peak at line {peak}") as caught:
        open_scan(path, PLAIN)
    assert f"ky_centre={peak} believes the data" in caught.value.hint
    data = open_scan(path, AcquisitionConfig(csm="walsh", ky_centre=peak)).read_slice(0)
    assert relative_error(data.kspace, scan.kspace[0] * data.mask) < 1e-5
    assert data.mask.sum() == len(scan.heads)
    if is_told:
        assert open_scan(path, AcquisitionConfig(ky_centre=5)).plan.encoded_matrix[0] > 64
        scan.space["limits"]["kspace_encoding_step_1"] = (63, 26)
        assert any("peak at line 32" in text for text in open_scan(scan.write(path), PLAIN).plan.warnings)
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
    image = crop_image(ifft2c(data.kspace)[0], data.meta)  # frame 0 is still full
    assert relative_error(image, ifft2c(scan.kspace[0, 0])) < 1e-5
    assert data.meta.pixel_size_mm == pytest.approx((20, 20))


def test_slices_by_position(tmp_path):
    scan = small_scan(n_slices=3)
    order = np.array([2, 0, 1])
    scan.heads["position"][:, 2] = 10.0 * order[scan.heads["idx"]["slice"]]
    slices = list(intake(scan.write(tmp_path / "scan.h5"), PLAIN))
    for number, data in enumerate(slices):
        assert relative_error(data.kspace, scan.kspace[list(order).index(number)]) < 1e-5
        assert data.meta.slice == number
        assert data.meta.geometry.position_mm == (0, 0, 10 * number)
    geometry = slices[0].meta.geometry
    np.testing.assert_allclose([geometry.read_dir, geometry.phase_dir, geometry.slice_dir], [READ, PHASE, SLICE])


@pytest.mark.parametrize("direction", [np.zeros(3), READ, np.full(3, np.nan)])
def test_no_orientation_is_made_up(tmp_path, direction):
    scan = small_scan()
    scan.heads["phase_dir"] = direction
    if not direction.any():
        scan.heads["read_dir"] = scan.heads["slice_dir"] = 0
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    data = opened.read_slice(0)
    assert data.meta.geometry is None
    assert sum("carry no orientation" in warning for warning in data.meta.warnings) == 1


def test_slices_of_different_length(tmp_path):
    scan = small_scan(n_slices=2)
    last = (scan.heads["idx"]["slice"] == 1) & (scan.heads["idx"]["phase"] == 2)
    scan.keep(~last)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert opened.plan.n_frames == (3, 2)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1, :2]) < 1e-5


def test_frames_in_repetition(read):
    scan = small_scan()
    scan.heads["idx"]["repetition"] = scan.heads["idx"]["phase"]
    scan.heads["idx"]["phase"] = 0
    scan.space["limits"]["repetition"] = scan.space["limits"].pop("phase")
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_one_value_of_a_counter_can_be_chosen(tmp_path):
    scan = small_scan(vendor="GE")
    for row in range(36):
        scan.append(row, 5 * scan.samples[row])["idx"]["contrast"] = 1
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(UnsupportedError, match="2 contrasts") as caught:
        open_scan(path)
    assert "select.contrast=0" in caught.value.hint
    for value, factor in ((0, 1), (1, 5)):
        config = PLAIN.with_settings([f"select.contrast={value}"])
        assert relative_error(open_scan(path, config).read_slice(0).kspace, factor * scan.kspace[0]) < 1e-5


@pytest.mark.parametrize(("tr_ms", "expected"), [(31.5, (0, 31.5, 63)), (2.9, (0, 25, 50)), (None, (0, 25, 50))])
def test_frame_times(read, tr_ms, expected):
    scan = small_scan()
    scan.heads["acquisition_time_stamp"] = (
        1000 + 10 * scan.heads["idx"]["phase"] + scan.heads["idx"]["kspace_encode_step_1"]
    )
    if tr_ms:
        scan.space["extra"] = f"<sequenceParameters><TR>{tr_ms}</TR></sequenceParameters>"
    assert read(scan).meta.frame_times_ms == pytest.approx(expected)


@pytest.mark.parametrize(
    ("bend", "words"),
    [
        (lambda scan: scan.space.update(vendor="GE"), "times of the frames are unknown"),
        (
            lambda scan: scan.space.update(extra="<sequenceParameters><TR>12</TR></sequenceParameters>"),
            "12 ms by the header's TR, 25 ms by the time stamps",
        ),
        (lambda scan: scan.space.update(thickness=0), "no slice thickness"),
    ],
)
def test_what_the_header_does_not_tell_is_said(tmp_path, bend, words):
    scan = small_scan()
    scan.heads["acquisition_time_stamp"] = 10 * scan.heads["idx"]["phase"]
    path = tmp_path / "scan.h5"
    for is_bent in (False, True):
        if is_bent:
            bend(scan)
        opened = open_scan(scan.write(path), PLAIN)
        for warnings in (opened.plan.warnings, opened.read_slice(0).meta.warnings):
            assert sum(words in text for text in warnings) == is_bent


@pytest.mark.parametrize(("factor", "words"), [(1e30, "a sample of"), (1e-30, "the samples are no larger than")])
def test_senseless_scales_are_refused(tmp_path, factor, words):
    scan = small_scan()
    scan.samples = [np.complex64(factor) * samples for samples in scan.samples]
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(DataError, match=words) as caught:
        open_scan(path, PLAIN).check_samples()
    assert str(path) in caught.value.where


def add_noise(scan: RawFile, n_readouts: int, mixing: np.ndarray, dwell_us: float, bandwidth: float = 1.0) -> None:
    """Noise on the image readouts, and noise readouts that show it through another receiver bandwidth."""
    rng = np.random.default_rng(0)
    coils = len(mixing)

    def noise(n_samples):
        parts = rng.standard_normal((2, coils, n_samples)) / np.sqrt(2)
        return (mixing @ (parts[0] + 1j * parts[1])).astype(np.complex64)

    seen = np.sqrt(2.0 / dwell_us * bandwidth)
    scan.samples = [0 * samples + noise(samples.shape[1]) for samples in scan.samples]
    for _ in range(n_readouts):
        scan.append(0, seen * noise(256))["sample_time_us"] = dwell_us
        scan.flag(len(scan.heads) - 1, 19)
        scan.heads["center_sample"][-1] = 0
    scan.space["vendor"] = "GE"


MIXING = np.array([[2, 0, 0], [0.5 + 0.5j, 1, 0], [0, 0.3j, 0.2]]) * 1e-4


def assert_white(data, coils=3):
    samples = data.kspace.movedim(1, 0).reshape(coils, -1)
    covariance = noise_covariance(samples)
    tolerance = 5 / np.sqrt(samples.shape[1])
    assert (covariance - torch.eye(coils)).abs().max() < tolerance


@pytest.mark.parametrize("oversampling", [1, 2])
def test_noise_is_white_after_intake(read, oversampling):
    """Unit variance in every coil, whatever the dwell times; removing the oversampling keeps it."""
    scan = small_scan(matrix=(32, 32), n_frames=6, oversampling=oversampling)
    add_noise(scan, 40, MIXING, dwell_us=30.0, bandwidth=0.8)
    scan.space["extra"] = ""
    scan.space["vendor"] = (
        "GE</systemVendor><relativeReceiverNoiseBandwidth>0.8</relativeReceiverNoiseBandwidth><systemVendor>"
    )
    assert_white(read(scan))


@pytest.mark.parametrize("n_virtual_coils", [None, 3])
def test_whitening_does_not_shade_the_image(read, n_virtual_coils):
    """Coils of different noise: the finished image is that of the coils as measured, the raw one is not."""
    scan = small_scan(matrix=(24, 28))
    signal = list(scan.samples)
    uneven = np.array([[1, 0, 0], [0.3 + 0.3j, 0.8, 0], [0, 0.3j, 0.5]]) * 1e-4
    add_noise(scan, 40, uneven, dwell_us=2.0)
    scan.samples[: len(signal)] = signal
    scan.space["vendor"] = "SIEMENS"
    data = read(scan, config=AcquisitionConfig(csm="espirit", n_virtual_coils=n_virtual_coils))
    image = (data.csm.conj() * ifft2c(data.kspace)).sum(-3)
    truth = scan.images[0].abs().float()
    assert relative_error(finish_image(image, data).abs(), truth) < 0.01
    scale = (image.abs() * truth).sum() / (image.abs() ** 2).sum()
    assert relative_error(scale * image.abs(), truth) > 0.1


@pytest.mark.parametrize(("n_coils", "settings"), [(3, ["n_virtual_coils=1"]), (1, [])])
def test_whitening_does_not_scale_the_image_of_one_coil(read, n_coils, settings):
    scan = small_scan(matrix=(24, 28), n_coils=n_coils)
    signal = list(scan.samples)
    add_noise(scan, 40, MIXING[:n_coils, :n_coils], dwell_us=2.0)
    scan.samples[: len(signal)] = signal
    scan.space["vendor"] = "SIEMENS"
    data = read(scan, config=PLAIN.with_settings(settings))
    assert data.csm is None
    energy = torch.linalg.vector_norm(finish_image(ifft2c(data.kspace)[:, 0], data))
    assert energy / torch.linalg.vector_norm(scan.kspace[0]) == pytest.approx(1, rel=1e-4 if n_coils == 1 else 0.6)


def test_coils_that_are_broken(tmp_path):
    """Without noise and signal a coil is left out; with signal alone it is refused, and can be left out."""
    scan, config = small_scan(matrix=(24, 28)), AcquisitionConfig(csm="espirit")
    signal = [samples.copy() for samples in scan.samples]
    add_noise(scan, 40, MIXING, dwell_us=2.0)
    for number, samples in enumerate(scan.samples):
        samples[1] = 0
        samples[[0, 2]] = signal[number][[0, 2]] if number < len(signal) else samples[[0, 2]]
    scan.space["vendor"] = "SIEMENS"
    path = scan.write(tmp_path / "scan.h5")
    opened = open_scan(path, config)
    assert "coil 1 carries neither noise nor signal: it is left out" in opened.warnings
    data = opened.read_slice(0)
    assert data.n_coils == 2
    expected = torch.linalg.vector_norm(ifft2c(scan.kspace[0])[:, [0, 2]], dim=1)
    assert relative_error(finish_image(data.reference, data).abs(), expected) < 0.05
    for number in range(len(signal)):
        scan.samples[number][1] = signal[number][1]
    scan.write(path)
    with pytest.raises(DataError, match="coil 1 carries signal, but no noise") as caught:
        open_scan(path, config).read_slice(0)
    assert (caught.value.where, "exclude_coils=[1]" in caught.value.hint) == (str(path), True)
    for whiten in ("true", "false"):
        opened = open_scan(path, config.with_settings(["exclude_coils=[1]", f"whiten={whiten}"]))
        assert (opened.plan.n_coils, opened.read_slice(0).n_coils) == (2, 2)
        data = opened.read_slice(0)
        assert relative_error(finish_image(data.reference, data).abs(), expected) < 0.05
    for left_out, words in (([3], "no coil 3"), ([0, 1, 2], "all coils")):
        with pytest.raises(ConfigError, match=words):
            open_scan(path, AcquisitionConfig(exclude_coils=left_out))


def test_noise_that_cannot_be_whitened_names_the_scan(tmp_path):
    scan = small_scan()
    add_noise(scan, 1, np.ones((3, 3)), dwell_us=2.0)
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(DataError, match="singular") as caught:
        open_scan(path, PLAIN).read_slice(0)
    assert (caught.value.where, "whiten=false" in caught.value.hint) == (str(path), True)


def test_noise_from_another_file(tmp_path):
    scan = small_scan(matrix=(32, 32), n_frames=6)
    add_noise(scan, 40, MIXING, dwell_us=10.0)
    is_noise = np.arange(len(scan.heads)) >= 6 * 32
    noise = small_scan(matrix=(32, 32), n_frames=6)
    noise.heads, noise.samples = scan.heads, scan.samples
    noise.keep(is_noise)
    scan.keep(~is_noise)
    path, noise_path = scan.write(tmp_path / "scan.h5"), noise.write(tmp_path / "noise.h5")
    opened = open_scan(path, PLAIN, noise=noise_path)
    assert "noise.h5" in opened.plan.noise
    assert_white(opened.read_slice(0))
    with pytest.raises(DataError, match="no noise readouts"):
        open_scan(path, PLAIN, noise=path)
    noise.samples = [samples[:2] for samples in noise.samples]
    noise.heads["active_channels"] = 2
    with pytest.raises(DataError, match="2 channels, the image readouts have 3"):
        open_scan(path, PLAIN, noise=noise.write(tmp_path / "other.h5")).read_slice(0)


def test_virtual_coils_keep_the_image(read):
    scan = small_scan(n_coils=6)
    data = read(scan, config=AcquisitionConfig(csm="walsh", n_virtual_coils=4))
    assert data.n_coils == data.csm.shape[0] == 4
    energy = torch.linalg.vector_norm(data.kspace) / torch.linalg.vector_norm(scan.kspace[0])
    assert 0.97 < energy <= 1.0001


def test_one_coil_has_no_maps(read):
    data = read(small_scan(n_coils=1))
    assert data.csm is None
    assert relative_error(data.reference, ifft2c(data.kspace)[:, 0]) < 1e-5


@pytest.mark.parametrize("n_virtual_coils", [None, 2])
def test_truth_in_the_units_of_the_image(tmp_path, n_virtual_coils):
    """A scan that carries its truth is given it as if it had been fully sampled and read like its data."""
    scan = small_scan(n_slices=2)
    every_line = scan.heads.copy(), list(scan.samples)
    config = PLAIN.model_copy(update={"n_virtual_coils": n_virtual_coils})
    path = tmp_path / "scan.h5"
    for keep in (slice(None), np.flatnonzero(np.arange(72) % 4 != 1)):
        scan.heads, scan.samples = every_line
        scan.keep(keep)
        with h5py.File(scan.write(path), "r+") as file:
            file["truth/reference"] = (7 * scan.images).numpy().astype(np.complex64)
            file["truth/csm"] = scan.csm.expand(2, -1, -1, -1).numpy().astype(np.complex64)
        for number, data in enumerate(intake(path, config)):
            mixed = ifft2c(scan.kspace[number])
            if n_virtual_coils is None:
                expected = (data.csm.conj() * mixed).sum(-3)
                assert relative_error(data.reference, expected) < 1e-3
            if isinstance(keep, slice):
                adjoint = (data.csm.conj() * ifft2c(data.kspace)).sum(-3)
                assert relative_error(data.reference, adjoint) < 1e-3


def test_memory_limit_is_said(tmp_path):
    path = small_scan().write(tmp_path / "scan.h5")
    with pytest.raises(DataError, match="limit 1e-06 GB"):
        open_scan(path, AcquisitionConfig(memory_limit_gb=1e-6))


def set_head(name: str, row: int | slice, value: float) -> Callable[[RawFile], None]:
    def bend(scan: RawFile) -> None:
        scan.heads[name][row] = value

    return bend


def set_counter(name: str, row: int | slice, value: int) -> Callable[[RawFile], None]:
    def bend(scan: RawFile) -> None:
        scan.heads["idx"][name][row] = value

    return bend


def set_space(**values) -> Callable[[RawFile], None]:
    return lambda scan: scan.space.update(values)


def set_limit(name: str, maximum: int, centre: int = 0) -> Callable[[RawFile], None]:
    return lambda scan: scan.space["limits"].update({name: (maximum, centre)})


def lose(**counters) -> Callable[[RawFile], None]:
    def bend(scan: RawFile) -> None:
        lost = rows_of(scan, **counters)
        scan.keep([i for i in range(len(scan.heads)) if i not in lost])

    return bend


def repeat(factor: complex = 1, **counters: int) -> Callable[[RawFile], None]:
    """Measure every line again, as much larger, with these counters."""

    def bend(scan: RawFile) -> None:
        for row in range(len(scan.heads)):
            head = scan.append(row, np.complex64(factor) * scan.samples[row])
            for name, value in counters.items():
                head["idx"][name] = value

    return bend


def other_channels(scan: RawFile) -> None:
    scan.append(5, scan.samples[5][:2])


def radial_trajectory(scan: RawFile) -> None:
    scan.heads["trajectory_dimensions"] = 2
    angles = np.linspace(0, np.pi, len(scan.heads), endpoint=False)
    along = np.linspace(-0.5, 0.5, 32)
    scan.trajectories = [np.stack([np.cos(a) * along, np.sin(a) * along], 1).astype(np.float32) for a in angles]


BENT = {
    "dangling encoding": (set_head("encoding_space_ref", 9, 3), HeaderError, "encoding_space_ref is 3"),
    "compressed": (lambda s: s.flag(9, 53), UnsupportedError, "flag 53"),
    "only noise": (lambda s: [s.flag(i, 19) for i in range(36)], DataError, "noise readouts only"),
    "centre sample": (set_head("center_sample", slice(None), 400), DataError, "center_sample is 400 of 32 samples"),
    "centre does not fit": (set_head("center_sample", 9, 10), DataError, "center_sample 10 puts 32 samples"),
    "centre line": (set_limit("kspace_encoding_step_1", 11, 99), HeaderError, r"centre is 99, outside 0\.\.11"),
    "line": (set_counter("kspace_encode_step_1", 9, 200), DataError, "kspace_encode_step_1 = 200, limit 11"),
    "phase": (set_counter("phase", 9, 40), HeaderError, "phase = 40, limit 2"),
    "slice": (set_counter("slice", 9, 40), HeaderError, "slice = 40, limit 0"),
    "channels": (other_channels, DataError, "acquisition 36 has 2 channels, the others 3"),
    "all discarded": (set_head("discard_pre", 9, 32), DataError, "nothing is left"),
    "radial stored": (radial_trajectory, UnsupportedError, "the stored trajectory is not"),
    "radial header": (set_space(trajectory="radial"), UnsupportedError, "trajectory is radial"),
    "epi header": (set_space(trajectory="epi"), UnsupportedError, "EPI"),
    "3-D header": (set_space(depth=8), UnsupportedError, "3-D scan"),
    "3-D data": (set_counter("kspace_encode_step_2", 9, 4), UnsupportedError, "3-D scan"),
    "two sets": (set_counter("set", slice(5, None), 1), UnsupportedError, "2 sets"),
    "first frame missing": (lose(phase=0), DataError, "frame 0 of 3 holds no lines"),
    "last frame missing": (lose(phase=2), DataError, "frame 2 of 3 holds no lines"),
    "frame missing in a slice": (lose(phase=1, slice=0), DataError, "frame 1"),
    "65536 phases": (set_limit("phase", 65535), DataError, "phase limit 65535 against 3 phase"),
    "terabytes": (set_space(matrix=(65535, 65535)), HeaderError, "TB of k-space, limit is 1 TB|rows|samples"),
    "matrix of another scan": (set_space(matrix=(32, 640)), HeaderError, "640 rows, the data have lines up to 11"),
    "wide matrix": (set_space(matrix=(640, 12), fov=(12800.0, 240.0)), HeaderError, "makes no sense|640"),
    "short readouts": (set_space(matrix=(320, 12)), DataError, "encodedSpace x is 320, but"),
    "field of view": (set_space(recon_fov=(1280.0, 240.0)), HeaderError, "oversampling of 0.5 makes no sense"),
    "phases and repetitions": (repeat(repetition=1), UnsupportedError, "3 phases x 2 repetitions"),
}


@pytest.mark.parametrize("name", BENT)
def test_bent_scans_are_refused(tmp_path, name):
    bend, error, words = BENT[name]
    scan = small_scan()
    bend(scan)
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(error, match=words) as caught:
        open_scan(path, PLAIN)
    assert str(path) in caught.value.where


def test_all_zero_is_refused(tmp_path):
    scan = small_scan()
    scan.samples = [0 * samples for samples in scan.samples]
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    for attempt in (opened.check_samples, lambda: opened.read_slice(0)):
        with pytest.raises(DataError, match="all samples are zero"):
            attempt()


def test_cartesian_trajectory_is_read(read):
    scan = small_scan()
    scan.heads["trajectory_dimensions"] = 2
    along = (np.arange(32) - 16) / 32
    lines = (scan.heads["idx"]["kspace_encode_step_1"] - 6) / 12
    scan.trajectories = [np.stack([along, np.full(32, ky)], 1).astype(np.float32) for ky in lines]
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_a_false_claim_of_oversampling(tmp_path):
    scan = small_scan(matrix=(16, 16), oversampling=1)
    scan.space["fov"] = (640.0, 320.0)
    scan.space["recon_fov"] = (320.0, 320.0)
    scan.space["recon"] = (8, 16)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(0).kspace, scan.kspace[0]) < 1e-5
    assert any("2x readout oversampling" in warning for warning in opened.plan.warnings)


def test_limits_that_are_too_small_are_only_said(tmp_path):
    scan = small_scan(n_slices=2)
    scan.space["limits"].update(phase=(0, 0), slice=(0, 0))
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1]) < 1e-5
    assert sum("too small" in warning for warning in opened.plan.warnings) == 2


def test_counters_that_start_at_one(tmp_path):
    scan = small_scan(n_slices=2)
    for name in ("phase", "slice"):
        scan.heads["idx"][name] += 1
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1]) < 1e-5
    assert sum("is counted from 1 to" in warning for warning in opened.plan.warnings) == 2


def test_errors_are_ours(tmp_path):
    with pytest.raises(CineReconError):
        open_scan(tmp_path / "missing.h5")
    opened = open_scan(small_scan().write(tmp_path / "scan.h5"), PLAIN)
    with pytest.raises(DataError, match="slices 0 to 0"):
        opened.read_slice(1)


def test_coils_are_compressed_at_each_position_along_the_readout(read):
    scan = small_scan(n_coils=4)
    config = AcquisitionConfig(csm="walsh", n_virtual_coils=2, compression="geometric")
    data, plain = read(scan, config=config), read(scan)
    matrices = geometric_compression_matrices(plain.kspace, 2)
    assert relative_error(data.kspace, apply_geometric_compression(matrices, plain.kspace)) < 1e-6
    assert data.n_coils == 2
    shown, expected = (finish_image(part.reference, part).abs() for part in (data, plain))
    assert relative_error(shown, expected) < 0.05
    for i, samples in enumerate(scan.samples):
        scan.samples[i] = samples[:, 8:]
    scan.heads["number_of_samples"] -= 8
    scan.heads["center_sample"] -= 8
    with pytest.raises(UnsupportedError, match="readouts that were not measured whole"):
        read(scan, config=config)


@pytest.mark.parametrize("centre", [6, 4])
def test_the_echo_decides_where_both_readings_fit(read, centre):
    scan = small_scan(oversampling=1, vendor="GE")
    junk = np.full((3, 2), 1e3, np.complex64)
    scan.samples = [np.concatenate([junk, samples[:, 4:14], junk], 1) for samples in scan.samples]
    scan.heads["number_of_samples"], scan.heads["center_sample"] = 14, centre
    scan.heads["discard_pre"] = scan.heads["discard_post"] = 2
    mask = (torch.arange(16) >= 4) & (torch.arange(16) < 14)
    assert relative_error(read(scan).kspace, scan.kspace[0] * mask) < 1e-5


def test_siemens_noise_is_scaled_by_its_bandwidth_where_dwell_times_differ(read):
    scan = small_scan(matrix=(32, 32), n_frames=6)
    add_noise(scan, 40, MIXING, dwell_us=30.0, bandwidth=0.793)
    scan.space["vendor"] = "SIEMENS"
    assert float(read(scan).kspace.abs().square().mean()) == pytest.approx(1, rel=0.05)


def test_the_pilot_tone_spoils_reversed_readouts_at_their_other_end(read):
    scan = small_scan(oversampling=1, vendor="GE")
    mask = torch.ones(12, 16, dtype=torch.bool)
    for i, samples in enumerate(scan.samples):
        if i % 2:
            scan.samples[i] = samples = samples[:, ::-1].copy()
            scan.flag(i, 22)
        samples[:, :3] = samples[:, -1:] = 1e4
    mask[::2, :3], mask[::2, -1:], mask[1::2, :1], mask[1::2, -3:] = (False,) * 4
    parameter = "<userParameterLong><name>PilotTone</name><value>1</value></userParameterLong>"
    scan.space["extra"] = f"<userParameters>{parameter}</userParameters>"
    data = read(scan)
    assert torch.equal(data.mask[1, 0], mask)
    assert relative_error(data.kspace, scan.kspace[0] * mask) < 1e-5


def test_a_block_of_less_than_half_the_lines_is_no_full_scan(read):
    scan = small_scan(vendor="GE")
    lines = scan.heads["idx"]["kspace_encode_step_1"]
    scan.keep((lines >= 4) & (lines < 9))
    assert read(scan).reference is None


def test_pixels_that_are_a_little_uneven_are_no_false_claim(read):
    """Threefold oversampling of long pixels: twofold would make them square, but nothing is absurd."""
    scan = small_scan(matrix=(24, 16), oversampling=3, vendor="GE")
    scan.space["fov"], scan.space["recon_fov"] = (960.0, 320.0), (320.0, 320.0)
    data = read(scan)
    assert data.matrix == (24, 16)
    assert relative_error(data.kspace, scan.kspace[0]) < 1e-5


def test_readouts_that_run_aslant_are_refused(tmp_path):
    scan = small_scan()
    scan.heads["trajectory_dimensions"] = 2
    along = (np.arange(32) - 16) / 32
    scan.trajectories = [np.stack([along, 0.1 * along], 1).astype(np.float32) for _ in scan.heads]
    with pytest.raises(UnsupportedError, match="the stored trajectory is not"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


def test_counters_may_begin_at_one(tmp_path):
    scan = small_scan(n_slices=2)
    for counter, maximum in (("phase", 3), ("slice", 2)):
        scan.heads["idx"][counter] += 1
        scan.space["limits"][counter] = (maximum, 1, 1)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert not any("slices" in warning or "limit" in warning for warning in opened.plan.warnings)
    assert relative_error(opened.read_slice(1).kspace, scan.kspace[1]) < 1e-5
    scan.space["limits"]["phase"] = (2, 1, 1)
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    assert any("limit of phase (2) is too small" in warning for warning in opened.plan.warnings)
    scan.space["limits"]["phase"] = (3, 1, 1)
    scan.keep(scan.heads["idx"]["phase"] > 1)
    with pytest.raises(DataError, match="frame 0 of 3 holds no lines"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    scan.space["limits"]["phase"] = (2, 1, 1)
    with pytest.raises(HeaderError, match="phase = 3, limit 2"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


def test_pixels_are_those_of_the_encoded_grid(read):
    """Ten and a half pixels, and 10 2/3 along the readout, are rounded; their size stays."""
    scan = small_scan(vendor="GE")
    scan.space["recon_fov"] = (640 / 3, 210.0)
    data = read(scan)
    assert data.matrix == (10, 11)
    assert data.meta.pixel_size_mm == pytest.approx((20, 20))
