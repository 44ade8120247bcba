import pytest
import torch
from helpers import complex_randn, relative_error
from network_checks import (
    assert_batched_equals_looped,
    assert_checkpointing_changes_nothing,
    assert_learns_everywhere,
    assert_starts_from_zero_filled,
    random_case,
)

from cinerecon.networks.config import StVarNetConfig
from cinerecon.networks.stvarnet import (
    EDGE,
    DataConsistency,
    LowRankBlocks,
    StVarNet,
    edges,
    scan_conditions,
    shift_frames,
    shuffle_pixels,
    unshuffle_pixels,
)
from cinerecon.networks.unrolled import count_parameters
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.lowrank import make_rule, shrink_patches
from cinerecon.physics.operators import Encoding
from cinerecon.physics.shrinkage import ShrinkageConfig

SMALL = StVarNetConfig(n_cascades=2, n_channels=8, n_blocks=2, block_size=4)
PLAIN = SMALL.model_copy(update={"lowrank": None})
NUCLEAR = ShrinkageConfig(shrinkage="absolute_soft", prox_weight=0.25)
WHOLE = SMALL.model_copy(update={"block_size": 0, "lowrank": ShrinkageConfig(shrinkage="relative_soft")})


@pytest.mark.parametrize("distance", [1, 2, 4, 7])
def test_shifted_frames_are_those_of_roll(distance):
    features = torch.randn(2 * 5, 8, 4, 6, dtype=torch.float64, requires_grad=True)
    series = features.view(2, 5, 8, 4, 6)
    parts = series[:, :, :2].roll(distance, 1), series[:, :, 2:4].roll(-distance, 1), series[:, :, 4:]
    assert torch.equal(shift_frames(features, 5, distance), torch.cat(parts, 2).flatten(0, 1))
    assert torch.autograd.gradcheck(lambda x: shift_frames(x, 5, distance, rectify=True), (features,))


