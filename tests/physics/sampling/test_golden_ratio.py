import numpy as np
import pytest
import torch

from cinerecon.errors import ConfigError
from cinerecon.physics.sampling import parse_mask
from cinerecon.physics.sampling.golden_ratio import CENTRE_DENSITY, GOLDEN_RATIO, stretched, without_repeats


def stretched_back(lines, ky):
    """The uniform position of the middle of each line: the root of k = v / s + (1 - 1 / s) v^3."""
    k, s = 2 * (np.asarray(lines) + 0.5) / ky - 1, CENTRE_DENSITY
    v = np.linspace(-1, 1, 20001)
    return np.interp(k, v / s + (1 - 1 / s) * v**3, v)


@pytest.mark.parametrize(("ky", "acceleration"), [(192, 8), (160, 12), (145, 5), (96, 2), (96, 1.5), (50, 1)])
def test_golden_offset_keeps_the_count_and_covers_k_space(ky, acceleration):
    mask = torch.from_numpy(parse_mask(f"golden:{acceleration:g}").draw(8 * int(acceleration), ky, 1))
    assert (mask.sum(-2) == round(ky / acceleration)).all()
    covered = mask.any(0)[0, :, 0]
    assert covered[ky // 4 : -ky // 4].all()
    assert covered.float().mean() > 0.97


def test_golden_offset_is_dense_in_the_centre_and_never_repeats():
    mask = torch.from_numpy(parse_mask("golden:8").draw(400, 192, 1))
    share = mask[:, 0, :, 0].double().mean(0)
    assert share[88:104].mean() / share[:8].mean() == pytest.approx(4, rel=0.15)
    assert len({tuple(frame.ravel().tolist()) for frame in mask[:24]}) == 24


@pytest.mark.parametrize(("ky", "acceleration"), [(192, 8), (160, 12), (145, 5), (96, 2), (96, 1.5), (50, 1)])
@pytest.mark.parametrize("name", ["gro", "cava"])
def test_the_acceleration_is_exact(name, ky, acceleration):
    mask = torch.from_numpy(parse_mask(f"{name}:{acceleration:g}").draw(30, ky, 1, seed=2))
    assert (mask.sum(-2) == round(ky / acceleration)).all()


@pytest.mark.parametrize("name", ["gro", "cava"])
@pytest.mark.parametrize(("acceleration", "n_frames"), [(4, 25), (8, 40)])
def test_the_mean_over_time_is_fully_sampled(name, acceleration, n_frames):
    for seed in range(5):
        assert torch.from_numpy(parse_mask(f"{name}:{acceleration}").draw(n_frames, 192, 1, seed)).any(0).all()


@pytest.mark.parametrize("name", ["gro", "cava"])
def test_the_density_is_that_of_the_stretching(name):
    mask = torch.from_numpy(parse_mask(f"{name}:8").draw(1000, 192, 1))
    share = mask[:, 0, :, 0].double().mean(0).numpy() * 8
    v = np.diff(stretched_back(np.arange(193) - 0.5, 192)) * 96
    assert v.max() == pytest.approx(CENTRE_DENSITY, rel=0.02)
    assert np.allclose(share, v, atol=0.06)


def test_gro_has_equal_distances_that_move_on_by_the_golden_ratio():
    n_lines = 24
    first, second = (
        stretched_back(np.flatnonzero(frame), 192)
        for frame in torch.from_numpy(parse_mask("gro:8").draw(2, 192, 1))[:, 0]
    )
    for frame in (first, second):
        assert np.allclose(np.diff(frame), 2 / n_lines, atol=0.03)
    moved = (second.mean() - first.mean()) * n_lines / 2 % 1
    assert moved == pytest.approx(GOLDEN_RATIO, abs=0.1)


@pytest.mark.parametrize("name", ["gro", "vista", "poisson"])
def test_central_lines_count_in_the_acceleration(name):
    mask = torch.from_numpy(parse_mask(f"{name}:8,acs=6").draw(10, 192, 1))
    assert (mask.sum(-2) == 24).all()
    assert mask[:, :, 93:99].all()
    assert torch.from_numpy(parse_mask(f"{name}:8,acs=24").draw(3, 192, 1)).sum() == 72
    with pytest.raises(ConfigError, match="cannot hold 25"):
        torch.from_numpy(parse_mask(f"{name}:8,acs=25").draw(3, 192, 1))


def test_the_order_of_cava_is_that_of_its_mask():
    spec = parse_mask("cava:7")
    lines, mask = spec.line_order(9, 100, seed=4), torch.from_numpy(spec.draw(9, 100, 1, seed=4))
    assert [sorted(frame) for frame in lines.tolist()] == [np.flatnonzero(frame).tolist() for frame in mask[:, 0]]
    assert parse_mask("gro:7").line_order(9, 100) is None


def test_the_temporal_resolution_of_cava_is_chosen_afterwards():
    """The same readouts in other bins: no line twice in a frame of any length and start."""
    readouts = parse_mask("cava:8").line_order(50, 192, seed=1).ravel()
    assert np.array_equal(readouts, parse_mask("cava:16").line_order(100, 192, seed=1).ravel())
    for length in (7, 12, 24, 43):
        windows = np.lib.stride_tricks.sliding_window_view(readouts, length)
        assert all(len(set(window)) == length for window in windows.tolist())


@pytest.mark.parametrize("length", [8, 13, 20, 24, 34])
def test_any_window_of_cava_is_nearly_uniform(length):
    """The gaps of n golden ratio steps are at most 1.9 means wide (three-gap theorem); a line adds its width."""
    readouts = parse_mask("cava:8").line_order(50, 192, seed=1).ravel()
    windows = np.lib.stride_tricks.sliding_window_view(stretched_back(readouts, 192), length)

    def largest_gaps(positions):
        ordered = np.sort(positions, axis=1)
        return np.diff(ordered, axis=1, append=ordered[:, :1] + 2).max(1) * length / 2

    assert largest_gaps(windows).max() < 2.3
    assert np.median(largest_gaps(np.random.default_rng(0).uniform(-1, 1, windows.shape))) > 2.3


def test_a_repeated_line_moves_to_the_nearest_free_one():
    moved = without_repeats(np.array([5.0, 5, 5, 5, 0, 5]), 11, 5)
    assert moved.tolist() == [5, 4, 6, 3, 0, 5]
    assert without_repeats(np.array([2.0, 2, 9, 2]), 11, 2).tolist() == [2, 3, 9, 2]
    # lines move no further than two positions in CAVA at its own window
    ky = 192
    exact = stretched(2 * (GOLDEN_RATIO * np.arange(2000) % 1) - 1, 1 - 1 / CENTRE_DENSITY, ky)
    assert np.abs(without_repeats(exact, ky, int(ky / (2 * CENTRE_DENSITY))) - exact).max() <= 2
