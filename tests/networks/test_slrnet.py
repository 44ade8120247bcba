from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.data.tf_checkpoint import read_tf_checkpoint
from cinerecon.networks.slrnet import RELEASED, SlrNet, SlrNetConfig
from cinerecon.physics.operators import Encoding

GOLDEN = Path("../shared/golden")
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the authors' outputs are not here")


def _count(net):
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def _golden_input():
    inputs = np.load(GOLDEN / "inputs.npz")
    kspace = torch.from_numpy(inputs["kspace"])[:, :, None]
    mask = torch.from_numpy(inputs["mask"].real.astype(bool)).view(1, 8, 1, 32, 24)
    return kspace, Encoding(mask)


def _seeded(golden, n_cascades):
    net = SlrNet(RELEASED.model_copy(update={"n_cascades": n_cascades}))
    names = {
        "lambda_step": "step",
        "lambda_step_2": "coupling",
        "soft_thr": "sparse_threshold",
        "eta": "multiplier_rate",
    }
    with torch.no_grad():
        for n, cascade in enumerate(net.cascades):
            convolutions = cascade.analysis.convolutions + cascade.synthesis.convolutions
            for i, convolution in enumerate(convolutions, start=1):
                kernel = torch.tensor(golden[f"w/cell{n}/conv_{i}"])
                convolution.weight.copy_(kernel.permute(4, 3, 0, 1, 2))
            for theirs, ours in names.items():
                getattr(cascade, ours).fill_(float(golden[f"w/cell{n}/{theirs}"]))
            cascade.lowrank.level.fill_(float(golden[f"w/cell{n}/thres_coef"]))
    return net


@needs_golden
def test_equals_the_authors_program_in_output_loss_and_gradients():
    golden = np.load(GOLDEN / "slrnet_keziwen_learned_sc.npz")
    net = _seeded(golden, 3)
    image, extras = net(*_golden_input(), extras=True)
    assert relative_error(image.detach(), torch.from_numpy(golden["recon"])) < 1e-5
    expected = torch.from_numpy(golden["x_sym"]).permute(0, 1, 5, 2, 3, 4)
    assert relative_error(torch.stack(extras["symmetry"]).detach(), expected) < 1e-5

    label = torch.from_numpy(golden["label"])
    mse = (image - label).abs().square().mean() / 2
    loss = mse + 0.01 * sum(s.square().mean() for s in extras["symmetry"])
    assert loss.item() == pytest.approx(float(golden["loss"]), rel=1e-5)
    loss.backward()
    names = {
        "lambda_step": "step",
        "lambda_step_2": "coupling",
        "soft_thr": "sparse_threshold",
        "eta": "multiplier_rate",
    }
    for n, cascade in enumerate(net.cascades):
        for theirs, ours in names.items():
            if f"grad/cell{n}/{theirs}" in golden:
                expected = float(golden[f"grad/cell{n}/{theirs}"])
                assert float(getattr(cascade, ours).grad) == pytest.approx(expected, rel=3e-3, abs=1e-5)
        convolutions = cascade.analysis.convolutions + cascade.synthesis.convolutions
        for i, convolution in enumerate(convolutions, start=1):
            expected = float(golden[f"gradnorm/cell{n}/conv_{i}"])
            assert float(convolution.weight.grad.norm()) == pytest.approx(expected, rel=1e-3)


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
    assert _count(SlrNet(config)) == expected


@pytest.mark.parametrize("shrinkage", ["topk_hard", "topk_soft", "relative_soft"])
@pytest.mark.parametrize("coils", [1, 3])
def test_any_size_and_batched_equals_looped(shrinkage, coils):
    config = SlrNetConfig(n_cascades=2, n_channels=4, shrinkage=shrinkage, coupling=0.2, step=1.0)
    net = SlrNet(config).double()
    csm = complex_randn(2, coils, 9, 7)
    mask = torch.rand(2, 5, 1, 9, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    encoding = Encoding(mask, csm)
    kspace = encoding.forward(complex_randn(2, 5, 9, 7, seed=1))
    batched = net(kspace, encoding)
    for n in range(2):
        one = net(kspace[n : n + 1], Encoding(mask[n : n + 1], csm[n : n + 1]))
        assert relative_error(batched[n : n + 1].detach(), one.detach()) < 1e-10


def test_without_coupling_the_lowrank_branch_has_no_influence_and_with_it_it_has():
    mask = torch.rand(1, 5, 1, 8, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    encoding = Encoding(mask, matrix=(8, 6), dtype=torch.complex128)
    kspace = encoding.forward(complex_randn(1, 5, 8, 6))
    images = {}
    for coupling in (0.0, 0.3):
        for rank in (1, 3):
            torch.manual_seed(0)
            net = SlrNet(SlrNetConfig(n_cascades=2, n_channels=4, rank=rank, coupling=coupling)).double()
            images[coupling, rank] = net(kspace, encoding)
    assert torch.equal(images[0.0, 1], images[0.0, 3])
    assert relative_error(images[0.3, 1].detach(), images[0.3, 3].detach()) > 1e-3


def test_starting_from_the_zero_filled_image_is_the_default():
    mask = torch.rand(1, 5, 1, 8, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    encoding = Encoding(mask, matrix=(8, 6), dtype=torch.complex128)
    kspace = encoding.forward(complex_randn(1, 5, 8, 6))
    net = SlrNet(SlrNetConfig(n_cascades=1, n_channels=4)).double()
    given = net(kspace, encoding, start=encoding.adjoint(kspace))
    assert torch.equal(given, net(kspace, encoding))  # one cascade without coupling: the low-rank start plays no part
    assert not torch.equal(given, net(kspace, encoding, start=2 * encoding.adjoint(kspace)))


def test_every_learned_number_has_a_gradient():
    config = SlrNetConfig(n_cascades=3, n_channels=4, shrinkage="topk_soft", coupling=0.1)
    net = SlrNet(config)
    mask = torch.rand(1, 6, 1, 8, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    encoding = Encoding(mask, matrix=(8, 6))
    kspace = encoding.forward(complex_randn(1, 6, 8, 6, dtype=torch.complex64))
    net(kspace, encoding).abs().square().sum().backward()
    for cascade in net.cascades[:-1]:
        for parameter in cascade.parameters():
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().max() > 0


PUBLISHED = Path("../shared/weights/unrollingnets_SLR_Net-radial-16-20230114T031148/weight-best")


@needs_golden
@pytest.mark.skipif(not PUBLISHED.parent.exists(), reason="the published checkpoints are not here")
def test_equals_the_authors_program_with_published_weights():
    variables = read_tf_checkpoint(PUBLISHED)
    kernels = {f"conv_{i}": f"conv_{i}/mylayers/0/kernel" for i in range(1, 7)}
    scalars = ("lambda_step", "lambda_step_2", "soft_thr", "thres_coef", "eta")
    weights = {
        f"w/cell{n}/{name}": variables[f"celllist/{n}/{path}"]
        for n in range(10)
        for name, path in {**kernels, **{scalar: scalar for scalar in scalars}}.items()
    }
    golden = np.load(GOLDEN / "unrolling_SLR_Net_radial16_sc.npz")
    with torch.no_grad():
        image, extras = _seeded(weights, 10)(*_golden_input(), extras=True)
    assert relative_error(image, torch.from_numpy(golden["recon"])) < 2e-5
    energies = torch.stack([residual.square().mean() for residual in extras["symmetry"]])
    assert torch.allclose(energies, torch.from_numpy(golden["x_sym_msq"]), rtol=1e-4)