@pytest.mark.parametrize("matrix", [(8, 6), (9, 7), (1, 1)])
def test_pixel_unshuffling_is_inverted(matrix):
    image, other = (complex_randn(2, 3, *matrix, seed=seed) for seed in (0, 1))
    voxels = unshuffle_pixels([image, other])
    assert voxels.shape == (6, 16, -(-matrix[0] // 2), -(-matrix[1] // 2))
    assert voxels.is_contiguous(memory_format=torch.channels_last)
    own = voxels.unflatten(1, (2, 2, 2, 2))  # rows, columns, images, real and imaginary part
    assert torch.equal(shuffle_pixels(own[:, :, :, 0].flatten(1, 3), image), image)
    assert torch.equal(shuffle_pixels(own[:, :, :, 1].flatten(1, 3), image), other)


def test_one_coil_without_penalty_gets_its_samples_back():
    kspace, encoding = random_case()
    consistency = DataConsistency(2).double()
    consistency.weight.data[0] = -40.0
    image, conditions = complex_randn(1, 5, 9, 7, seed=5), scan_conditions(kspace, encoding)
    solved = image + consistency(encoding.adjoint(kspace), encoding, image, conditions)
    assert relative_error(encoding.forward(solved), kspace) < 1e-12
    missing = fft2c(solved - image) * ~encoding.mask[:, :, 0]
    assert missing.abs().max() < 1e-12


@pytest.mark.parametrize("coils", [1, 3])
def test_data_consistency_solves_the_normal_equations(coils):
    kspace, encoding = random_case(coils=coils)
    consistency = DataConsistency(40).double()
    consistency.weight.data[:] = torch.tensor([-1.0, 0.3, 0.2, -0.4])
    image, conditions = complex_randn(1, 5, 9, 7, seed=5), scan_conditions(kspace, encoding)
    solved = image + consistency(encoding.adjoint(kspace), encoding, image, conditions)
    penalty = torch.nn.functional.softplus(conditions @ consistency.weight).view(-1, 1, 1, 1)
    left = encoding.normal(solved) + penalty * solved
    assert relative_error(left, encoding.adjoint(kspace) + penalty * image) < 1e-9


@pytest.mark.parametrize(("shape", "coils"), [((64, 48), 1), ((9, 7), 3), ((2, 1), 1)])
def test_edges_are_all_points_far_from_the_centre_once(shape, coils):
    kspace = complex_randn(2, 3, coils, *shape)
    at_edge = [abs(torch.arange(n) - n // 2) >= EDGE * n for n in shape]
    counts = torch.zeros(shape)
    for edge in edges(*shape):
        counts[edge] += 1
    assert torch.equal(counts, (at_edge[0][:, None] | at_edge[1]).float())
    encoding = Encoding(torch.ones(2, 3, 1, shape[0], 1, dtype=torch.bool), matrix=shape)
    samples = (kspace * counts)[:, :, :1]
    level = (samples.abs().square().sum((1, 2, 3, 4)) / (3 * counts.sum()).clamp(min=1)).sqrt()
    found = scan_conditions(kspace[:, :, :1], encoding)[:, 1]
    torch.testing.assert_close(found, level.clamp(min=1e-4).log10() + 2)


@torch.no_grad()
@pytest.mark.parametrize("coils", [1, 4])
def test_each_cascade_transforms_as_seldom_as_possible(coils, monkeypatch):
    counts = {"normal": 0, "energy": 0, "adjoint": 0}

    def count(name, function):
        def counted(*arguments):
            counts[name] += 1
            return function(*arguments)

        monkeypatch.setattr(Encoding, name, counted)

    for name in counts:
        count(name, getattr(Encoding, name))
    kspace, encoding = random_case(coils=coils)
    net = StVarNet(SMALL).double()
    net(kspace, encoding, zerofilled=encoding.adjoint(kspace))
    steps = net.config.n_cascades + 1
    several = steps * (coils > 1)
    assert counts == {"normal": steps + several * (net.config.n_cg_steps - 1), "energy": several, "adjoint": 1}


@torch.no_grad()
def test_blocks_are_shifted_in_every_second_iteration():
    first, second = (LowRankBlocks(NUCLEAR, 4, index).double() for index in (0, 1))
    image = complex_randn(1, 5, 9, 7)
    assert torch.equal(first(image, torch.ones(1, 4).double())[0], shrink_patches(image[0], make_rule(NUCLEAR), 4))
    shifted = shrink_patches(image[0], make_rule(NUCLEAR), 4, (2, 2))
    assert torch.equal(second(image, torch.ones(1, 4).double())[0], shifted)


def test_a_frame_without_samples_is_reconstructed():
    kspace, encoding = random_case(coils=2)
    mask = encoding.mask.clone()
    mask[:, 1] = False
    encoding = Encoding(mask, encoding.csm, matrix=(9, 7), dtype=torch.complex128)
    net = StVarNet(SMALL).double()
    image = net(kspace * mask, encoding)
    image.abs().sum().backward()
    assert image.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("coils", [1, 4])
@pytest.mark.parametrize("lines", [None, 0.25])
def test_the_noise_level_is_that_of_the_samples_at_the_edge(coils, lines):
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(2, 6, 1, 64, 1 if lines else 48, generator=generator) < (lines or 0.125)
    encoding = Encoding(mask, None if coils == 1 else torch.ones(2, coils, 64, 48) + 0j, matrix=(64, 48))
    levels = torch.tensor([0.01, 0.1])
    noise = levels.view(-1, 1, 1, 1, 1) * complex_randn(2, 6, coils, 64, 48, dtype=torch.complex64)
    power = noise.abs().square().mean((1, 2, 3, 4)).sqrt()
    noise[..., 20:44, 12:36] += 5.0  # the centre, where the image is
    one, level, acceleration, several = scan_conditions(noise * mask, encoding).unbind(-1)
    assert torch.equal(one, torch.ones(2))
    torch.testing.assert_close(10 ** (level - 2), power, rtol=0.1, atol=0)
    torch.testing.assert_close(acceleration, -mask.float().mean((1, 2, 3, 4)).log2() - 3)
    assert (several == float(coils > 1)).all()


@pytest.mark.parametrize("frames", [1, 2, 6])
def test_first_and_last_frame_are_adjacent(frames):
    net = StVarNet(SMALL).double()
    kspace, encoding = random_case(frames=frames)
    turned = Encoding(encoding.mask.roll(1, 1), matrix=(9, 7), dtype=torch.complex128)
    assert relative_error(net(kspace.roll(1, 1), turned), net(kspace, encoding).roll(1, 1)) < 1e-10


@pytest.mark.parametrize("config", [SMALL, PLAIN, WHOLE])
@pytest.mark.parametrize(("coils", "frames"), [(1, 5), (3, 5), (1, 1)])
def test_batched_equals_looped(config, coils, frames):
    assert_batched_equals_looped(StVarNet(config), coils, frames)


def test_starts_from_the_zero_filled_image():
    assert_starts_from_zero_filled(StVarNet(SMALL))


@pytest.mark.parametrize("config", [SMALL, PLAIN, WHOLE])
def test_learns_everywhere(config):
    assert_learns_everywhere(StVarNet(config))


def test_checkpointing_changes_nothing():
    checkpointing = StVarNet(SMALL.model_copy(update={"checkpointing": True}))
    assert_checkpointing_changes_nothing(StVarNet(SMALL), checkpointing)


def test_features_pass_from_cascade_to_cascade_if_set():
    nets = [StVarNet(SMALL.model_copy(update={"carries_features": carries})) for carries in (True, False)]
    nets[1].load_state_dict(nets[0].state_dict())
    kspace, encoding = random_case()
    images = [net.double()(kspace, encoding, extras=True)[1]["images"] for net in nets]
    assert torch.equal(images[0][0], images[1][0])
    assert relative_error(images[0][1], images[1][1]) > 1e-3


def test_number_of_parameters():
    c = 64
    block = 2 * (9 * c * c + c)
    consistency, blocks = 4, 5  # linear in the conditions; a level and its gain
    cascade = consistency + blocks + 1 + (9 * 24 * c + c) + 4 * c + 2 * block + (9 * c * 8 + 8)
    assert count_parameters(StVarNet()) == 3 * cascade + consistency
