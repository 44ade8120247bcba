"""Noise readouts, whitening, and coils that are left out."""

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error
from raw_scan import RawFile, small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.inspection import inspect_scan
from cinerecon.acquisition.open import open_scan
from cinerecon.acquisition.readouts.noise import noise_covariance, whitening_matrix
from cinerecon.errors import ConfigError, DataError
from cinerecon.physics.coils import apply_coil_matrix
from cinerecon.physics.final_image import finish_image
from cinerecon.physics.fourier import ifft2c

PLAIN = AcquisitionConfig(csm="walsh")


MIXING = np.array([[2, 0, 0], [0.5 + 0.5j, 1, 0], [0, 0.3j, 0.2]]) * 1e-4


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


def assert_white(data, coils=3):
    samples = data.kspace.movedim(1, 0).reshape(coils, -1).numpy()
    covariance = noise_covariance(samples)
    tolerance = 5 / np.sqrt(samples.shape[1])
    assert np.abs(covariance - np.eye(coils)).max() < tolerance


@pytest.mark.parametrize("oversampling", [1, 2])
def test_noise_is_white_after_preprocessing(read, oversampling):
    """Unit variance in every coil for any dwell times; removing the oversampling keeps it."""
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


@pytest.mark.parametrize(("compression", "n_virtual"), [("pca", 5), ("geometric", 4)])
@pytest.mark.parametrize("whiten", [True, False])
def test_coil_compression_does_not_shade_the_image(read, compression, n_virtual, whiten):
    """Virtual coils of whitened coils with different gain and correlated noise have the intensity of all coils."""
    scan = small_scan(matrix=(24, 28), n_coils=6)
    signal = list(scan.samples)
    mixing = complex_randn(6, 6, seed=3).numpy() / 5 + np.diag([1, 2, 0.7, 1.5, 1, 0.6])
    add_noise(scan, 60, 1e-4 * mixing, dwell_us=2.0)
    scan.samples[: len(signal)] = signal
    scan.space["vendor"] = "SIEMENS"
    settings = {"csm": "espirit", "whiten": whiten, "n_virtual_coils": n_virtual, "compression": compression}
    data = read(scan, config=AcquisitionConfig(**settings))
    assert data.n_coils == n_virtual
    image = finish_image((data.csm.conj() * ifft2c(data.kspace)).sum(-3), data).abs()
    truth = scan.images[0].abs().float()
    assert relative_error(image, truth) < 0.06
    assert float((image * truth).sum() / truth.square().sum()) == pytest.approx(1, abs=0.01)


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
    assert "coil 1 has neither noise nor signal: it is excluded" in inspect_scan(path, config).warnings
    data = opened.read_slice(0)
    assert data.n_coils == 2
    expected = torch.linalg.vector_norm(ifft2c(scan.kspace[0])[:, [0, 2]], dim=1)
    assert relative_error(finish_image(data.reference, data).abs(), expected) < 0.05
    for number in range(len(signal)):
        scan.samples[number][1] = signal[number][1]
    scan.write(path)
    with pytest.raises(DataError, match="coil 1 has signal, but no noise") as caught:
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


