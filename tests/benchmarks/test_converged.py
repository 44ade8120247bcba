"""`ktslr` and the released algorithm minimise the same cost and reach the same image."""

import pytest
import torch
from converged import SAME_COST, fixed_penalty_settings, methods
from helpers import relative_error

from cinerecon.methods.base import make_encoding, view_shared_image
from cinerecon.methods.classical.config import KtSlrConfig
from cinerecon.methods.classical.penalties import difference
from cinerecon.methods.table import load_method


def cost(data, image, config):
    """1/2 ||A u - y||^2 + (mu / p) sum s^p + tau sum sqrt((w_t |D_t u|)^2 + |D_y u|^2 + |D_x u|^2), at a peak of 1."""
    scale = view_shared_image(data).abs().max()
    u, kspace = image / scale, data.kspace / scale
    misfit = (make_encoding(data).forward(u) - kspace).abs().square().sum() / 2
    values = torch.linalg.svdvals(u.flatten(1))
    powers = values[values > 1e-3 * values[0]] ** config.p  # lower ones vanish at the limit, yet s^0.1 would not
    factors = (config.temporal_weight, config.spatial_weight, config.spatial_weight)
    gradient = torch.stack([w * difference(u, axis, torch.empty_like(u)) for axis, w in enumerate(factors)])
    length = torch.linalg.vector_norm(gradient, dim=0).sum()
    return float(misfit + config.weight_lowrank / config.p * powers.sum() + config.weight_sparse * length)


@pytest.mark.slow
@pytest.mark.parametrize(("n_coils", "p"), [(1, 0.1), (4, 0.1), (1, 1.0)])
def test_both_reach_the_same_image_and_cost(make_cine, n_coils, p):
    data, config = make_cine(n_coils, n_frames=6, matrix=(20, 18), dtype=torch.complex128), KtSlrConfig(p=p)
    gaps = []
    for converged_change in (1e-2, 3e-4):
        stop = f"tolerance={converged_change / 10:g}"
        ours = load_method("ktslr", [*SAME_COST, stop, f"p={p}"])(data)
        released = load_method("ktslr-reference", fixed_penalty_settings(config, converged_change))(data)
        gaps.append(relative_error(ours, released))
    assert gaps[1] < 2e-3
    assert gaps[1] < gaps[0] / 3
    assert cost(data, ours, config) == pytest.approx(cost(data, released, config), rel=1e-3)


def test_settings_of_the_compared_methods_are_valid():
    for name, settings in methods().values():
        assert load_method(name, settings).config
