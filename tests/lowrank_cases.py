"""Matrices with given singular values, shrinkage rules, and shrinkage by the singular value decomposition."""

import torch
from helpers import complex_randn

from cinerecon.networks.lowrank_module import PositionAware
from cinerecon.physics.lowrank import (
    AbsoluteSoft,
    AdaptiveTraceNorm,
    NuclearMinusFrobenius,
    OptimalShrinkage,
    RelativeSoft,
    Schatten,
    Spectrum,
    TopKHard,
    TopKSoft,
)


def matrix_of(*values, columns=9, seed=0):
    """A complex matrix ``(len(values), columns)`` with the given singular values."""
    left = torch.linalg.qr(complex_randn(len(values), len(values), seed=seed)).Q
    right = torch.linalg.qr(complex_randn(columns, len(values), seed=seed + 1)).Q
    return (left * torch.tensor(values, dtype=torch.float64)) @ right.mH


def decaying(*shape, power=1.5, seed=0, dtype=torch.complex128):
    """Matrices whose singular values decrease like those of images: s_i = i^-power."""
    noise = complex_randn(*shape, seed=seed)
    u, s, vh = torch.linalg.svd(noise, full_matrices=False)
    decay = torch.arange(1, s.shape[-1] + 1, dtype=s.dtype) ** -power
    return ((u * decay) @ vh).to(dtype)


def position_aware(n_channels=4, strength=0.001, **settings):
    """PASS with thresholds above zero, of the size of the smaller singular values of the cases."""
    torch.manual_seed(0)
    rule = PositionAware(n_channels, **{"tie_width": 1e-9, **settings}).double()
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.copy_(torch.rand_like(parameter))
        rule.mix.weight.mul_(strength)
    return rule.requires_grad_(False)


RULES = {
    "topk_hard": TopKHard(2),
    "topk_soft": TopKSoft(torch.tensor(2.3, dtype=torch.float64)),
    "relative_soft": RelativeSoft(torch.tensor(-1.0, dtype=torch.float64)),
    "absolute_soft": AbsoluteSoft(0.7),
    "schatten": Schatten(0.6, 0.4),
    "nuclear_minus_frobenius": NuclearMinusFrobenius(0.7),
    "optimal": OptimalShrinkage(),
    "adaptive_trace": AdaptiveTraceNorm(),
    "pass": position_aware(),
}
SCALE_FREE = ("topk_hard", "topk_soft", "relative_soft", "optimal", "adaptive_trace")


def by_svd(matrix, rule, n_sibling_axes=0):
    """U w(S) S V^H."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    spectrum = Spectrum(s, tuple(matrix.shape[-2:]), matrix.is_complex(), n_sibling_axes)
    return (u * (rule.share(s, *rule.measure(spectrum)) * s).unsqueeze(-2)) @ vh
