"""Conjugate gradients: against the direct solution, and each frame independent of the others."""

import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.physics.cg import CgSteps, conjugate_gradients, inner_by_frame


def equation(n_frames=3, n=6):
    """A Hermitian positive matrix for each frame ``(n, n)``, as an operator, and a target."""
    factor = complex_randn(n_frames, n, n)
    matrices = factor @ factor.mH + torch.eye(n)

    def normal(image):
        return (matrices @ image.flatten(1)[..., None]).reshape(image.shape)

    return matrices, normal, complex_randn(n_frames, 2, n // 2, seed=1)


def test_it_is_the_solution():
    matrices, normal, target = equation()
    expected = torch.linalg.solve(matrices, target.flatten(1)).reshape(target.shape)
    assert relative_error(conjugate_gradients(normal, target, 50), expected) < 1e-9


def test_each_frame_stops_at_its_own_convergence():
    _, normal, target = equation()
    target[1] = 0
    seen = []
    solution = conjugate_gradients(normal, target, 50, 1e-3, observe=lambda *progress: seen.append(progress))
    assert (solution[1] == 0).all()
    assert 1 < len(seen) < 50
    assert [step for step, _, _ in seen] == list(range(1, len(seen) + 1))
    assert torch.equal(seen[-1][1], solution) and torch.equal(seen[-1][2], seen[-2][1])
    residual = normal(solution) - target
    assert relative_error(residual[0] + target[0], target[0]) < 2e-3


@pytest.mark.parametrize("n_steps", [1, 3])
def test_recorded_steps_give_the_polynomial_of_the_solution(n_steps):
    matrices, normal, target = equation()
    steps = CgSteps()
    solution = conjugate_gradients(normal, target, n_steps, steps=steps)
    values, vectors = torch.linalg.eigh(matrices[0])
    gains = steps.polynomial(0, values)
    expected = (vectors * gains) @ (vectors.mH @ target[0].flatten())
    assert relative_error(solution[0].flatten(), expected) < 1e-9


@pytest.mark.parametrize("n_steps", [1, 3])
def test_the_last_step_needs_the_curvature_alone(n_steps):
    _, normal, target = equation()
    calls = []

    def counted(image):
        calls.append(image)
        return normal(image)

    def curvature(image):
        return inner_by_frame(image, normal(image))

    solution = conjugate_gradients(counted, target, n_steps, None, curvature=curvature)
    assert len(calls) == n_steps - 1
    assert torch.equal(solution, conjugate_gradients(normal, target, n_steps, None))


def test_it_is_differentiable_with_frames_of_zeros_and_at_the_solution():
    _, _, target = equation()
    target[1] = 0
    weight = torch.tensor(2.0, requires_grad=True)
    conjugate_gradients(lambda image: weight * image, target, 3, None).abs().square().sum().backward()
    expected = -2 * float(target.abs().square().sum()) / 8  # of sum |b / w|^2
    assert abs(float(weight.grad) - expected) < 1e-5 * abs(expected)
