"""The measures agree with scikit-image, with the authors' programs, and with their definitions."""

import math

import numpy as np
import pytest
import torch
from golden import golden
from helpers import complex_randn

from cinerecon.errors import ShapeError
from cinerecon.metrics import scan_correlation, temporal_sharpness, xt_ssim
from cinerecon.metrics.measures import UNIFORM, compare, compare_frames, hfen, mse, nmse, psnr, ssim


@pytest.fixture
def pair():
    reference = complex_randn(3, 19, 24, seed=1)
    return reference + 0.2 * complex_randn(3, 19, 24, seed=2), reference


def test_mse_is_the_mean_squared_complex_error(pair):
    image, reference = pair
    assert mse(image, reference) == pytest.approx(np.mean(np.abs((image - reference).numpy()) ** 2))
    assert nmse(image, reference) == pytest.approx(mse(image, reference) / mse(0 * reference, reference))


def test_psnr_of_a_known_error():
    reference = torch.full((2, 12, 12), 2.0)
    assert psnr(reference + 0.02, reference) == pytest.approx(40, abs=1e-4)
    assert psnr(reference + 0.02, reference, data_range=0.2) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize("measure", [nmse, psnr, ssim])
def test_unitless_measures_do_not_see_the_scale(pair, measure):
    image, reference = pair
    assert measure(1e-6 * image, 1e-6 * reference) == pytest.approx(measure(image, reference), rel=1e-9)


def test_the_truth_itself_is_perfect(pair):
    _, reference = pair
    assert mse(reference, reference) == 0
    assert psnr(reference, reference) == math.inf
    assert ssim(reference, reference) == pytest.approx(1)


def test_an_empty_reference_gives_no_division_error():
    zeros = torch.zeros(2, 12, 12)
    assert nmse(zeros, zeros) == 0
    assert psnr(zeros, zeros) == math.inf
    assert nmse(zeros + 1, zeros) == math.inf
    assert psnr(zeros + 1, zeros) == -math.inf


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_reference_without_edges_has_no_finite_hfen(pair, value):
    image, reference = pair[0].abs().double(), torch.full_like(pair[0].abs().double(), value)
    assert hfen(image, reference) == math.inf
    assert hfen(reference + 1, reference) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ssim_agrees_with_scikit_image(pair, dtype):
    metrics = pytest.importorskip("skimage.metrics")
    image, reference = (x.abs().to(dtype) for x in pair)
    peak = float(reference.max())
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": peak}
    frames = zip(image.double().numpy(), reference.double().numpy(), strict=True)
    expected = np.mean([metrics.structural_similarity(b, a, **settings) for a, b in frames])
    assert ssim(image, reference) == pytest.approx(expected, abs=1e-10)


def test_ssim_with_the_uniform_window_is_the_default_of_scikit_image(pair):
    metrics = pytest.importorskip("skimage.metrics")
    image, reference = (x.real.double() for x in pair)  # negative values too, as after the scale of CMRxRecon 2024
    peak = float(reference.max())
    frames = zip(image.numpy(), reference.numpy(), strict=True)
    expected = np.mean([metrics.structural_similarity(b, a, data_range=peak) for a, b in frames])
    assert ssim(image, reference, peak, window=UNIFORM) == pytest.approx(expected, abs=1e-10)


def test_psnr_agrees_with_scikit_image(pair):
    metrics = pytest.importorskip("skimage.metrics")
    image, reference = (x.abs().double() for x in pair)
    peak = float(reference.max())
    expected = metrics.peak_signal_noise_ratio(reference.numpy(), image.numpy(), data_range=peak)
    assert psnr(image, reference) == pytest.approx(expected, abs=1e-10)


def test_hfen_is_the_laplacian_of_gaussian_of_scipy(pair):
    ndimage = pytest.importorskip("scipy.ndimage")
    image, reference = (x.abs().double() for x in pair)
    inside = (slice(7, -7), slice(7, -7))
    edges = [
        np.stack([ndimage.gaussian_laplace(frame, 1.5, radius=7)[inside] for frame in x.numpy()])
        for x in (image, reference)
    ]
    expected = np.linalg.norm(edges[0] - edges[1]) / np.linalg.norm(edges[1])
    assert hfen(image, reference) == pytest.approx(expected, rel=1e-3)


def test_hfen_sees_edges_alone(pair):
    _, reference = (x.abs().double() for x in pair)
    assert hfen(reference + 3, reference) == pytest.approx(0, abs=1e-10)
    assert hfen(0 * reference, reference) == pytest.approx(1)
    assert hfen(0.5 * reference, reference) == pytest.approx(0.5)


