"""The terms of the loss, and mixed precision."""

import math

import pytest
import torch
from helpers import complex_randn

from cinerecon import networks
from cinerecon.errors import ConfigError
from cinerecon.physics.operators import Encoding
from cinerecon.training import training_loss
from cinerecon.training.data.batch import Batch
from cinerecon.training.losses import high_frequency_error, image_loss, structural_similarity


def random_pair(*shape):
    return (complex_randn(*shape, seed=seed, dtype=torch.complex64) for seed in (0, 1))


def test_mse_is_the_mean_over_real_and_imaginary_parts(make_recipe):
    image, target = random_pair(2, 3, 8, 9)
    expected = torch.nn.functional.mse_loss(torch.view_as_real(image), torch.view_as_real(target))
    assert torch.allclose(image_loss(image, target, make_recipe().training), expected)
    root = image_loss(image, target, make_recipe("loss=rmse").training)
    each = torch.view_as_real(image - target).square().flatten(1).mean(1).sqrt()
    assert torch.allclose(root, each.mean())
    decibels = image_loss(image, target, make_recipe("loss=log").training)
    brighter = image_loss(10 * image, 10 * target, make_recipe("loss=log").training)
    assert torch.allclose(decibels, (each.square() / 1e-10).log().mean())
    assert float(brighter - decibels) == pytest.approx(math.log(100), abs=1e-4)


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    image, target = (part.abs().double() for part in random_pair(2, 3, 20, 17))
    image = target + 0.3 * image
    expected = [
        metrics.structural_similarity(
            a.numpy(), b.numpy(), win_size=7, data_range=float(peak), use_sample_covariance=False
        )
        for cine, truth, peak in zip(image, target, target.amax((1, 2, 3)), strict=True)
        for a, b in zip(cine, truth, strict=True)
    ]
    assert float(structural_similarity(image, target)) == pytest.approx(sum(expected) / len(expected), abs=1e-9)
    assert float(structural_similarity(target, target)) == pytest.approx(1)


def test_high_frequencies_weigh_more():
    def wave(cycles):
        return torch.exp(2j * torch.pi * cycles * torch.arange(16) / 16).expand(1, 2, 16, 16)

    slow, fast = (float(high_frequency_error(wave(cycles))) for cycles in (2, 8))
    assert fast / slow == pytest.approx(16, rel=1e-4)  # the square of the frequency
    assert float(high_frequency_error(wave(0))) == pytest.approx(0, abs=1e-6)
    assert fast == pytest.approx(0.25, rel=1e-4)  # mean |wave|^2 / 2, times the weight of an edge, 1/2


def test_optional_terms_add_up(make_recipe):
    image, target = random_pair(1, 3, 12, 12)
    both = image_loss(image, target, make_recipe("ssim_weight=0.3", "high_frequency_weight=2").training)
    expected = image_loss(image, target, make_recipe().training)
    expected = expected + 0.3 * (1 - structural_similarity(image.abs(), target.abs()))
    assert torch.allclose(both, expected + 2 * high_frequency_error(image - target))


@pytest.fixture
def batch():
    target = complex_randn(1, 4, 12, 10, dtype=torch.complex64)
    mask = torch.rand(1, 4, 1, 12, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    encoding = Encoding(mask, matrix=(12, 10))
    return Batch(encoding.forward(target), encoding, target)


def test_the_symmetry_term_is_added(make_recipe, batch):
    torch.manual_seed(0)
    net = networks.build("slrnet", n_cascades=2, n_channels=3)
    plain, with_term = (training_loss(net, batch, make_recipe(f"symmetry_weight={w}").training) for w in (0, 0.5))
    _, extras = net(batch.kspace, batch.encoding, extras=True)
    expected = 0.5 * sum(residual.square().mean() for residual in extras["symmetry"])
    assert torch.allclose(with_term - plain, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["dccnn", "passnet"])
def test_a_symmetry_term_that_a_network_lacks_is_refused(make_recipe, batch, name):
    net = networks.build(name, n_cascades=1, n_channels=3)
    with pytest.raises(ConfigError, match="the network has no symmetry loss"):
        training_loss(net, batch, make_recipe("symmetry_weight=0.5").training)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_mixed_precision_keeps_what_is_complex_in_full(make_recipe, batch, name):
    torch.manual_seed(0)
    net = networks.build(name, n_cascades=2, n_channels=4)
    convolved = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.Conv2d):
            module.register_forward_hook(lambda _, inputs, output: convolved.append(output.dtype))
    full, mixed = (training_loss(net, batch, make_recipe(f"precision={p}").training) for p in ("float32", "bfloat16"))
    assert torch.bfloat16 in convolved
    assert mixed.dtype == torch.float32
    assert abs(mixed - full) < 0.05 * full
    mixed.backward()
    gradients = [parameter.grad for parameter in net.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.dtype == torch.float32 and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("is_native", [False, True])
def test_automatic_precision_is_that_which_the_processor_computes_faster(make_recipe, batch, monkeypatch, is_native):
    monkeypatch.setattr("cinerecon.networks.bfloat16.is_native", lambda _: is_native)
    net = networks.build("istanet", n_cascades=1, n_channels=4)
    convolved = set()
    for module in net.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(lambda _, inputs, output: convolved.add(output.dtype))
    training_loss(net, batch, make_recipe("precision=auto").training)
    assert (torch.bfloat16 in convolved) == is_native


def test_activation_checkpointing_gives_the_same_loss_and_gradients(make_recipe, batch):
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = networks.build("slrnet", n_cascades=2, n_channels=3, checkpointing=checkpointing)
        loss = training_loss(net, batch, make_recipe("symmetry_weight=0.1").training)
        loss.backward()
        found.append((loss.detach(), [p.grad for p in net.parameters() if p.grad is not None]))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(found[0][1], found[1][1], strict=True))
