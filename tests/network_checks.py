"""Checks of properties of all unrolled networks, on small random cases."""

import torch
from helpers import complex_randn, relative_error
from torch import Tensor, nn

from cinerecon.networks.lowrank_module import PositionAware
from cinerecon.physics.operators import Encoding


def random_case(
    batch: int = 1, frames: int = 5, coils: int = 1, matrix: tuple[int, int] = (9, 7), seed: int = 0
) -> tuple[Tensor, Encoding]:
    """Undersampled noise in double precision: k-space and encoding, one coil without a map."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(batch, frames, 1, matrix[0], 1, generator=generator) < 0.5
    csm = complex_randn(batch, coils, *matrix, seed=seed + 1)
    csm = csm / csm.abs().square().sum(1, keepdim=True).sqrt() if coils > 1 else None
    encoding = Encoding(mask, csm, matrix=matrix, dtype=torch.complex128)
    return encoding.forward(complex_randn(batch, frames, *matrix, seed=seed + 2)), encoding


def item(encoding: Encoding, n: int) -> Encoding:
    """The encoding of one item of a batch, with its batch axis."""
    csm = None if encoding.csm is None else encoding.csm[n : n + 1]
    return Encoding(encoding.mask[n : n + 1], csm, matrix=encoding.matrix, dtype=torch.complex128)


@torch.no_grad()
def set_thresholds(net: nn.Module) -> nn.Module:
    """Give PASS thresholds above zero: its last convolution is initialised with zeros, which makes it the identity."""
    for module in net.modules():
        if isinstance(module, PositionAware):
            nn.init.normal_(module.mix.weight, std=0.1)
    return net


@torch.no_grad()
def assert_batched_equals_looped(net: nn.Module, coils: int, frames: int = 5) -> None:
    """Two cines of odd size in a batch give the same images as one after the other; the input is not modified."""
    net = net.double()
    kspace, encoding = random_case(2, frames, coils)
    before = kspace.clone()
    batched = net(kspace, encoding)
    assert torch.equal(kspace, before)
    for n in range(2):
        assert relative_error(batched[n : n + 1], net(kspace[n : n + 1], item(encoding, n))) < 1e-10


@torch.no_grad()
def assert_scale_equivariant(net: nn.Module) -> None:
    """Data multiplied by ten give an image multiplied by ten."""
    net = net.double()
    kspace, encoding = random_case(coils=2)
    image = net(kspace, encoding)
    assert relative_error(net(10 * kspace, encoding), 10 * image) < 1e-10


@torch.no_grad()
def assert_starts_from_zero_filled(net: nn.Module) -> None:
    """The network starts from the zero-filled image by default."""
    net = net.double()
    kspace, encoding = random_case()
    start = encoding.adjoint(kspace)
    image = net(kspace, encoding)
    assert torch.equal(net(kspace, encoding, start=start), image)
    other = start + complex_randn(*start.shape, seed=9)
    assert relative_error(net(kspace, encoding, start=other), image) > 1e-3


def gradients(net: nn.Module, coils: int = 2) -> dict[str, Tensor]:
    """Gradients of the energy of the image, for an initial image that is not the zero-filled one."""
    net = net.double()
    net.zero_grad()
    kspace, encoding = random_case(coils=coils)
    start = encoding.adjoint(kspace) + 0.1 * complex_randn(1, 5, 9, 7, seed=9)
    net(kspace, encoding, start=start).abs().square().sum().backward()
    return {name: p.grad.clone() for name, p in net.named_parameters() if p.requires_grad}


def assert_learns_everywhere(net: nn.Module) -> None:
    """All learned tensors have finite gradients that are not zero."""
    for name, gradient in gradients(net).items():
        assert torch.isfinite(gradient).all(), name
        assert gradient.abs().max() > 0, name


def assert_checkpointing_changes_nothing(plain: nn.Module, checkpointing: nn.Module) -> None:
    """Image and gradients are the same with and without gradient checkpointing."""
    checkpointing.load_state_dict(plain.state_dict())
    kspace, encoding = random_case()
    assert torch.equal(plain.double()(kspace, encoding), checkpointing.double()(kspace, encoding))
    expected = gradients(plain)
    for name, gradient in gradients(checkpointing).items():
        assert (gradient - expected[name]).norm() <= 1e-9 * expected[name].norm(), name
