"""The phantom: the same seed gives the same cine, it beats, and its tissue keeps its volume."""

import numpy as np
import pytest
import torch
from helpers import relative_error

from cinerecon.simulation.phantom import (
    PhantomConfig,
    draw_coil_maps,
    draw_phantom,
    draw_phase,
    draw_signal,
    draw_slice,
)
from cinerecon.simulation.phantom.deformation import HeartSize, trace_to_end_diastole
from cinerecon.simulation.phantom.fields import Texture, ellipsoid, smooth_field
from cinerecon.simulation.phantom.motion import Cycle
from cinerecon.simulation.phantom.plane import Plane

SMALL = PhantomConfig(n_frames=5, matrix=(47, 52))


@pytest.fixture(scope="module")
def cine():
    return draw_phantom(3, SMALL)


def test_same_seed_gives_the_same_cine_and_another_seed_another(cine):
    assert torch.equal(cine, draw_phantom(3, SMALL))
    assert relative_error(draw_phantom(4, SMALL).abs(), cine.abs()) > 0.2


def test_largest_magnitude_is_one(cine):
    assert cine.dtype == torch.complex64
    assert cine.shape == (5, 47, 52)
    assert cine.abs().max() == pytest.approx(1, abs=1e-5)


def test_signal_is_the_phantom_without_its_phase(cine):
    torch.testing.assert_close(draw_signal(3, SMALL).abs(), cine.abs(), atol=1e-5, rtol=0)


def test_fat_is_opposed_in_some_phantoms():
    """In 0.6 of the bodies, and half of the phantoms keep the sign."""
    small = PhantomConfig(n_frames=1, matrix=(32, 32))
    opposed = sum(bool((draw_signal(seed, small) < -0.1).any()) for seed in range(40))
    assert 4 <= opposed <= 20


def test_noise_has_the_stated_level(cine):
    noisy = draw_phantom(3, SMALL.model_copy(update={"noise": 0.02}))
    scale = torch.vdot(cine.ravel(), noisy.ravel()).real / torch.vdot(cine.ravel(), cine.ravel()).real
    assert (noisy - scale * cine).std() / scale == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_blood_pool_shrinks_in_systole(seed):
    """In a mid-ventricular slice the middle of the heart is darker, on average, when the ventricles are small."""
    config = PhantomConfig(n_frames=12, matrix=(64, 64), view="short", position=0.45)
    image, plane = draw_slice(seed, config)
    magnitude = image.abs()
    changing = magnitude.std(0) > 0.5 * magnitude.std(0).max()
    course = magnitude[:, changing].mean(1)
    assert changing.sum() > 10
    assert 2 <= int(course.argmin()) <= 7
    assert course.min() < 0.85 * course[0]
    assert plane.pixel_mm * 64 > 200


def test_motion_is_in_the_heart_not_everywhere():
    magnitude = draw_signal(5, PhantomConfig(n_frames=8, matrix=(64, 64), view="short", position=0.5)).abs()
    change = magnitude.std(0)
    assert change.max() > 0.15
    assert change.median() < 0.03


def test_neighbouring_slices_are_one_anatomy():
    """A small shift of the plane changes the image little, a large one much."""
    config = PhantomConfig(n_frames=2, matrix=(64, 64), view="short", position=0.4)
    here, near, far = (draw_slice(6, config, offset_mm)[0].abs() for offset_mm in (0.0, 1.0, 25.0))
    assert relative_error(near, here) < 0.15
    assert relative_error(far, here) > 2 * relative_error(near, here)


def test_offset_moves_the_plane_along_its_normal():
    config = PhantomConfig(n_frames=1, matrix=(16, 16), view="short")
    planes = [draw_slice(6, config, offset_mm)[1] for offset_mm in (0.0, 10.0)]
    np.testing.assert_allclose(planes[1].origin - planes[0].origin, 10 * planes[0].normal, atol=1e-9)
    frame = np.stack([planes[0].x_dir, planes[0].y_dir, planes[0].normal])
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_walls_keep_their_volume(seed):
    """The wall of the left ventricle: cross section times length is the same at all times."""
    rng = np.random.default_rng(seed)
    size, cycle = HeartSize.draw(rng), Cycle.draw(rng)
    time = torch.linspace(0, 1, 21)[:, None, None]
    points = tuple(torch.zeros(21, 1, 1) for _ in range(3))
    moved = trace_to_end_diastole(points, time, size, cycle)
    volume = (moved.outer**2 - moved.inner**2) * moved.stretch
    torch.testing.assert_close(volume, volume[:1].expand_as(volume), rtol=1e-4, atol=0)
    assert 0.4 < moved.inner.min() / moved.inner.max() < 0.95


