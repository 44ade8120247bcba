"""Each profile computes what its program computes, and states its rules."""

import numpy as np
import pytest
import torch
from helpers import complex_randn

from cinerecon.errors import ConfigError, ShapeError
from cinerecon.metrics import PROFILES, find_profile, measure, mse, nmse, psnr, ssim


@pytest.fixture
def pair():
    reference = 0.7 * complex_randn(5, 44, 51, seed=1)
    return reference + 0.2 * complex_randn(5, 44, 51, seed=2), reference


def challenge(year, image, reference):
    """The ranking of CMRxRecon in a year, by scikit-image, of the first three frames' centre."""
    metrics = pytest.importorskip("skimage.metrics")
    scale = {
        23: lambda x: x / x.max(),
        24: lambda x: (x - x.mean()) / x.std(),
        25: lambda x: x / np.percentile(x, 99.5),
    }[year]
    rows = []
    for frame in range(3):
        # 22 of 44 rows and 34 of 51 columns around the pixel of zero phase
        ours, truth = (scale(np.abs(x[frame, 11:33, 8:42].numpy())) for x in (image, reference))
        peak = truth.max()
        rows.append(
            (
                metrics.peak_signal_noise_ratio(truth, ours, data_range=peak),
                metrics.structural_similarity(truth, ours, data_range=peak),
                np.linalg.norm(truth - ours) ** 2 / np.linalg.norm(truth) ** 2,
            )
        )
    return np.mean(rows, axis=0)


@pytest.mark.parametrize("year", [23, 24, 25])
def test_challenges_are_ranked_as_their_scripts_rank(pair, year):
    image, reference = (x.to(torch.complex128) for x in pair)
    found = measure(PROFILES[f"cmrxrecon{year}"], image, reference, n_coils=10)
    assert [found[name] for name in ("psnr", "ssim", "nmse")] == pytest.approx(challenge(year, image, reference))


def test_fastmri_takes_the_range_of_the_volume(pair):
    metrics = pytest.importorskip("skimage.metrics")
    ours, truth = (x.abs().double().numpy() for x in pair)
    found = measure(PROFILES["fastmri"], *pair)
    ranged = [metrics.structural_similarity(b, a, data_range=truth.max()) for a, b in zip(ours, truth, strict=True)]
    assert found["ssim"] == pytest.approx(np.mean(ranged))
    assert found["psnr"] == pytest.approx(metrics.peak_signal_noise_ratio(truth, ours, data_range=truth.max()))
    assert found["data_range"] == pytest.approx(truth.max())


def test_the_papers_take_the_complex_error_of_one_coil_alone(pair):
    image, reference = pair
    peak = float(reference.abs().max())
    for name, share in (("paper-slr", 1.0), ("paper-pass", 0.5)):
        one, several = (measure(PROFILES[name], image, reference, n_coils=n, kspace_peak=peak) for n in (1, 8))
        assert one["psnr"] == pytest.approx(psnr(image, reference))
        assert one["mse"] == pytest.approx(share * mse(image, reference) / peak**2)
        assert several["psnr"] == pytest.approx(psnr(image.abs(), reference.abs()))
        assert several["mse"] == pytest.approx(mse(image.abs(), reference.abs()) / peak**2)


def test_ours_is_of_magnitudes_on_the_scale_of_the_papers(pair):
    image, reference = (x.abs() for x in pair)
    found = measure(PROFILES["cine"], *pair)
    assert found["psnr"] == pytest.approx(psnr(image, reference))
    assert found["ssim"] == pytest.approx(ssim(image, reference))
    assert found["nmse"] == pytest.approx(nmse(image, reference))
    assert found["mse"] == pytest.approx(10 ** (-found["psnr"] / 10))  # the truth has peak 1


@pytest.mark.parametrize("name", PROFILES)
def test_no_profile_sees_the_units_of_the_data(pair, name):
    image, reference = pair
    once = measure(PROFILES[name], image, reference)
    again = measure(PROFILES[name], 1e-3 * image, 1e-3 * reference)
    for measured in ("psnr", "ssim", "nmse"):
        assert again[measured] == pytest.approx(once[measured], rel=1e-4)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_states_data_range_and_crop(name):
    text = PROFILES[name].description
    assert f"data range: {PROFILES[name].data_range_in_words}" in text
    assert f"crop: {PROFILES[name].crop}" in text
    assert PROFILES[name].window.size in (7, 11)


def test_a_ranking_of_other_slices_is_marked():
    assert "the two central ones" in PROFILES["cmrxrecon24"].description
    assert "central ones" not in PROFILES["cine"].description


def test_an_unknown_profile_is_named():
    with pytest.raises(ConfigError, match="unknown profile 'fastmr'") as caught:
        find_profile("fastmr")
    assert "did you mean 'fastmri'" in caught.value.hint


def test_a_crop_smaller_than_the_window_is_an_error(pair):
    image, reference = (x[..., :12, :12] for x in pair)
    with pytest.raises(ShapeError, match="at least 7 x 7 pixels, found 6 x 8"):
        measure(PROFILES["cmrxrecon23"], image, reference)


@pytest.mark.parametrize("name", PROFILES)
def test_an_image_that_failed_to_zero_is_measured(pair, name):
    """Left out of a mean it would pass for no failure."""
    _, reference = pair
    scores = measure(PROFILES[name], torch.zeros_like(reference), reference)
    assert all(np.isfinite(value) for value in scores.values())
    assert scores["nmse"] == pytest.approx(1)
    assert scores["ssim"] < 0.01


@pytest.mark.parametrize("name", ["cine", "paper-slr", "paper-pass"])
def test_an_empty_reference_leaves_the_image_unscaled(pair, name):
    image, reference = pair[0], torch.zeros_like(pair[0])
    scores = measure(PROFILES[name], image, reference, n_coils=8, kspace_peak=0.0)
    assert scores["mse"] == pytest.approx(mse(image, reference))
    assert (scores["nmse"], scores["psnr"]) == (np.inf, -np.inf)


def test_odd_sizes_are_cropped_to_the_nearest():
    """Rows 15 to 45 and columns 10 to 50 of 61: half of them, and two thirds."""
    reference = torch.rand(3, 61, 61, generator=torch.Generator().manual_seed(0)).double()
    outside = torch.ones(61, 61, dtype=torch.bool)
    outside[15:46, 10:51] = False
    assert measure(PROFILES["cmrxrecon23"], reference + outside, reference)["mse"] == 0
    for corner in ((15, 10), (45, 50)):
        image = reference.clone()
        image[:, *corner] *= 0.5
        assert measure(PROFILES["cmrxrecon23"], image, reference)["mse"] > 0