def test_frames_are_measured_with_the_range_of_the_series(pair):
    image, reference = (x.abs() for x in pair)
    found = compare_frames(image, reference)
    peak = float(reference.max())
    assert found["psnr"] == tuple(psnr(a, b, peak) for a, b in zip(image, reference, strict=True))
    assert np.mean(found["ssim"]) == pytest.approx(ssim(image, reference))
    errors = [mse(a, b) for a, b in zip(image, reference, strict=True)]
    assert 10 ** (-np.array(found["psnr"]) / 10) * peak**2 == pytest.approx(errors)


@pytest.mark.parametrize("case", ["zf_sc", "jotlas_sc", "jotlas_mc"])
def test_the_authors_programs_give_the_same_numbers(case):
    stored = golden("metrics")
    image, reference = (torch.from_numpy(stored[f"{case}/{name}"])[0] for name in ("recon", "label"))
    half = 0.5 if reference.is_complex() else 1.0  # the authors average over real and imaginary parts
    assert psnr(image, reference) == pytest.approx(float(stored[f"{case}/PSNR_jotlas"]), abs=1e-4)
    assert -10 * math.log10(nmse(image, reference)) == pytest.approx(float(stored[f"{case}/SER"]), abs=1e-4)
    assert half * mse(image, reference) == pytest.approx(float(stored[f"{case}/MSE"]), rel=1e-5)
    assert ssim(image, reference, data_range=1.0) == pytest.approx(float(stored[f"{case}/SSIM_maxval1"][0]), abs=2e-6)
    assert ssim(image, reference) == pytest.approx(float(stored[f"{case}/SSIM_label_normalised"][0]), abs=2e-6)


def test_compare_on_magnitudes_ignores_the_phase(pair):
    image, reference = pair
    phase = torch.polar(torch.ones(19, 24).double(), torch.linspace(0, 3, 24).double().expand(19, 24))
    found = compare(image * phase, reference)
    assert found == pytest.approx(compare(image, reference))
    assert found["psnr"] == pytest.approx(psnr(image.abs(), reference.abs()))
    assert compare(image, reference, magnitude=False)["psnr"] == pytest.approx(psnr(image, reference))


def test_what_cannot_be_compared_is_refused(pair):
    image, reference = pair
    with pytest.raises(ShapeError, match="the reference"):
        mse(image[:2], reference)
    with pytest.raises(ShapeError, match="complex"):
        psnr(image.abs(), reference)
    with pytest.raises(ShapeError, match="11 x 11"):
        ssim(image[..., :8], reference[..., :8])
    with pytest.raises(ShapeError, match="HFEN needs frames of at least 15 x 15 pixels, found 19 x 12"):
        hfen(image[..., :12], reference[..., :12])


MEASURES = [mse, nmse, psnr, ssim, hfen, compare, compare_frames, xt_ssim, temporal_sharpness, scan_correlation]


@pytest.mark.parametrize("measured", MEASURES)
def test_arrays_of_numpy_are_measured_as_tensors_are(pair, measured):
    image, reference = (x.abs() for x in pair)
    if measured is scan_correlation:
        image, reference = (x.repeat(1, 4, 4) for x in (image, reference))
        measure = lambda a, b: scan_correlation(a, b).cutoff.nan_to_num()  # noqa: E731
        assert torch.equal(measure(image.numpy(), reference.numpy()), measure(image, reference))
    else:
        assert measured(image.numpy(), reference.numpy()) == measured(image, reference)


@pytest.mark.parametrize("measured", MEASURES[:-1])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float16])
def test_differences_of_whole_numbers_do_not_wrap_around(pair, measured, dtype):
    """Frames of a movie are bytes: 3 - 5 is 254 there."""
    image, reference = ((100 * x.abs()).clamp(0, 255).to(dtype) for x in pair)
    assert measured(image, reference) == measured(image.double(), reference.double())


@pytest.mark.parametrize("measured", MEASURES)
def test_series_that_cannot_be_compared_are_refused(pair, measured):
    image, reference = pair
    for wrong in (image[:1], image[:, :-1], "image", None, [image]):
        with pytest.raises(ShapeError):
            measured(wrong, reference)
    with pytest.raises(ShapeError, match=r"image has the shape \(0, 19, 24\)"):
        measured(image[:0], reference[:0])