def test_cycle_is_periodic_and_systole_is_the_shorter_half():
    cycle = Cycle.draw(np.random.default_rng(2))
    time = torch.linspace(0, 1, 401)
    course = cycle.ventricles(time)
    torch.testing.assert_close(cycle.ventricles(time + 3), course, atol=1e-4, rtol=0)
    assert course.max() == pytest.approx(1, abs=1e-3)
    assert abs(course[0]) < 1e-3
    assert abs(course[-2]) < 0.02
    assert 0.3 < time[course.argmax()] < 0.45


def test_ellipsoid_distance_of_a_sphere_is_exact_at_the_surface():
    radius = torch.tensor([9.0, 10.0, 11.0])
    zero = torch.zeros(3)
    torch.testing.assert_close(ellipsoid((radius, zero, zero), (10.0, 10.0, 10.0))[1], torch.tensor(0.0))
    assert torch.all(ellipsoid((radius, zero, zero), (10.0, 10.0, 10.0)).diff() > 0.8)


def test_texture_is_periodic_and_its_offsets_are_independent():
    rng = np.random.default_rng(0)
    texture = Texture(rng, slope=1.0, size=24)
    first, second = texture.at_random_offset(rng, 50.0), texture.at_random_offset(rng, 50.0)
    points = tuple(torch.randn(3, 4000) * 30)
    shifted = (points[0] + 50.0, points[1] - 100.0, points[2])
    torch.testing.assert_close(first(points), first(shifted), atol=2e-3, rtol=0)
    correlation = torch.corrcoef(torch.stack([first(points)[0], second(points)[0]]))[0, 1]
    assert abs(correlation) < 0.15


def test_smooth_field_has_unit_deviation_and_little_detail():
    field = smooth_field(np.random.default_rng(0), (64, 51), cutoff=2.0)
    assert field.mean() == pytest.approx(0, abs=1e-5)
    assert field.std() == pytest.approx(1, abs=1e-2)
    assert field.diff(dim=0).abs().max() < 0.6


@pytest.mark.parametrize("matrix", [(32, 40), (33, 27)])
def test_coil_maps_sum_to_one_and_differ(matrix):
    csm = draw_coil_maps(1, 6, matrix)
    torch.testing.assert_close(csm.abs().square().sum(0), torch.ones(matrix))
    assert torch.equal(csm, draw_coil_maps(1, 6, matrix))
    overlap = (csm.flatten(1).conj() @ csm.flatten(1).T).abs()
    energy = overlap.diagonal().sqrt()
    off_diagonal = (overlap / energy[:, None] / energy).fill_diagonal_(0)
    assert off_diagonal.max() < 0.98


def test_phase_is_smooth_and_changes_slowly():
    phase = draw_phase(1, 25, (64, 60))
    assert phase.shape == (25, 64, 60)
    assert phase.diff(dim=-1).abs().max() < 0.6
    assert 1e-4 < phase.diff(dim=0).abs().mean() < 0.2
    assert phase.std() > 0.2


def test_odd_sizes_and_one_frame():
    image = draw_phantom(8, PhantomConfig(n_frames=1, matrix=(33, 51), view="long"))
    assert image.shape == (1, 33, 51)
    assert torch.isfinite(image.abs()).all()
    middle, corner = image[:, 12:21, 20:31].abs(), image[:, :2, :2].abs()
    assert middle.mean() > 5 * corner.max()


@pytest.mark.parametrize("matrix", [(6, 5), (5, 8)])
def test_the_finer_grid_divides_each_pixel(matrix):
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    plane = Plane(np.array([10.0, -20.0, 30.0]), axes[0], axes[1], 2.0)
    for fine, coarse in zip(plane.points(matrix, 3), plane.points(matrix), strict=True):
        blocks = fine.unflatten(-1, (-1, 3)).unflatten(0, (-1, 3)).mean((1, 3))
        torch.testing.assert_close(blocks, coarse)
    centre = [float(p[matrix[0] // 2, matrix[1] // 2]) for p in plane.points(matrix)]
    assert centre == pytest.approx(plane.origin)


def test_the_apex_turns_against_the_base():
    rng = np.random.default_rng(0)
    size, cycle = HeartSize.draw(rng), Cycle.draw(rng)
    time = torch.linspace(0, 1, 41)[:, None, None]
    angles = []
    for level in (0.3, 0.9):
        there = torch.full((41, 1, 1), level * size.length)
        moved = trace_to_end_diastole((torch.full_like(there, 10.0), torch.zeros_like(there), there), time, size, cycle)
        angles.append(torch.atan2(moved.untwisted[1], moved.untwisted[0]).ravel())
    turn = (angles[0] - angles[1]).abs()
    assert turn[0] < 0.05 * size.twist
    assert turn.max() == pytest.approx(0.6 * size.twist, rel=0.25)
