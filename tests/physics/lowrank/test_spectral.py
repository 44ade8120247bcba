"""The shrunk matrix and its derivative for distinct, repeated and vanishing singular values."""

import copy
import math

import pytest
import torch
from golden import golden
from helpers import complex_randn, relative_error
from lowrank_cases import RULES, by_svd, decaying, matrix_of, position_aware

from cinerecon.physics.lowrank import (
    AbsoluteSoft,
    AdaptiveTraceNorm,
    NuclearMinusFrobenius,
    OptimalShrinkage,
    RelativeSoft,
    Schatten,
    TopKHard,
    TopKSoft,
    shrink_casorati,
    shrink_frames,
    shrink_matrix,
    shrink_patches,
)

every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
SHRINK = {
    "casorati": shrink_casorati,
    "frames": shrink_frames,
    "patches": lambda image, rule: shrink_patches(image, rule, 4, (1, 3)),
}


@every_rule
@pytest.mark.parametrize("shape", [(5, 30), (3, 4, 4), (6, 3), (2, 2, 3, 7), (70, 80), (90, 70)])
@pytest.mark.parametrize("gradients", [True, False])
def test_equals_the_svd(rule, shape, gradients):
    matrix = decaying(*shape)
    with torch.set_grad_enabled(gradients):
        found = shrink_matrix(matrix, rule).detach()
    assert relative_error(found, by_svd(matrix, rule)) < 1e-8


@pytest.mark.parametrize("share", [0.1, 0.01, 1e-3])
@pytest.mark.parametrize("shape", [(12, 9000), (2, 5, 3000), (96, 80), (3, 70, 75)])
@pytest.mark.parametrize("gradients", [True, False])
def test_single_precision_is_enough(share, shape, gradients):
    matrix = decaying(*shape, power=2.5, dtype=torch.complex64)
    rule = RelativeSoft(math.log(share / (1 - share)))
    with torch.set_grad_enabled(gradients):
        found = shrink_matrix(matrix, rule)
    assert found.dtype == torch.complex64
    assert relative_error(found, by_svd(matrix.to(torch.complex128), rule)) < 1e-5


@every_rule
@pytest.mark.parametrize("shape", [(8, 3000), (2, 70, 80)])
def test_single_precision_is_enough_for_every_rule(rule, shape):
    matrix = decaying(*shape, dtype=torch.complex64)
    with torch.no_grad():
        found = shrink_matrix(matrix, rule)
    assert relative_error(found, by_svd(matrix.to(torch.complex128), rule)) < 2e-5


@every_rule
@pytest.mark.parametrize("shape", [(2, 5, 30), (2, 70, 80), (2, 80, 70)])
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("spoilt", [math.nan, math.inf])
def test_nan_stays_in_its_matrix(rule, shape, gradients, spoilt):
    matrix = decaying(*shape, dtype=torch.complex64)
    expected = shrink_matrix(matrix, rule)
    matrix[1, 2, 3] = spoilt
    with torch.set_grad_enabled(gradients):
        found = shrink_matrix(matrix, rule)
    assert relative_error(found[0], expected[0]) < 2e-5
    assert found[1].isnan().all()


# Where a rule is not differentiable there is nothing to check. The cases stay away from: values at a threshold; a
# largest value, a median, or the last one of a top-k rule, that repeats while the rule takes it alone; zero, for rules
# that follow the scale (like |x|); and, for PASS, any value that repeats or vanishes while its neighbours look at it.
DISTINCT, REPEATED, DEFICIENT, ZERO = (3.0, 2.0, 1.1, 0.4), (3.0, 2.0, 2.0, 0.4), (3.0, 2.0, 0.0, 0.0), (0.0,) * 4
EQUAL = (2.0, 2.0, 2.0, 2.0)
NOISY = (9.0, 6.0, 1.1, 1.0, 0.8, 0.5)
FEW_SHARES = {"shares": tuple(0.1 * n for n in range(1, 9)), "gammas": (1.0, 2.0)}
CASES = {
    "topk_hard": (TopKHard, (), {"k": 2}, [DISTINCT, DEFICIENT, (3.0, 3.0, 1.0, 1.0)]),
    "topk_soft": (TopKSoft, (1.5,), {"temperature": 0.05}, [DISTINCT, DEFICIENT]),
    "topk_soft tied": (TopKSoft, (2.0,), {"temperature": 0.02}, [(3.0, 3.0, 1.0, 1.0), DEFICIENT]),
    "relative_soft": (RelativeSoft, (-1.0, 0.9), {}, [DISTINCT, REPEATED, DEFICIENT, (3.0, 0.4, 0.4, 0.4)]),
    "absolute_soft": (AbsoluteSoft, (0.6,), {}, [DISTINCT, REPEATED, DEFICIENT, ZERO, EQUAL]),
    "schatten": (Schatten, (0.5,), {"p": 0.3}, [DISTINCT, REPEATED, DEFICIENT, ZERO, EQUAL]),
    "nuclear_minus_frobenius": (NuclearMinusFrobenius, (0.6,), {}, [DISTINCT, REPEATED, DEFICIENT, EQUAL]),
    "nuclear_minus_frobenius alone": (NuclearMinusFrobenius, (4.0,), {}, [DISTINCT, DEFICIENT, (3.0, 1.0, 1.0, 1.0)]),
    "optimal": (OptimalShrinkage, (), {}, [NOISY, (9.0, 9.0, 1.0, 1.0, 0.8, 0.5), (9.0, 6.0, 1.1, 1.0, 0.0, 0.0)]),
    "adaptive_trace": (AdaptiveTraceNorm, (), FEW_SHARES, [NOISY, REPEATED, DEFICIENT]),
    "adaptive_trace known": (AdaptiveTraceNorm, (), {"noise": 0.3} | FEW_SHARES, [NOISY, REPEATED, DEFICIENT]),
}


