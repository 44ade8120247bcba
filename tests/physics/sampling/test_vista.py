import numpy as np
import pytest
import torch

from cinerecon.physics.sampling import parse_mask
from cinerecon.physics.sampling.drawing import choose_weighted, make_rng
from cinerecon.physics.sampling.vista import Grid, riesz_kernel, sample_weights

CASES = [(192, 25, 8), (160, 25, 12), (192, 25, 4), (97, 13, 6), (64, 8, 2), (40, 5, 1), (48, 1, 4)]


def lines_over_time(text, n_frames, ky, seed=0):
    return torch.from_numpy(parse_mask(text).draw(n_frames, ky, 1, seed))[:, 0, :, 0].numpy()


def riesz_energy(mask, acceleration):
    """The energy of the paper, pair by pair in floating point; the grid is periodic."""
    (n_frames, ky), (t, k) = mask.shape, mask.nonzero()
    w = 1 - 0.28 * np.exp(-((k - ky // 2) ** 2) / (2 * (ky / 5) ** 2))
    apart_t, apart_k = np.abs(t[:, None] - t), np.abs(k[:, None] - k)
    scale = max(acceleration / 10 + 0.25, 1)
    squared = (scale * np.minimum(apart_t, n_frames - apart_t)) ** 2 + np.minimum(apart_k, ky - apart_k) ** 2
    np.fill_diagonal(squared := squared.astype(float), np.inf)
    return (np.outer(w, w) / squared**0.7).sum()


def sidelobes(mask):
    """The point spread function over y and f without its peak, relative to it, ``(f, y)``."""
    spread = np.abs(np.fft.fft2(mask)) / mask.sum()
    spread[0, 0] = 0
    return spread


@pytest.mark.parametrize(("ky", "n_frames", "acceleration"), CASES)
def test_every_frame_has_the_same_count(ky, n_frames, acceleration):
    mask = lines_over_time(f"vista:{acceleration}", n_frames, ky, seed=1)
    assert (mask.sum(1) == round(ky / acceleration)).all()


@pytest.mark.parametrize(("ky", "n_frames", "acceleration"), CASES[:-1])
def test_the_mean_over_time_is_fully_sampled(ky, n_frames, acceleration):
    for seed in range(3):
        assert lines_over_time(f"vista:{acceleration}", n_frames, ky, seed).any(0).all()


def test_few_frames_are_enough_for_a_fully_sampled_mean():
    mask = lines_over_time("vista:4", 25, 192)
    assert all(block.any(0).all() for block in np.array_split(mask, 4))


def test_with_too_few_samples_each_line_is_sampled_once_at_most():
    assert lines_over_time("vista:8", 5, 96).sum(0).max() == 1


def test_the_energy_is_that_of_the_paper_and_is_minimised():
    random = choose_weighted(make_rng(3), 1.0 / sample_weights(64) ** 2, 12, 8)
    grid = Grid.of(random.copy(), sample_weights(64), riesz_kernel(12, 64, 8))
    units = 2.0**10 * 2.0**10 * 2.0**24
    energy = lambda: (grid.weights * grid.potential)[grid.mask].sum() / units  # noqa: E731
    assert energy() == pytest.approx(riesz_energy(random, 8), rel=2e-3)
    before = riesz_energy(random, 8)
    grid.descend(make_rng(0), [])
    assert energy() == pytest.approx(riesz_energy(grid.mask, 8), rel=2e-3)
    assert riesz_energy(grid.mask, 8) < 0.93 * before
    # at the minimum, no move of a single sample lowers the energy
    final = riesz_energy(grid.mask, 8)
    for frame, line in np.argwhere(grid.mask)[::7]:
        for target in np.flatnonzero(~grid.mask[frame]):
            moved = grid.mask.copy()
            moved[frame, line], moved[frame, target] = False, True
            assert riesz_energy(moved, 8) > final * (1 - 1e-5)


def test_samples_are_apart_where_random_ones_cluster():
    """Pairs of samples that touch, in ky or from frame to frame."""
    touching = lambda mask: (mask & np.roll(mask, 1, 0)).sum() + (mask & np.roll(mask, 1, 1)).sum()  # noqa: E731
    assert touching(lines_over_time("vista:8", 25, 192)) < 0.2 * touching(lines_over_time("uniform:8,acs=0", 25, 192))


def test_the_density_falls_from_the_centre_to_the_border():
    share = np.mean([lines_over_time("vista:8", 25, 192, seed) for seed in range(8)], axis=(0, 1)) * 8
    smooth = share.reshape(12, 16).mean(1)
    assert (np.diff(smooth[:6]) > 0).all()
    assert (np.diff(smooth[6:]) < 0).all()
    assert smooth[5:7].mean() / smooth[[0, -1]].mean() == pytest.approx(1.9, abs=0.3)


@pytest.mark.parametrize("name", ["vista", "poisson", "cava", "gro"])
def test_aliasing_is_incoherent_in_time(name):
    """No alias of a moving object is as strong as those of a lattice, and VISTA's are no stronger than at random."""
    largest = lambda text: max(sidelobes(lines_over_time(text, 25, 192, seed))[1:].max() for seed in range(4))  # noqa: E731
    lattice, random = largest("kt-equispaced:8"), largest("uniform:8,acs=0")
    assert largest(f"{name}:8") < 0.25 * lattice
    if name in ("vista", "poisson"):
        assert largest(f"{name}:8") < 1.35 * random


def test_aliases_of_vista_are_far_away():
    """Those at small distances in y and f, which are the hardest to separate, are weaker than at random."""
    near = lambda text: np.sqrt((sidelobes(lines_over_time(text, 25, 192))[1:3, :12] ** 2).mean())  # noqa: E731
    assert near("vista:8") < 0.6 * near("uniform:8,acs=0")
