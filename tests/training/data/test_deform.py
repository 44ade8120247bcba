"""Variants of a measured cine: content, masked regions and motion."""

import numpy as np
import pytest
import torch
from helpers import relative_error

from cinerecon.training.data.deform import DeformConfig, deform, masked_radius, warp_time

NOTHING = DeformConfig(rotate=0, zoom=(1, 1), shift=0, still=0, moving=0, warp=0)


def rng(seed=0):
    return np.random.default_rng(seed)


def disc(n, radius, frames=2):
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 - n / 2 for _ in range(2)), indexing="ij")
    return (torch.hypot(y, x) <= radius).float().expand(frames, n, n)


def blob(centre, frames=8, n=48):
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    return torch.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 18.0).expand(frames, n, n)


def middle(image):
    """Centre of mass of each frame, (y, x)."""
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in image.shape[-2:]), indexing="ij")
    return torch.stack([(image * axis).sum((-2, -1)) / image.sum((-2, -1)) for axis in (y, x)], -1)


def test_without_deformation_only_flips_and_the_transpose_are_left():
    series = blob((30, 10))
    seen = set()
    for seed in range(30):
        variant = deform(series, (48, 48), rng(seed), NOTHING)
        assert not variant.outside.any()
        y, x = middle(variant.magnitude)[0].round().tolist()
        assert relative_error(variant.magnitude, blob((y, x))) < 1e-5
        seen.add((y, x))
    assert seen == {(30, 10), (30, 37), (10, 30), (10, 17)}


def test_zoom_enlarges_and_shows_where_nothing_was_measured():
    series = torch.ones(2, 32, 32)
    small = deform(series, (48, 48), rng(), NOTHING)
    assert small.outside.sum() == 48**2 - 32**2
    assert torch.equal(small.magnitude[0] > 0.5, ~small.outside)
    large = deform(series, (48, 48), rng(), NOTHING.model_copy(update={"zoom": (0.5, 0.5)}))
    assert not large.outside.any()


def test_a_masked_circle_is_outside():
    assert masked_radius(disc(40, 19.9)) == pytest.approx(18.9, abs=0.6)
    assert masked_radius(torch.ones(2, 40, 40)) is None
    assert masked_radius(disc(40, 23)) is None
    variant = deform(disc(64, 31.9), (64, 64), rng(3), NOTHING)
    assert (variant.magnitude[0][~variant.outside] > 0.99).all()
    assert float(variant.outside.float().mean()) == pytest.approx(1 - np.pi * 30.9**2 / 64**2, abs=0.02)


def test_an_elastic_deformation_follows_the_beat():
    still, moving = (
        deform(blob((24, 24), 16), (48, 48), rng(1), NOTHING.model_copy(update=values)).magnitude
        for values in ({"still": 2.0}, {"moving": 2.0})
    )
    assert float(middle(still).std(0).max()) < 1e-4
    path = middle(moving)
    assert float((path - path.mean(0)).norm(dim=-1).max()) > 0.5
    steps = torch.cat([path, path[:1]]).diff(dim=0).norm(dim=-1)
    assert float(steps.max()) < 3 * float(steps.mean())  # the last frame leads to the first as others do


def test_time_is_warped_and_stays_cyclic():
    n = 24
    course = torch.sin(2 * torch.pi * torch.arange(n) / n)[:, None]
    assert torch.equal(warp_time(course, rng(), 0), course)
    changes = []
    for seed in range(10):
        warped = warp_time(course, rng(seed), 0.6)
        assert warped.shape == course.shape
        assert float(warped.abs().max()) < 1.02
        turns = torch.cat([warped, warped[:1]]).diff(dim=0).sign().flatten()
        assert int((turns != turns.roll(1)).sum()) == 2  # still one rise and one fall in a beat
        changes.append(relative_error(warped, course))
    assert max(changes) > 0.1


def test_a_variant_follows_from_the_seed():
    series = blob((20, 24))
    first, again, other = (deform(series, (40, 40), rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.magnitude, again.magnitude)
    assert relative_error(other.magnitude, first.magnitude) > 0.1