def _cases():
    for name, (rule, numbers, settings, spectra) in CASES.items():
        for values in spectra:
            yield pytest.param(rule, numbers, settings, values, id=f"{name} {values}")


def _shrink_real(matrix, rule):
    return torch.view_as_real(shrink_matrix(torch.view_as_complex(matrix), rule))


@pytest.mark.parametrize(("rule", "numbers", "settings", "values"), list(_cases()))
@pytest.mark.parametrize("tall", [False, True])
def test_gradients(rule, numbers, settings, values, tall):
    matrix = matrix_of(*values, columns=7)
    real = torch.view_as_real(matrix.mT.contiguous() if tall else matrix).clone().requires_grad_()
    learned = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in numbers]
    sharp = {"tie_width": 1e-9, **settings} if rule in (TopKHard, TopKSoft) else settings
    assert torch.autograd.gradcheck(lambda m, *found: _shrink_real(m, rule(*found, **sharp)), (real, *learned))


@pytest.mark.parametrize("normalize", [False, True])
def test_gradients_of_pass(normalize):
    rule = position_aware(n_channels=2, strength=0.1, normalize=normalize, gate_layers=2).requires_grad_()
    real = torch.stack([torch.view_as_real(matrix_of(*DISTINCT, columns=5, seed=n)) for n in range(2)])
    function = lambda m, *_: torch.view_as_real(shrink_matrix(torch.view_as_complex(m), rule, 1))  # noqa: E731
    assert torch.autograd.gradcheck(function, (real.requires_grad_(), *rule.parameters()))


@pytest.mark.parametrize("values", [DISTINCT, REPEATED, EQUAL], ids=str)
def test_gradients_of_pass_that_looks_at_one_value_alone(values):
    rule = position_aware(n_channels=2, strength=1.0)
    for name, parameter in rule.named_parameters():
        centre = parameter[..., 1, 1].clone()
        parameter.zero_()
        parameter[..., 1, 1] = centre
        if name == "gate.0.weight":
            parameter[:, 1] = 0  # and not at its position
    real = torch.view_as_real(matrix_of(*values, columns=6)).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: _shrink_real(m, rule), (real,))


@pytest.mark.parametrize("values", [DISTINCT, REPEATED, DEFICIENT, ZERO, EQUAL], ids=str)
def test_gradients_of_pass_before_it_has_learned(values):
    rule = position_aware()
    torch.nn.init.zeros_(rule.mix.weight)
    real = torch.view_as_real(matrix_of(*values, columns=6)).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m: _shrink_real(m, rule), (real,))


@every_rule
@pytest.mark.parametrize("shape", [(5, 12), (2, 12, 5), (2, 70, 72)])
def test_gradients_are_those_of_the_svd_where_values_are_apart(rule, shape):
    found, expected = decaying(*shape).requires_grad_(), decaying(*shape).requires_grad_()
    seed = complex_randn(*shape, seed=5)
    shrink_matrix(found, _sharp(rule)).backward(seed)
    by_svd(expected, rule).backward(seed)
    assert relative_error(found.grad, expected.grad) < 1e-5


def _sharp(rule):
    """The same rule without the wide ties that top-k rules take."""
    return type(rule)(rule.k, tie_width=1e-12) if isinstance(rule, TopKHard | TopKSoft) else rule


@every_rule
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("size", [(3, 7), (70, 72)])
def test_gradients_are_finite_wherever_values_repeat_or_vanish(rule, dtype, size):
    for matrix in (torch.zeros(size, dtype=dtype), torch.eye(*size, dtype=dtype), torch.ones(size, dtype=dtype)):
        matrix.requires_grad_()
        shrink_matrix(matrix, rule).backward(torch.ones(size, dtype=dtype))
        assert torch.isfinite(torch.view_as_real(matrix.grad)).all()


