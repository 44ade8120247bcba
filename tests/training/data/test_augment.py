import math

import numpy as np
import pytest
import torch
from conftest import beating_cine
from helpers import complex_randn, relative_error

from cinerecon.physics.fourier import fft2c
from cinerecon.training.data import augment

SHAPES = [(24, 20), (25, 21), (24, 21), (32, 32)]
MOVES = {
    "shift": (lambda x: augment.shift(x, (0.3, -1.7)), lambda x: augment.shift(x, (-0.3, 1.7))),
    "shear along x": (lambda x: augment.shear(x, 0.23, -1), lambda x: augment.shear(x, -0.23, -1)),
    "shear along y": (lambda x: augment.shear(x, 0.23, -2), lambda x: augment.shear(x, -0.23, -2)),
    "rotate": (lambda x: augment.rotate(x, 0.4), lambda x: augment.rotate(x, -0.4)),
    "flip": (lambda x: augment.flip(x, (-1, -2)), lambda x: augment.flip(x, (-1, -2))),
    "quarter turn": (lambda x: augment.rotate_by_90(x, 1), lambda x: augment.rotate_by_90(x, 3)),
}


def ramp(shape, pixels):
    """What a shift by (y, x) pixels does to k-space."""
    turns = [(torch.arange(n, dtype=torch.float64) - n // 2) / n * p for n, p in zip(shape, pixels, strict=True)]
    return torch.exp(-2j * torch.pi * (turns[0][:, None] + turns[1]))


def mirror(kspace, dim):
    """K-space at -k; the lowest frequency of an even number of samples is its own opposite."""
    return kspace.flip(dim).roll((kspace.shape[dim] + 1) % 2, dim)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MOVES)
def test_energy_is_kept_the_opposite_undoes_and_the_input_is_untouched(name, shape):
    image = complex_randn(3, *shape)
    before, (do, undo) = image.clone(), MOVES[name]
    moved = do(image)
    assert relative_error(moved.abs().square().sum(), image.abs().square().sum()) < 1e-12
    assert relative_error(undo(moved), image) < 1e-12
    assert relative_error(moved[1], do(image[1])) < 1e-12
    assert torch.equal(image, before)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shift_is_a_phase_ramp(shape):
    image, pixels = complex_randn(2, *shape), (2.6, -0.35)
    expected = fft2c(image) * ramp(shape, pixels)
    assert relative_error(fft2c(augment.shift(image, pixels)), expected) < 1e-12
    whole = augment.shift(image, (3.0, -2.0))
    assert relative_error(whole, image.roll((3, -2), (-2, -1))) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dim", [-1, -2])
def test_a_flip_mirrors_k_space(shape, dim):
    image = complex_randn(2, *shape)
    pixels = [0.0, 0.0]
    pixels[dim] = -1.0 if shape[dim] % 2 == 0 else 0.0
    expected = mirror(fft2c(image), dim) * ramp(shape, pixels)
    assert relative_error(fft2c(augment.flip(image, (dim,))), expected) < 1e-12


def test_a_quarter_turn_turns_k_space():
    image = complex_randn(2, 25, 25)
    assert relative_error(fft2c(augment.rotate_by_90(image, 1)), augment.rotate_by_90(fft2c(image), 1)) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dim", [-1, -2])
def test_a_shear_of_slope_one_moves_each_line_by_whole_pixels(shape, dim):
    image = complex_randn(*shape)
    lines = image.unbind(-3 - dim)
    centre = len(lines) // 2
    expected = torch.stack([line.roll(n - centre) for n, line in enumerate(lines)], -3 - dim)
    assert relative_error(augment.shear(image, 1.0, dim), expected) < 1e-12


def test_a_shear_shears_the_trajectory_of_k_space():
    # x -> x + s y in the image is ky -> ky - s kx in k-space: here by whole samples
    n, slope = 24, 1.0
    image = complex_randn(n, n)
    kspace, sheared = fft2c(image), fft2c(augment.shear(image, slope, -1))
    expected = torch.stack([column.roll(-(k - n // 2)) for k, column in enumerate(kspace.unbind(-1))], -1)
    assert relative_error(sheared, expected) < 1e-12


def bump(y, x, shape=(64, 64)):
    grid = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) - n // 2 for n in shape), indexing="ij")
    return torch.exp(-((grid[0] - y) ** 2 + (grid[1] - x) ** 2) / 18).to(torch.complex128)


@pytest.mark.parametrize("angle", [0.1, -0.5, math.pi / 4])
def test_a_rotation_turns_from_x_to_y(angle):
    y, x = 3.0, 11.0
    turned = (x * math.sin(angle) + y * math.cos(angle), x * math.cos(angle) - y * math.sin(angle))
    # the bump is round: only its centre moves
    assert relative_error(augment.rotate(bump(y, x), angle), bump(*turned)) < 1e-6


def test_a_rotation_by_90_degrees_is_exact():
    image = complex_randn(32, 32)
    found = augment.rotate(image, math.pi / 2)
    expected = augment.rotate_by_90(image, -1).roll(1, -1)  # about n // 2, not about the middle of the pixels
    assert relative_error(found, expected) < 1e-12


def test_a_sheared_bump_is_where_it_should_be():
    image = augment.shear(bump(8, -5), 0.3, -1)
    weight = image.real
    y, x = torch.meshgrid(*(torch.arange(64, dtype=torch.float64) - 32 for _ in range(2)), indexing="ij")
    assert float((weight * y).sum() / weight.sum()) == pytest.approx(8, abs=1e-6)
    assert float((weight * x).sum() / weight.sum()) == pytest.approx(-5 + 0.3 * 8, abs=1e-6)


def test_a_smooth_phase_is_smooth_and_of_the_given_strength():
    phase = augment.draw_smooth_map(np.random.default_rng(0), (48, 40), 0.7)
    assert float(phase.std()) == pytest.approx(0.7, rel=0.01)
    steps = [float(phase.diff(dim=dim).abs().max()) for dim in (0, 1)]
    assert max(steps) < 0.3


def test_frames_start_anywhere_and_run_both_ways():
    assert augment.cyclic_frames(5, 3).tolist() == [3, 4, 0, 1, 2]
    assert augment.cyclic_frames(5, 3, 2).tolist() == [3, 0, 2, 4, 1]
    assert augment.cyclic_frames(5, 1, reverse=True).tolist() == [0, 4, 3, 2, 1]


def test_a_real_time_series_is_followed_by_its_mirror_image():
    frames = [augment.cyclic_frames(5, first, step, is_periodic=False) for first in range(5) for step in (1, 2)]
    assert frames[6].tolist() == [3, 4, 4, 3, 2]
    assert max(int(np.abs(np.diff(series)).max()) for series in frames) == 2


def test_a_gain_keeps_the_phase_and_the_order_of_intensities():
    image = beating_cine().to(torch.complex64)
    config = augment.AugmentConfig(gamma=(1.3, 1.3), scale=(2, 2), local_gain=0)
    varied = image * augment.draw_gain(image, config, np.random.default_rng(0))
    bright = image.abs() > augment.MIN_GAIN_MAGNITUDE
    expected = 2 * torch.polar(image.abs() ** 1.3, image.angle())
    assert relative_error(varied[bright], expected[bright]) < 1e-5
    assert relative_error(varied[~bright], 2 * augment.MIN_GAIN_MAGNITUDE**0.3 * image[~bright]) < 1e-5


def test_a_gain_can_add_a_phase():
    image = beating_cine().to(torch.complex64)
    config = augment.AugmentConfig(gamma=(1, 1), scale=(1, 1), phase=0.4, turn_phase=True, local_gain=0)
    gain = augment.draw_gain(image, config, np.random.default_rng(1))
    assert relative_error(gain.abs(), torch.ones(())) < 1e-6
    assert (gain == gain[0]).all()
    flat = augment.draw_gain(image, config.model_copy(update={"phase": 0.0}), np.random.default_rng(1))
    assert relative_error(flat, flat[0, 0, 0].expand(flat.shape)) < 1e-6
    assert abs(float(flat[0, 0, 0].angle())) > 0.1
    assert float((gain / flat).angle()[0].std()) == pytest.approx(0.4, rel=0.01)


def test_moving_is_seeded_and_does_nothing_by_default():
    image = beating_cine()
    config = augment.AugmentConfig(rotate=20, shear=0.1, shift=0.5)
    moved = [augment.move(image, config, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert torch.equal(moved[0], moved[1])
    assert relative_error(moved[2], moved[0]) > 0.05
    assert float(moved[0].abs().square().sum()) == pytest.approx(float(image.abs().square().sum()))
    assert not augment.AugmentConfig().has_subpixel_motion
    assert torch.equal(augment.move(image, augment.AugmentConfig(), np.random.default_rng(0)), image)


def test_the_gain_keeps_double_precision():
    image = complex_randn(2, 8, 8)
    config, rng = augment.AugmentConfig(phase=0.3), np.random.default_rng(0)
    assert augment.draw_gain(image, config, rng).dtype == torch.complex128


def test_a_local_gain_is_smooth_and_of_the_given_strength():
    image = beating_cine().to(torch.complex64)
    config = augment.AugmentConfig(gamma=(1, 1), scale=(1, 1), local_gain=0.2)
    gain = augment.draw_gain(image, config, np.random.default_rng(1))
    assert gain.imag.abs().max() < 1e-6
    assert (gain == gain[0]).all()
    assert float(gain.real[0].log().std()) == pytest.approx(0.2, rel=0.02)
    assert float(gain.real[0].log().diff(dim=0).abs().max()) < 0.15