def test_siemens_noise_is_scaled_by_its_bandwidth_where_dwell_times_differ(read):
    scan = small_scan(matrix=(32, 32), n_frames=6)
    add_noise(scan, 40, MIXING, dwell_us=30.0, bandwidth=0.793)
    scan.space["vendor"] = "SIEMENS"
    assert float(read(scan).kspace.abs().square().mean()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("dwell_us", [4.0, 100.0])
@pytest.mark.parametrize("is_last", [False, True])
def test_noise_readouts_of_two_dwell_times_are_scaled_separately(read, dwell_us, is_last):
    scan = small_scan(matrix=(32, 32), n_frames=6)
    first, last = (2.0, dwell_us) if is_last else (dwell_us, 2.0)
    n_image = len(scan.heads)
    add_noise(scan, 20, MIXING, dwell_us=first)
    noise = scan.samples[n_image:]
    scan.keep(list(range(n_image)))
    add_noise(scan, 60, MIXING, dwell_us=last)
    for samples in noise:
        scan.append(len(scan.heads) - 1, samples)["sample_time_us"] = first
    data = read(scan)
    assert_white(data)
    assert not any("noise" in text for text in data.meta.warnings)


@pytest.fixture
def noise():
    return (complex_randn(5, 5, seed=1) @ complex_randn(5, 4000, seed=2)).numpy()


def test_covariance_uses_the_samples_as_they_are():
    noise = np.array([[1.0 + 1j, 3.0 + 1j], [2j, 4j]])
    assert np.array_equal(noise_covariance(noise), [[6.0 + 0j, 3.0 - 7j], [3.0 + 7j, 10.0 + 0j]])


def test_whitened_noise_has_identity_covariance(noise):
    matrix = whitening_matrix(noise_covariance(noise))
    assert np.array_equal(matrix, np.tril(matrix))
    assert np.abs(noise_covariance(matrix @ noise) - np.eye(5)).max() < 1e-10


def test_coils_of_very_different_gain_are_whitened_in_single_precision():
    gains = np.array([1e-6, 1.0, 1e5], np.float32)[:, None]
    noise = complex_randn(3, 5000, dtype=torch.complex64).numpy() * gains
    matrix = whitening_matrix(noise_covariance(noise))
    assert matrix.dtype == np.complex64
    assert np.abs(noise_covariance(matrix @ noise) - np.eye(3)).max() < 1e-5


def test_dead_coil_is_named(noise):
    noise[3] = 0
    with pytest.raises(DataError, match="coil 3 has no noise"):
        whitening_matrix(noise_covariance(noise))


def test_too_few_samples_are_refused(noise):
    with pytest.raises(DataError, match="singular"):
        whitening_matrix(noise_covariance(noise[:, :4]))


def test_matrix_mixes_the_named_axis():
    matrix, data = complex_randn(2, 3), complex_randn(4, 3, 5, 6, seed=1)
    mixed = apply_coil_matrix(matrix, data, -3)
    assert relative_error(mixed, torch.einsum("vc,fcyx->fvyx", matrix, data)) < 1e-12
    assert mixed.shape == (4, 2, 5, 6)


def test_lines_of_the_image_with_the_flag_of_noise_are_reported(read):
    scan = small_scan(matrix=(32, 32), n_frames=6)
    signal = list(scan.samples)
    add_noise(scan, 40, MIXING, dwell_us=2.0)
    scan.samples[: len(signal)] = [
        noise + image for noise, image in zip(scan.samples[: len(signal)], signal, strict=True)
    ]
    right = read(scan)
    assert not any("flag 19" in text for text in right.meta.warnings)
    flagged = np.flatnonzero(scan.heads["idx"]["kspace_encode_step_1"][: len(signal)] == 17)
    for row in flagged:
        scan.flag(row, 19)
    data = read(scan)
    assert any(
        "6 of 46 readouts with flag 19 (noise)" in text and f"acquisition {flagged[0]}" in text
        for text in data.meta.warnings
    )
    assert relative_error(data.kspace, right.kspace * data.mask) < 1e-5


@pytest.mark.parametrize(("factor", "is_reported"), [(1.0, False), (10.0, True), (0.01, True)])
def test_a_noise_scan_of_another_gain_is_reported(read, factor, is_reported):
    scan = small_scan(matrix=(32, 32), n_frames=6)
    add_noise(scan, 40, MIXING, dwell_us=2.0)
    is_noise = (scan.heads["flags"] & np.uint64(1 << 18)) > 0
    scan.samples = [
        factor * samples if noise else samples for samples, noise in zip(scan.samples, is_noise, strict=True)
    ]
    texts = [text for text in read(scan).meta.warnings if "a different gain or dwell time" in text]
    assert len(texts) == is_reported
    if is_reported:
        assert float(texts[0].split("has ")[1].split()[0]) == pytest.approx(1 / factor, rel=0.3)


@pytest.mark.parametrize(
    ("gain", "n_reported"), [(20.0, 1), (2.0, 0), (0.05, 1), (0.0, 1)], ids=["loud", "similar", "quiet", "off"]
)
def test_a_coil_whose_gain_differs_from_that_in_the_noise_scan_is_reported(tmp_path, gain, n_reported):
    scan = small_scan(matrix=(48, 48), n_frames=4)
    signal = [1e-2 * samples for samples in scan.samples]
    add_noise(scan, 40, 1e-3 * np.eye(3), dwell_us=2.0)
    for samples, added in zip(scan.samples, signal, strict=False):  # the noise readouts follow
        samples += added
        samples[1] *= gain
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).read_slice(0).meta.warnings
    texts = [text for text in warnings if "coil 1: the ratio of its noise" in text]
    assert len(texts) == n_reported
    assert not any("coil 0" in text or "coil 2" in text for text in warnings)