def test_gradients_in_single_precision_are_those_in_double():
    for shape in ((8, 3000), (2, 70, 80)):
        grads = []
        for dtype in (torch.complex64, torch.complex128):
            matrix = decaying(*shape).to(dtype).requires_grad_()
            theta = torch.tensor(-2.0, dtype=dtype.to_real(), requires_grad=True)
            shrink_matrix(matrix, RelativeSoft(theta)).abs().square().sum().backward()
            grads.append((matrix.grad, theta.grad))
        assert relative_error(grads[0][0], grads[1][0]) < 1e-4
        assert float(grads[0][1]) == pytest.approx(float(grads[1][1]), rel=1e-4)


def test_a_decomposition_that_fails_in_single_precision_is_done_in_double(monkeypatch):
    """LAPACK returned NaN for finite, well-conditioned matrices in training."""
    original = torch.linalg.eigh

    def fails_in_single(matrix):
        values, vectors = original(matrix)
        return (values * math.nan, vectors) if values.dtype == torch.float32 else (values, vectors)

    matrix = decaying(80, 90, dtype=torch.complex64)
    rule = RULES["relative_soft"]
    expected = [shrink_matrix(matrix, rule)]
    with torch.no_grad():
        expected.append(shrink_matrix(matrix, rule))
    monkeypatch.setattr(torch.linalg, "eigh", fails_in_single)
    assert relative_error(shrink_matrix(matrix, rule), expected[0]) < 1e-5
    with torch.no_grad():
        assert relative_error(shrink_matrix(matrix, rule), expected[1]) < 1e-5


def _series(*shape):
    """A series whose Casorati matrix, frames and patches all have singular values that fall, above some noise."""
    *batch, frames, y, x = shape
    modes = decaying(*batch, frames, y * x, seed=3).view(shape) * 30
    return decaying(*batch, frames, y, x, power=2.0, seed=4) * modes.abs().max() + modes + 0.1 * complex_randn(*shape)


def test_the_relative_rule_equals_the_authors_program():
    stored = golden("svt")
    image, rule = torch.from_numpy(stored["x"]), RelativeSoft(float(stored["thres_coef"]))
    assert relative_error(shrink_casorati(image, rule), torch.from_numpy(stored["casorati"])) < 1e-6
    assert relative_error(shrink_frames(image, rule), torch.from_numpy(stored["perframe"])) < 1e-6


@every_rule
@pytest.mark.parametrize("shape", [(2, 5, 7, 6), (5, 7, 6), (1, 9, 4, 4)])
def test_each_view_is_the_textbook_of_its_matrices(rule, shape):
    image = _series(*shape)
    assert relative_error(shrink_casorati(image, rule).flatten(-2), by_svd(image.flatten(-2), rule)) < 1e-9
    assert relative_error(shrink_frames(image, rule), by_svd(image, rule, n_sibling_axes=1)) < 1e-9


@every_rule
@pytest.mark.parametrize("shrink", SHRINK.values(), ids=SHRINK)
def test_batched_equals_looped_and_the_image_stays(rule, shrink):
    image = _series(3, 5, 7, 6)
    before = image.clone()
    together = shrink(image, rule)
    assert torch.equal(image, before)
    for one, alone in zip(together, image, strict=True):
        assert relative_error(one, shrink(alone, rule)) < 1e-10


@pytest.mark.parametrize("shift", [(0, 0), (3, 1), (-1, 12)])
@pytest.mark.parametrize("size", [1, 5, 30])
def test_patches_tile_the_image_wherever_they_begin(shift, size):
    image = complex_randn(2, 4, 10, 13)
    assert relative_error(shrink_patches(image, TopKHard(4), size, shift), image) < 1e-12


def test_a_patch_is_shrunk_as_a_matrix_of_its_own():
    image, rule = complex_randn(4, 10, 13), Schatten(2.0, 0.7)
    found = shrink_patches(image, rule, 5, (2, 1))
    for rows, columns in ((slice(2, 7), slice(1, 6)), (slice(0, 2), slice(11, 13)), (slice(7, 10), slice(0, 1))):
        alone = shrink_casorati(image[:, rows, columns].contiguous(), rule)
        assert relative_error(found[:, rows, columns], alone) < 1e-12


def test_real_series_stay_real():
    image = complex_randn(5, 7, 6).real
    found = shrink_casorati(image, RULES["relative_soft"])
    assert found.dtype == torch.float64
    assert relative_error(found.flatten(-2), by_svd(image.flatten(-2), RULES["relative_soft"])) < 1e-10


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@every_rule
@pytest.mark.parametrize("shrink", SHRINK.values(), ids=SHRINK)
@pytest.mark.parametrize("shape", [(2, 5, 9, 8), (2, 5, 70, 80)])
def test_the_gpu_gives_the_same(rule, shrink, shape):
    image = _series(*shape).to(torch.complex64)
    there = copy.deepcopy(rule).cuda() if isinstance(rule, torch.nn.Module) else rule
    for gradients in (True, False):
        with torch.set_grad_enabled(gradients):
            found, expected = shrink(image.cuda(), there).cpu(), shrink(image, rule)
        assert relative_error(found, expected) < 5e-5
