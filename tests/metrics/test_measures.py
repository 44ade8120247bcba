"""The measures agree with scikit-image, with the authors' programs, and with what they mean."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import complex_randn

from cinerecon.errors import ShapeError
from cinerecon.metrics.measures import compare, mse, nmse, psnr, ssim

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden" / "metrics.npz"


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ssim_agrees_with_scikit_image(pair, dtype):
    metrics = pytest.importorskip("skimage.metrics")
    image, reference = (x.abs().to(dtype) for x in pair)
    peak = float(reference.max())
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": peak}
    frames = zip(image.double().numpy(), reference.double().numpy(), strict=True)
    expected = np.mean([metrics.structural_similarity(b, a, **settings) for a, b in frames])
    assert ssim(image, reference) == pytest.approx(expected, abs=1e-10)


@pytest.mark.skipif(not GOLDEN.exists(), reason="golden metrics are not here")
@pytest.mark.parametrize("case", ["zf_sc", "jotlas_sc", "jotlas_mc"])
def test_the_authors_programs_give_the_same_numbers(case):
    golden = np.load(GOLDEN)
    image, reference = (torch.from_numpy(golden[f"{case}/{name}"])[0] for name in ("recon", "label"))
    half = 0.5 if reference.is_complex() else 1.0  # the authors average over real and imaginary parts
    assert psnr(image, reference) == pytest.approx(float(golden[f"{case}/PSNR_jotlas"]), abs=1e-4)
    assert -10 * math.log10(nmse(image, reference)) == pytest.approx(float(golden[f"{case}/SER"]), abs=1e-4)
    assert half * mse(image, reference) == pytest.approx(float(golden[f"{case}/MSE"]), rel=1e-5)
    assert ssim(image, reference, data_range=1.0) == pytest.approx(float(golden[f"{case}/SSIM_maxval1"][0]), abs=2e-6)
    assert ssim(image, reference) == pytest.approx(float(golden[f"{case}/SSIM_label_normalised"][0]), abs=2e-6)


def test_compare_on_magnitudes_ignores_the_phase(pair):
    image, reference = pair
    phase = torch.polar(torch.ones(19, 24).double(), torch.linspace(0, 3, 24).double().expand(19, 24))
    found = compare(image * phase, reference)
    assert found == pytest.approx(compare(image, reference))
    assert found["psnr"] == pytest.approx(psnr(image.abs(), reference.abs()))
    assert compare(image, reference, magnitude=False)["psnr"] == pytest.approx(psnr(image, reference))


def test_what_cannot_be_compared_is_refused(pair):
    image, reference = pair
    with pytest.raises(ShapeError, match="sizes"):
        mse(image[:2], reference)
    with pytest.raises(ShapeError, match="complex"):
        psnr(image.abs(), reference)
    with pytest.raises(ShapeError, match="11 x 11"):
        ssim(image[..., :8], reference[..., :8])
