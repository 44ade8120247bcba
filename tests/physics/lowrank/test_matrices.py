"""Casorati matrix, frames and patches of a series: each equals the textbook shrinkage of its matrices."""

import copy

import pytest
import torch
from golden import golden
from helpers import complex_randn, relative_error
from lowrank_cases import RULES, by_svd, decaying

from cinerecon.physics.lowrank import RelativeSoft, Schatten, TopKHard, shrink_casorati, shrink_frames, shrink_patches

SHRINK = {
    "casorati": shrink_casorati,
    "frames": shrink_frames,
    "patches": lambda image, rule: shrink_patches(image, rule, 4, (1, 3)),
}


def _series(*shape):
    """A series whose Casorati matrix, frames and patches all have singular values that fall, above some noise."""
    *batch, frames, y, x = shape
    modes = decaying(*batch, frames, y * x, seed=3).view(shape) * 30
    return decaying(*batch, frames, y, x, power=2.0, seed=4) * modes.abs().max() + modes + 0.1 * complex_randn(*shape)


every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


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
