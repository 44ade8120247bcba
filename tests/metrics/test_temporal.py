"""The measures of motion on a heart whose size and motion are known."""

import math

import numpy as np
import pytest
import torch
from helpers import SHARED_DATA

from cinerecon.metrics import area_agreement, find_heart, temporal_sharpness, xt_ssim
from cinerecon.metrics.measures import SSIM_WINDOW, ssim

REAL = SHARED_DATA / "real"
N_FRAMES, MATRIX = 16, (80, 96)


def beating(amplitude=0.1, blur=0, twice=0.0):
    """A ventricle of blood in muscle in a body; blur is a moving average over so many frames on either side.

    ``twice`` is the amplitude of a second beat within the first.
    """
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n).double() for n in MATRIX), indexing="ij")
    time = torch.arange(N_FRAMES).double()[:, None, None] / N_FRAMES
    inner = 0.25 + amplitude * torch.cos(2 * torch.pi * time) + twice * torch.cos(4 * torch.pi * time)
    distance = ((y - 0.1) ** 2 + (x + 0.2) ** 2).sqrt()
    blood, muscle = (torch.sigmoid((radius - distance) / 0.015) for radius in (inner, inner + 0.1))
    body = torch.sigmoid((0.9 - (y**2 + x**2).sqrt()) / 0.02)
    image = 0.25 * body + 0.1 * muscle + 0.65 * blood
    shifts = range(-blur, blur + 1)
    return torch.stack([image.roll(shift, 0) for shift in shifts]).mean(0)


def true_area(frame, amplitude=0.1):
    """Pixels within the edge of the blood."""
    radius = 0.25 + amplitude * math.cos(2 * math.pi * frame / N_FRAMES)
    return math.pi * radius**2 * (MATRIX[0] - 1) / 2 * (MATRIX[1] - 1) / 2


def test_the_heart_is_found_where_it_is():
    reference = beating()
    heart = find_heart(reference)
    assert (heart.diastole, heart.systole) == (0, 8)
    top, bottom, left, right = heart.box
    assert abs((top + bottom) / 2 - 0.55 * 79) < 4
    assert abs((left + right) / 2 - 0.4 * 95) < 4
    assert heart.crop(reference).shape[-2:] == (bottom - top, right - left)
    assert abs(heart.column - 0.4 * 95) < 3
    areas = heart.pool.areas(reference)
    assert float(areas[0]) == pytest.approx(true_area(0), rel=0.05)
    assert float(areas[8]) == pytest.approx(true_area(8), rel=0.1)


def test_what_does_not_beat_has_no_heart():
    still = beating()[:1].expand(N_FRAMES, -1, -1)
    assert find_heart(still) is None
    assert find_heart(beating()[:1]) is None
    assert find_heart(torch.zeros(4, 32, 32)) is None
    noise = torch.randn(8, 64, 64, generator=torch.Generator().manual_seed(0))
    assert find_heart(1 + 0.01 * noise) is None


