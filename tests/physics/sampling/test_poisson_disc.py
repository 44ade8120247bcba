import numpy as np
import pytest
import torch

from cinerecon.physics.sampling import parse_mask
from cinerecon.physics.sampling.poisson_disc import disc, throw_darts


def distances(mask):
    """Distance of each sample to the nearest other one, ``(samples,)``, and the samples."""
    samples = np.argwhere(mask)
    squared = ((samples[:, None] - samples) ** 2.0).sum(-1)
    np.fill_diagonal(squared, np.inf)
    return np.sqrt(squared.min(1)), samples


@pytest.mark.parametrize(("ky", "n_frames", "acceleration"), [(192, 25, 8), (97, 13, 6), (64, 8, 2), (40, 5, 1)])
def test_every_frame_has_the_same_count_of_lines(ky, n_frames, acceleration):
    mask = torch.from_numpy(parse_mask(f"poisson:{acceleration}").draw(n_frames, ky, 1, seed=1))
    assert (mask.sum(-2) == round(ky / acceleration)).all()


@pytest.mark.parametrize(("shape", "acceleration"), [((64, 48), 6), ((33, 40), 3), ((16, 16), 1), ((20, 20), 400)])
def test_every_frame_has_the_same_count_of_points(shape, acceleration):
    mask = torch.from_numpy(parse_mask(f"poisson-2d:{acceleration}").draw(3, *shape))
    assert (mask.sum((1, 2, 3)) == round(shape[0] * shape[1] / acceleration)).all()
    assert acceleration == 1 or not np.array_equal(mask[0], mask[1])


def test_lines_are_apart_in_ky_and_time():
    poisson, random = (
        torch.from_numpy(parse_mask(text).draw(25, 192, 1))[:, 0, :, 0].numpy()
        for text in ("poisson:8", "uniform:8,acs=0")
    )
    assert distances(poisson)[0].min() >= np.sqrt(2)
    assert distances(poisson)[0].mean() > 1.25 * distances(random)[0].mean()
    share = torch.from_numpy(parse_mask("poisson:8").draw(150, 192, 1))[:, 0, :, 0].double().mean(0).numpy() * 8
    smooth = share.reshape(6, 32).mean(1)
    assert smooth[2:4].min() > 1.3 > 1.1 > smooth[1] > smooth[0]


def test_no_point_is_in_the_disc_of_another():
    """The radius at the border is 7.7 times that in the centre, where all points are sampled."""
    mask = torch.from_numpy(parse_mask("poisson-2d:8").draw(1, 96, 96))[0, 0].numpy()
    nearest, samples = distances(mask)
    radius = np.hypot(*((samples - 48) / 48).T) + 0.15
    scale = np.sort(nearest / radius)
    at_random = torch.from_numpy(parse_mask("vds:8").draw(1, 96, 96))[0, 0].numpy()
    nearest_at_random, others = distances(at_random)
    random_scale = np.sort(nearest_at_random / (np.hypot(*((others - 48) / 48).T) + 0.15))
    border = radius > 0.8
    assert (nearest[border] / radius[border]).min() > 0.8 * np.median(nearest[border] / radius[border])
    assert scale[len(scale) // 100] > 2 * random_scale[len(random_scale) // 100]
    assert mask[44:53, 44:53].all()


def test_the_disc_is_open():
    assert disc(0.5).sum() == 1
    assert disc(1.0).sum() == 1
    assert disc(1.25).sum() == 5
    assert disc(1.5).sum() == 9
    assert disc(2.0).sum() == 9


@pytest.mark.parametrize(("shape", "scale"), [((24, 17), 4.0), ((9, 32), 7.5), ((16, 16), 0.5), ((1, 12), 30.0)])
def test_the_points_are_those_of_one_dart_after_the_other(shape, scale):
    order = np.random.default_rng(0).permutation(shape[0] * shape[1])
    mask = np.zeros(shape, dtype=bool)
    mask[0, 0] = True
    expected = mask.copy()
    half = np.array(shape) / 2
    for point in np.stack(np.unravel_index(order, shape), 1):
        samples = np.argwhere(expected)
        radius = scale * (np.linalg.norm((samples - np.array(shape) // 2) / half, axis=1) + 0.15)
        radius = np.maximum(0.25 * np.floor(radius / 0.25), 0.5)
        if (np.linalg.norm(samples - point, axis=1) >= radius).all():
            expected[tuple(point)] = True
    assert throw_darts(order, mask, scale, mask.size) == expected.sum()
    np.testing.assert_array_equal(mask, expected)


def test_only_the_discs_of_samples_are_made():
    """Discs larger than k-space are many, and take 140 MB together."""
    disc.cache_clear()
    parse_mask("poisson-2d:8").draw(1, 192, 192)
    assert disc.cache_info().misses < 400
