import pytest
import torch
from golden import assert_gradient_norms, copy_kernels, golden, golden_input, mean_square, published
from helpers import relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    random_case,
)

from cinerecon.networks.config import SlrNetConfig
from cinerecon.networks.slrnet import RELEASED, SlrNet
from cinerecon.networks.unrolled import count_parameters

SMALL = SlrNetConfig(n_cascades=3, n_channels=4, shrinkage="topk_soft", coupling=0.2, step=1.0)
NAMES = {
    "lambda_step": "step",
    "lambda_step_2": "coupling",
    "soft_thr": "sparse_threshold",
    "eta": "multiplier_rate",
    "thres_coef": "lowrank.level",
}


@torch.no_grad()
def _filled(weights, n_cascades):
    """The released network with weights of the authors' program, ``cell{n}/name``."""
    net = SlrNet(RELEASED.model_copy(update={"n_cascades": n_cascades}))
    for n, cascade in enumerate(net.cascades):
        kernels = [weights[f"cell{n}/conv_{i}"] for i in range(1, 7)]
        copy_kernels(cascade.analysis, kernels[:3])
        copy_kernels(cascade.synthesis, kernels[3:])
        for theirs, ours in NAMES.items():
            cascade.get_parameter(ours).fill_(float(weights[f"cell{n}/{theirs}"]))
    return net


def test_equals_the_authors_program_in_output_loss_and_gradients():
    case = golden("slrnet_keziwen_learned_sc")
    net = _filled({key.removeprefix("w/"): case[key] for key in case if key.startswith("w/")}, 3)
    image, extras = net(*golden_input("sc"), extras=True)
    assert relative_error(image.detach(), torch.from_numpy(case["recon"])) < 1e-5
    expected = torch.from_numpy(case["x_sym"]).permute(0, 1, 5, 2, 3, 4)
    assert relative_error(torch.stack(extras["symmetry"]).detach(), expected) < 1e-5

    loss = mean_square(image, case["label"]) + 0.01 * sum(s.square().mean() for s in extras["symmetry"])
    assert loss.item() == pytest.approx(float(case["loss"]), rel=1e-5)
    loss.backward()
    gradients = {}
    for n, cascade in enumerate(net.cascades):
        convolutions = cascade.analysis.convolutions + cascade.synthesis.convolutions
        for i, convolution in enumerate(convolutions, start=1):
            gradients[f"cell{n}/conv_{i}"] = convolution.weight.grad
        for theirs, ours in NAMES.items():
            if f"grad/cell{n}/{theirs}" in case:
                gradients[f"cell{n}/{theirs}"] = cascade.get_parameter(ours).grad
    assert len(gradients) == sum(key.startswith("grad") for key in case)
    assert_gradient_norms(case, gradients)


@torch.no_grad()
def test_equals_the_authors_program_with_published_weights():
    variables = published("unrollingnets_SLR_Net-radial-16-20230114T031148/weight-best")
    paths = {name: name for name in NAMES} | {f"conv_{i}": f"conv_{i}/mylayers/0/kernel" for i in range(1, 7)}
    weights = {f"cell{n}/{name}": variables[f"celllist/{n}/{path}"] for n in range(10) for name, path in paths.items()}
    case = golden("unrolling_SLR_Net_radial16_sc")
    image, extras = _filled(weights, 10)(*golden_input("sc"), extras=True)
    assert relative_error(image, torch.from_numpy(case["recon"])) < 2e-5
    energies = torch.stack([residual.square().mean() for residual in extras["symmetry"]])
    assert torch.allclose(energies, torch.from_numpy(case["x_sym_msq"]), rtol=1e-4)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (RELEASED, 293_808),
        (RELEASED.model_copy(update={"n_cascades": 8}), 235_046),
        (RELEASED.model_copy(update={"n_channels": 32}), 1_140_528),
        (SlrNetConfig(shrinkage="topk_soft"), 912_424),
    ],
)
def test_parameter_counts_of_the_paper_and_the_program(config, expected):
    assert count_parameters(SlrNet(config)) == expected


@pytest.mark.parametrize("shrinkage", ["topk_hard", "topk_soft", "relative_soft"])
@pytest.mark.parametrize("coils", [1, 3])
def test_batched_equals_looped(shrinkage, coils):
    assert_batched_equals_looped(SlrNet(SMALL.model_copy(update={"shrinkage": shrinkage})), coils)


@torch.no_grad()
def test_without_coupling_the_lowrank_branch_has_no_influence_and_with_it_it_has():
    kspace, encoding = random_case()
    images = {}
    for coupling in (0.0, 0.3):
        for rank in (1, 3):
            torch.manual_seed(0)
            net = SlrNet(SlrNetConfig(n_cascades=2, n_channels=4, rank=rank, coupling=coupling)).double()
            images[coupling, rank] = net(kspace, encoding)
    assert torch.equal(images[0.0, 1], images[0.0, 3])
    assert relative_error(images[0.3, 1], images[0.3, 3]) > 1e-3


@torch.no_grad()
def test_starting_from_the_zero_filled_image_is_the_default():
    kspace, encoding = random_case()
    net = SlrNet(SlrNetConfig(n_cascades=1, n_channels=4)).double()
    given = net(kspace, encoding, start=encoding.adjoint(kspace))
    assert torch.equal(given, net(kspace, encoding))  # one cascade without coupling: the low-rank start plays no part
    assert not torch.equal(given, net(kspace, encoding, start=2 * encoding.adjoint(kspace)))


def test_every_learned_number_that_reaches_the_image_has_a_gradient():
    net = SlrNet(SMALL).double()
    kspace, encoding = random_case(coils=2)
    net(kspace, encoding).abs().square().sum().backward()
    for name, parameter in net.named_parameters():
        if name in ("cascades.2.lowrank.level", "cascades.2.multiplier_rate"):
            assert parameter.grad is None
        else:
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name


def test_checkpointing_changes_nothing():
    released = RELEASED.model_copy(update={"n_cascades": 3, "n_channels": 4})
    assert_checkpointing_changes_nothing(SlrNet(released), SlrNet(released.model_copy(update={"checkpointing": True})))


@torch.no_grad()
def test_symmetry_residuals_leave_the_image_as_it_is():
    kspace, encoding = random_case()
    net = SlrNet(SMALL).double()
    image, extras = net(kspace, encoding, extras=True)
    assert torch.equal(image, net(kspace, encoding))
    assert len(extras["symmetry"]) == 3


def test_weights_begin_as_in_the_paper_or_as_in_the_program():
    torch.manual_seed(0)
    for config, expected in ((SlrNetConfig(), (2 / 54) ** 0.5), (RELEASED, (2 / (54 + 27 * 16)) ** 0.5)):
        first = SlrNet(config).cascades[0].analysis.convolutions[0].weight
        assert float(first.detach().std()) == pytest.approx(expected, rel=0.1)