def test_long_axes_have_a_box_but_no_pool():
    """Two chambers that beat against each other: what one loses the other gains."""
    two = 0.5 * (beating() + beating().roll(N_FRAMES // 2, 0).flip(-1))
    heart = find_heart(two)
    assert heart.pool is None
    assert heart.diastole == 0
    found = area_agreement(two, two, heart)
    assert all(map(math.isnan, found.values()))


@pytest.mark.skipif(not REAL.exists(), reason="measured series are not here")
@pytest.mark.parametrize(
    ("series", "centre"),
    [("sax_mid", (100, 125)), ("sax_d", (100, 122)), ("sax_apex", (102, 122)), ("lax_4ch", (118, 110))],
)
def test_measured_hearts_are_found(series, centre):
    """Middles were read off the images; in short axis the left ventricle is emptiest after a third of the beat."""
    magnitude = torch.from_numpy(np.load(REAL / f"{series}.npz")["magnitude"].astype(np.float32))
    heart = find_heart(magnitude)
    top, bottom, left, right = heart.box
    assert abs((top + bottom) / 2 - centre[0]) < 12
    assert abs((left + right) / 2 - centre[1]) < 12
    assert 50 < bottom - top < 160
    assert (heart.pool is None) == series.startswith("lax")
    if heart.pool:
        assert heart.diastole in (23, 24, 0)
        assert heart.systole in (8, 9, 10)


def test_the_truth_agrees_with_itself():
    reference = beating()
    heart = find_heart(reference)
    assert xt_ssim(reference, reference) == pytest.approx(1)
    assert temporal_sharpness(reference, reference) == pytest.approx(1)
    assert area_agreement(reference, reference, heart) == {"diastolic_area": 0, "systolic_area": 0, "area_change": 0}


def test_blur_in_time_is_seen():
    reference = beating()
    heart = find_heart(reference)
    blurred = [beating(blur=n) for n in (0, 1, 2, 3)]
    sharpness = [temporal_sharpness(heart.crop(x), heart.crop(reference)) for x in blurred]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[1] < 0.9
    similar = [xt_ssim(heart.crop(x), heart.crop(reference)) for x in blurred]
    assert similar == sorted(similar, reverse=True)
    found = area_agreement(blurred[3], reference, heart)
    assert found["diastolic_area"] < -1
    assert found["systolic_area"] > 1
    assert found["area_change"] < -2


def test_a_weaker_beat_has_the_area_change_it_has():
    heart = find_heart(beating())
    found = area_agreement(beating(amplitude=0.05), beating(), heart)
    true_change = [100 * (1 - true_area(8, a) / true_area(0, a)) for a in (0.05, 0.1)]
    assert found["area_change"] == pytest.approx(true_change[0] - true_change[1], abs=3)


def test_noise_is_no_sharpness():
    reference = beating()
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(1)).double()
    assert temporal_sharpness(reference + 0.05 * noise, reference) == pytest.approx(1, abs=0.05)


def test_the_beat_may_begin_anywhere():
    reference, blurred = beating(), beating(blur=1)
    for measured in (xt_ssim, temporal_sharpness):
        turned = measured(blurred.roll(5, 0), reference.roll(5, 0))
        assert turned == pytest.approx(measured(blurred, reference))


def test_scale_and_phase_play_no_part():
    reference, blurred = (
        x * torch.polar(torch.ones(MATRIX).double(), torch.ones(MATRIX).double()) for x in (beating(), beating(blur=1))
    )
    heart = find_heart(1e-6 * reference)
    assert heart.box == find_heart(beating()).box
    assert area_agreement(1e-6 * blurred, 1e-6 * reference, heart) == pytest.approx(
        area_agreement(beating(blur=1), beating(), find_heart(beating()))
    )
    assert xt_ssim(1e-6 * blurred, 1e-6 * reference) == pytest.approx(xt_ssim(beating(blur=1), beating()))


def test_the_step_from_the_last_frame_to_the_first_counts():
    reference = torch.tensor([0, 0.4, 0.8, 1, 1, 1]).double()[:, None, None]
    blurred = reference.clone()
    blurred[-1] = 0.5
    assert temporal_sharpness(blurred, reference) == pytest.approx(0.5)


def test_what_beats_twice_is_no_pool():
    assert find_heart(beating(amplitude=0.08)).pool is not None
    assert find_heart(beating(amplitude=0.08, twice=0.06)).pool is None


def test_real_time_has_no_edge_from_the_last_frame_to_the_first():
    """One pixel that brightens by 1 in every frame, and falls back by 4 if the frames are periodic."""
    reference = torch.arange(5.0).view(5, 1, 1).expand(5, 12, 12)
    half = 0.5 * reference
    uneven = torch.cat([half[:4], reference[4:]])
    assert temporal_sharpness(half, reference, is_cyclic=False) == pytest.approx(0.5)
    assert temporal_sharpness(uneven, reference, is_cyclic=False) == pytest.approx(0.5)
    assert temporal_sharpness(uneven, reference) == pytest.approx(1.0)


def test_xt_ssim_of_real_time_mirrors_the_ends():
    generator = torch.Generator().manual_seed(0)
    reference = torch.rand(9, 14, 14, generator=generator)
    image = reference + 0.1 * torch.rand(9, 14, 14, generator=generator)
    width = (SSIM_WINDOW // 2, SSIM_WINDOW // 2)
    padded = [
        torch.from_numpy(np.pad(x.numpy(), (width, (0, 0), (0, 0)), mode="symmetric")) for x in (image, reference)
    ]
    planes = [[x.movedim(0, -1), x.movedim(0, -1).transpose(0, 1)] for x in padded]
    expected = sum(ssim(a, b, float(reference.max())) for a, b in zip(*planes, strict=True)) / 2
    assert xt_ssim(image, reference, is_cyclic=False) == pytest.approx(expected)
    assert xt_ssim(image, reference) != pytest.approx(expected, abs=1e-6)
