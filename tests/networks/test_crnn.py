import pytest
import torch
from golden import assert_gradient_norms, golden, mean_square, uncentred_input
from helpers import complex_randn, relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    assert_learns_everywhere,
    assert_starts_from_zero_filled,
    item,
    random_case,
)

from cinerecon.networks.config import CrnnConfig, LowRankModuleConfig
from cinerecon.networks.crnn import Crnn
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.operators import Encoding

SMALL = CrnnConfig(n_cascades=3, n_channels=4)
LOWRANK = LowRankModuleConfig(shrinkage="relative_soft")
NAMES = {
    "bcrnn.CRNN_model.i2h": "cascade.in_time.from_input",
    "bcrnn.CRNN_model.ih2ih": "cascade.in_time.from_iteration",
    "bcrnn.CRNN_model.h2h": "cascade.in_time.from_neighbour",
    **{f"conv{n + 1}_x": f"cascade.layers.{n}.from_input" for n in range(3)},
    **{f"conv{n + 1}_h": f"cascade.layers.{n}.from_iteration" for n in range(3)},
    "conv4_x": "cascade.to_image",
}
PARAMETERS = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in NAMES.items() for kind in ("weight", "bias")}


def test_equals_the_authors_program_in_output_loss_and_gradients():
    case = golden("crnn_seeded_nf8_nc3_sc")
    net = Crnn(CrnnConfig(n_cascades=3, n_channels=8))
    net.load_state_dict({ours: torch.from_numpy(case[f"w/{theirs}"]) for theirs, ours in PARAMETERS.items()})
    image = net(*uncentred_input(case))
    assert relative_error(image.detach(), torch.from_numpy(case["recon"])) < 1e-5
    loss = mean_square(image, golden("inputs")["image"])
    assert loss.item() == pytest.approx(float(case["loss"]), rel=1e-5)
    loss.backward()
    assert_gradient_norms(case, {theirs: net.get_parameter(ours).grad for theirs, ours in PARAMETERS.items()})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CrnnConfig(), 297_794),
        (CrnnConfig(n_channels=32), 75_170),
        (CrnnConfig(lowrank=LOWRANK), 297_799),
        (CrnnConfig(lowrank=LOWRANK, shared_lowrank=True), 297_795),
    ],
)
def test_parameter_counts_of_the_paper(config, expected):
    assert count_parameters(Crnn(config)) == expected


@pytest.mark.parametrize("coils", [1, 3])
@torch.no_grad()
def test_a_reversed_cine_comes_out_reversed(coils):
    net = Crnn(SMALL).double()
    kspace, encoding = random_case(2, coils=coils)
    reversed_encoding = Encoding(encoding.mask.flip(1), encoding.csm, matrix=encoding.matrix, dtype=torch.complex128)
    image = net(kspace, encoding)
    assert relative_error(net(kspace.flip(1), reversed_encoding), image.flip(1)) < 1e-14
    assert relative_error(image.flip(1), image) > 0.1


@pytest.mark.parametrize("frames", [1, 2, 6])
@torch.no_grad()
def test_the_sampled_data_come_back(frames):
    kspace, encoding = random_case(frames=frames)
    image = Crnn(SMALL).double()(kspace, encoding)
    assert relative_error(encoding.forward(image), kspace) < 1e-12
    assert relative_error(image, encoding.adjoint(kspace)) > 1e-3


@torch.no_grad()
def test_one_frame_sees_all_others_in_both_directions():
    net = Crnn(CrnnConfig(n_cascades=1, n_channels=4)).double()
    kspace, encoding = random_case(frames=4)
    before = net(kspace, encoding)
    kspace[:, 1] += encoding.forward(complex_randn(1, 4, 9, 7, seed=5))[:, 1]
    change = (net(kspace, encoding) - before).abs().amax((0, 2, 3))
    assert (change > 1e-9).all()


@pytest.mark.parametrize("coils", [1, 3])
def test_batched_equals_looped(coils):
    assert_batched_equals_looped(Crnn(SMALL), coils)


def test_starts_from_the_zero_filled_image():
    assert_starts_from_zero_filled(Crnn(SMALL))


def test_learns_everywhere():
    assert_learns_everywhere(Crnn(SMALL))
    assert_learns_everywhere(Crnn(SMALL.model_copy(update={"lowrank": LOWRANK})))


def test_checkpointing_changes_nothing():
    config = SMALL.model_copy(update={"lowrank": LOWRANK})
    assert_checkpointing_changes_nothing(Crnn(config), Crnn(config.model_copy(update={"checkpointing": True})))


@torch.no_grad()
def test_noisy_data_are_averaged_with_the_image():
    kspace, encoding = random_case()
    exact, trusted, doubted = (
        Crnn(SMALL.model_copy(update={"inverse_noise_level": level})).double() for level in (None, 1e9, 1e-9)
    )
    trusted.load_state_dict(exact.state_dict())
    doubted.load_state_dict(exact.state_dict())
    assert relative_error(trusted(kspace, encoding), exact(kspace, encoding)) < 1e-6
    moved = encoding.forward(doubted(kspace, encoding)) - kspace
    assert moved.norm() > 1e-3 * kspace.norm()


@torch.no_grad()
def test_one_shared_low_rank_level_acts_as_equal_ones():
    levels = Crnn(SMALL.model_copy(update={"lowrank": LOWRANK})).double()
    shared = Crnn(SMALL.model_copy(update={"lowrank": LOWRANK, "shared_lowrank": True})).double()
    shared.load_state_dict({key: levels.state_dict()[key] for key in shared.state_dict()})
    kspace, encoding = random_case(2)
    assert torch.equal(shared(kspace, encoding), levels(kspace, encoding))
    assert relative_error(shared(kspace[:1], item(encoding, 0)), levels(kspace, encoding)[:1]) < 1e-10
