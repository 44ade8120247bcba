import pytest
import torch
from golden import (
    assert_gradient_norms,
    copy_kernels,
    golden,
    golden_input,
    mean_square,
    published,
    uncentred_input,
)
from helpers import relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    assert_learns_everywhere,
    assert_scale_equivariant,
    assert_starts_from_zero_filled,
    random_case,
)

from cinerecon.networks.config import DcCnnConfig, LowRankModuleConfig
from cinerecon.networks.dccnn import DcCnn
from cinerecon.networks.unrolled import count_parameters

SMALL = DcCnnConfig(n_cascades=2, n_channels=4)
FLAT = SMALL.model_copy(update={"n_dimensions": 2})
UNBIASED = DcCnnConfig(variant="d6c10", n_cascades=2, n_channels=4)
LOWRANK = LowRankModuleConfig(shrinkage="relative_soft")
variants = pytest.mark.parametrize("config", [SMALL, FLAT, UNBIASED], ids=["3-D", "2-D", "unbiased"])


@pytest.mark.parametrize(("activation", "slope"), [("relu", 0.0), ("lrelu", 0.01)])
def test_d5c5_equals_the_authors_program_in_output_loss_and_gradients(activation, slope):
    case = golden(f"dccnn3d_d5c5_seeded_nf8_{activation}_sc")
    net = DcCnn(DcCnnConfig(n_channels=8, slope=slope))
    names = {key.removeprefix("w/"): key for key in case if key.startswith("w/")}
    ours = {theirs: f"cascades.{theirs.split('.', 1)[1].replace('.', '.refine.', 1)}" for theirs in names}
    state = {}
    for theirs, key in names.items():
        value = torch.from_numpy(case[key])  # their convolutions run over (y, x, frames)
        state[ours[theirs]] = value.movedim(-1, 2) if value.ndim == 5 else value
    net.load_state_dict(state)
    image = net(*uncentred_input(case))
    assert relative_error(image.detach(), torch.from_numpy(case["recon"])) < 1e-5
    loss = mean_square(image, golden("inputs")["image"])
    assert loss.item() == pytest.approx(float(case["loss"]), rel=1e-5)
    loss.backward()
    assert_gradient_norms(case, {theirs: net.get_parameter(name).grad for theirs, name in ours.items()})


@torch.no_grad()
def test_d6c10_equals_the_authors_program_with_published_weights():
    weights = published("unrollingnets_DCCNN-radial-16-20230115T205950/weight-best")
    net = DcCnn(DcCnnConfig(variant="d6c10"))
    for n, cascade in enumerate(net.cascades):
        kernels = [weights[f"celllist/{n}/conv_{i}/mylayers/0/kernel"] for i in range(1, 7)]
        copy_kernels(cascade.refine, kernels)
    image = net(*golden_input("sc"))
    assert relative_error(image, torch.from_numpy(golden("unrolling_DCCNN_radial16_sc")["recon"])) < 2e-5


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (DcCnnConfig(), 432_650),
        (DcCnnConfig(n_channels=64), 1_694_730),
        (DcCnnConfig(n_channels=16), 112_650),
        (DcCnnConfig(n_channels=64, n_dimensions=2), 565_770),
        (DcCnnConfig(variant="d6c10"), 293_760),
        (DcCnnConfig(lowrank=LOWRANK), 432_655),
    ],
)
def test_parameter_counts_of_the_papers_and_the_programs(config, expected):
    assert count_parameters(DcCnn(config)) == expected


@pytest.mark.parametrize("frames", [1, 2, 6])
@variants
@torch.no_grad()
def test_the_sampled_data_come_back(config, frames):
    kspace, encoding = random_case(frames=frames)
    image = DcCnn(config).double()(kspace, encoding)
    assert relative_error(encoding.forward(image), kspace) < 1e-12
    assert relative_error(image, encoding.adjoint(kspace)) > 1e-6


@pytest.mark.parametrize("coils", [1, 3])
@variants
def test_batched_equals_looped(config, coils):
    assert_batched_equals_looped(DcCnn(config), coils)


def test_scale_equivariant_without_biases():
    assert_scale_equivariant(DcCnn(UNBIASED))


@torch.no_grad()
def test_two_dimensions_reconstruct_frame_by_frame():
    net = DcCnn(FLAT).double()
    kspace, encoding = random_case()
    together = net(kspace, encoding)
    one = type(encoding)(encoding.mask[:, 2:3], matrix=encoding.matrix, dtype=torch.complex128)
    assert relative_error(net(kspace[:, 2:3], one), together[:, 2:3]) < 1e-12


@variants
def test_starts_from_the_zero_filled_image(config):
    assert_starts_from_zero_filled(DcCnn(config))


@variants
def test_learns_everywhere(config):
    assert_learns_everywhere(DcCnn(config))


def test_checkpointing_changes_nothing():
    assert_checkpointing_changes_nothing(DcCnn(SMALL), DcCnn(SMALL.model_copy(update={"checkpointing": True})))
