import pytest
import torch
from golden import assert_gradient_norms, copy_kernels, golden, golden_input, mean_square, published
from helpers import complex_randn, relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    assert_learns_everywhere,
    assert_scale_equivariant,
    assert_starts_from_zero_filled,
    random_case,
)

from cinerecon.networks.config import IstaNetConfig, LowRankModuleConfig
from cinerecon.networks.istanet import RELEASED_PLUS, IstaNet
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.operators import Encoding

PAPER, S_NET, PLUS = (
    IstaNetConfig(variant=variant, n_cascades=3, n_channels=4) for variant in ("slr_paper", "snet", "plus")
)
variants = pytest.mark.parametrize("config", [PAPER, S_NET, PLUS], ids=lambda config: config.variant)


def test_snet_equals_the_authors_program_in_output_loss_and_gradients():
    case = golden("lsnet_wenqi_SNet_sc")
    net = IstaNet(IstaNetConfig(variant="snet", n_cascades=3))
    for n, cascade in enumerate(net.cascades):
        copy_kernels(cascade.sparse, [case[f"w/cell{n}/sconv_{i}"] for i in (0, 2, 4)])
        if cascade.step is not None:
            cascade.step.data.fill_(float(case[f"w/cell{n}/gamma"]))
    image = net(*golden_input("sc"))
    assert relative_error(image.detach(), torch.from_numpy(case["recon"])) < 1e-5
    loss = mean_square(image, case["label"])
    assert loss.item() == pytest.approx(float(case["loss"]), rel=1e-5)
    loss.backward()
    gradients = {}
    for n, cascade in enumerate(net.cascades):
        for i, convolution in zip((0, 2, 4), cascade.sparse.convolutions, strict=True):
            gradients[f"cell{n}/sconv_{i}"] = convolution.weight.grad
        if cascade.step is not None:
            gradients[f"cell{n}/gamma"] = cascade.step.grad
    assert len(gradients) == sum(key.startswith("grad") for key in case)
    assert_gradient_norms(case, gradients)


@torch.no_grad()
def test_plus_equals_the_authors_program_with_published_weights():
    weights = published("unrollingnets_ISTA_Net_plus-radial-16-20230115T034727/weight-best")
    net = IstaNet(RELEASED_PLUS)
    for n, cascade in enumerate(net.cascades):
        kernels = [weights[f"celllist/{n}/conv_{i}/mylayers/0/kernel"] for i in range(1, 7)]
        copy_kernels(cascade.analysis, kernels[:3])
        copy_kernels(cascade.synthesis, kernels[3:])
        cascade.step.fill_(float(weights[f"celllist/{n}/mu"]))
        cascade.sparse_threshold.fill_(float(weights[f"celllist/{n}/thres_coef"]))
    image, extras = net(*golden_input("sc"), extras=True)
    case = golden("unrolling_ISTA_Net_plus_radial16_sc")
    assert relative_error(image, torch.from_numpy(case["recon"])) < 2e-5
    energies = torch.stack([residual.square().mean() for residual in extras["symmetry"]])
    assert torch.allclose(energies, torch.from_numpy(case["x_sym_msq"]), rtol=1e-4)


def test_the_released_threshold_of_plus_never_leaves_zero_and_ours_does():
    for config, learns in ((RELEASED_PLUS, False), (IstaNetConfig(variant="plus"), True)):
        net = IstaNet(config.model_copy(update={"n_cascades": 2, "n_channels": 4}))
        kspace, encoding = random_case()
        net.double()(kspace, encoding).abs().square().sum().backward()
        assert all(bool(cascade.sparse_threshold.grad) is learns for cascade in net.cascades)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (IstaNetConfig(), 912_400),
        (IstaNetConfig(variant="snet"), 311_049),
        (IstaNetConfig(variant="plus"), 293_780),
        (IstaNetConfig(lowrank=LowRankModuleConfig(shrinkage="topk_soft")), 912_408),
    ],
)
def test_parameter_counts_of_the_papers_and_the_programs(config, expected):
    assert count_parameters(IstaNet(config)) == expected


@pytest.mark.parametrize("frames", [1, 5])
@pytest.mark.parametrize("coils", [1, 3])
@variants
def test_batched_equals_looped(config, coils, frames):
    assert_batched_equals_looped(IstaNet(config), coils, frames)


@pytest.mark.parametrize("config", [S_NET, RELEASED_PLUS.model_copy(update={"n_cascades": 2})], ids=["snet", "plus"])
def test_scale_equivariant_where_no_threshold_is_absolute(config):
    assert_scale_equivariant(IstaNet(config))


@variants
def test_starts_from_the_zero_filled_image(config):
    assert_starts_from_zero_filled(IstaNet(config))


@variants
def test_learns_everywhere(config):
    assert_learns_everywhere(IstaNet(config))


@variants
def test_checkpointing_changes_nothing(config):
    assert_checkpointing_changes_nothing(IstaNet(config), IstaNet(config.model_copy(update={"checkpointing": True})))


@torch.no_grad()
def test_symmetry_residuals_say_how_far_the_transform_is_from_the_identity():
    kspace, encoding = random_case()
    for config, channels in ((PAPER, 2), (PLUS, 4)):
        net = IstaNet(config).double()
        plain = net(kspace, encoding)
        image, extras = net(kspace, encoding, extras=True)
        assert torch.equal(image, plain)
        assert [residual.shape[1] for residual in extras["symmetry"]] == [channels] * 3
        for cascade in net.cascades:  # a transform that is the identity on what is not negative
            for convolution in (*cascade.analysis.convolutions, *cascade.synthesis.convolutions):
                convolution.weight.zero_()
                for channel in range(2):
                    convolution.weight[channel, channel, 1, 1, 1] = 1
        start = (1 + 1j) * torch.ones_like(plain)
        _, extras = net(0 * kspace, encoding, start=start, extras=True)
        assert float(extras["symmetry"][0].abs().max()) < 1e-12


@pytest.mark.parametrize("config", [PAPER, PLUS], ids=["slr_paper", "plus"])
@torch.no_grad()
def test_with_all_data_sampled_a_full_step_without_a_transform_is_the_truth(config):
    truth = complex_randn(1, 5, 9, 7)
    _, encoding = random_case(coils=3)
    encoding = Encoding(torch.ones_like(encoding.mask), encoding.csm)
    net = IstaNet(config.model_copy(update={"step": 1.0})).double()
    for cascade in net.cascades:
        cascade.synthesis.convolutions[-1].weight.zero_()
    image = net(encoding.forward(truth), encoding, start=torch.zeros_like(truth))
    assert relative_error(image, truth) < 1e-12
