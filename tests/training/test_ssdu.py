"""Training without a reference: held-out samples, the input of the network, and the effect of training."""

import numpy as np
import pytest
import torch
from helpers import complex_randn
from small_recipe import ZeroFilled

from cinerecon.physics.operators import Encoding
from cinerecon.training import TrainCallbacks, TrainOptions, train
from cinerecon.training.batches import DataPaths, open_training_data
from cinerecon.training.data.batch import Batch
from cinerecon.training.ssdu import draw_loss_mask, split_batch, ssdu_loss
from cinerecon.training.validation import validate


def draw_mask(kx, seed=0, frames=6, ky=40):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(frames, 1, ky, kx, generator=generator) < 0.4
    mask[:, :, ky // 2 - 2 : ky // 2 + 2] = True
    return mask


@pytest.mark.parametrize("kx", [1, 21])
def test_held_out_samples_are_a_share_of_all_without_the_centre(kx):
    mask = draw_mask(kx)
    held = draw_loss_mask(mask, 0.4, np.random.default_rng(0))
    assert held.shape == mask.shape
    assert not (held & ~mask).any()
    assert int(held.sum()) == round(0.4 * int(mask.sum()))
    centre = held[:, 0, 18:22, 21 // 2 - 2 : 21 // 2 + 2] if kx > 1 else held[:, 0, 18:22]
    assert not centre.any()


def test_more_samples_are_held_out_near_the_centre():
    mask = torch.ones(200, 1, 40, 1, dtype=torch.bool)
    rate = draw_loss_mask(mask, 0.3, np.random.default_rng(0))[:, 0, :, 0].float().mean(0)
    assert rate[14:18].mean() > 1.5 * rate[:4].mean()


def test_draws_differ_and_follow_from_the_seed():
    mask = draw_mask(1)
    first, again, other = (draw_loss_mask(mask, 0.4, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.fixture
def batch():
    mask = torch.stack([draw_mask(1, seed) for seed in (0, 1)])
    csm = complex_randn(2, 3, 40, 9, dtype=torch.complex64)
    encoding = Encoding(mask, csm / csm.abs().square().sum(1, keepdim=True).sqrt())
    target = complex_randn(2, 6, 40, 9, dtype=torch.complex64)
    return Batch(encoding.forward(target), encoding, target)


@pytest.fixture
def held(batch):
    return torch.stack([draw_loss_mask(mask, 0.3, np.random.default_rng(0)) for mask in batch.encoding.mask])


def test_neither_the_network_nor_its_initial_image_uses_held_out_samples(batch, held):
    seen = []

    def start(data):
        seen.append((data.kspace, data.mask))
        return data.kspace[:, :, 0]

    split = split_batch(batch, held, start)
    kspace, encoding = split.loss_samples
    for samples, mask in ((split.kspace, split.encoding.mask), *seen):
        assert not (mask & held).any()
        assert not (samples * held).any()
    assert torch.equal(split.kspace + kspace, batch.kspace)
    assert torch.equal(split.encoding.mask | encoding.mask, batch.encoding.mask)


def relative_norms(image, kspace, encoding):
    """Sum of the relative 1-norm and 2-norm of the difference, mean over the batch."""
    terms = []
    for error, y in zip(encoding.forward(image) - kspace, kspace, strict=True):
        norms = [[np.linalg.norm(part.flatten().numpy(), order) for part in (error, y)] for order in (1, 2)]
        terms.append(sum(left / whole for left, whole in norms))
    return np.mean(terms)


def test_the_loss_is_zero_for_the_truth_and_two_for_nothing(batch, held):
    split = split_batch(batch, held)
    assert float(ssdu_loss(batch.target, split, 1.0)) < 1e-5
    assert float(ssdu_loss(torch.zeros_like(batch.target), split, 0.0)) == pytest.approx(2)
    image = batch.target + 0.1 * complex_randn(2, 6, 40, 9, seed=3, dtype=torch.complex64)
    of_held, of_seen = (relative_norms(image, *part) for part in (split.loss_samples, (split.kspace, split.encoding)))
    assert float(ssdu_loss(image, split, 0.0)) == pytest.approx(of_held, rel=1e-4)
    assert float(ssdu_loss(image, split, 0.7)) == pytest.approx(of_held + 0.7 * of_seen, rel=1e-4)


@pytest.mark.slow
def test_the_network_learns_to_reconstruct_without_truth(make_recipe, cases, tmp_path):
    """Judged against a truth that training does not use: far beyond the zero-filled image."""
    recipe = make_recipe("loss=ssdu", "data.coils=2", "n_steps=100", "save_every=100")
    steps = []
    train(recipe, tmp_path, TrainOptions(DataPaths(cases)), TrainCallbacks(on_validation=steps.append))

    batches = open_training_data(recipe, DataPaths(cases)).draw_validation()
    assert steps[-1].validation > validate(ZeroFilled(), batches) + 1.5
