import pytest
import torch
from helpers import relative_error

from cinerecon.networks import bfloat16
from cinerecon.networks.blocks import Conv3d


@pytest.mark.parametrize(("n_in", "n_out", "size"), [(3, 5, (4, 6, 7)), (2, 2, (1, 1, 1)), (8, 16, (5, 9, 4))])
def test_the_weight_gradient_by_products_is_that_of_autograd(n_in, n_out, size):
    features, grad = (torch.randn(2, n, *size, dtype=torch.float64) for n in (n_in, n_out))
    weight = torch.zeros(n_out, n_in, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.conv3d(features, weight, padding=1).backward(grad)
    assert relative_error(bfloat16.by_products(features, grad), weight.grad) < 1e-12


@pytest.mark.parametrize(("n_in", "n_out"), [(16, 16), (8, 24)])
def test_the_chosen_weight_gradient_is_right(n_in, n_out):
    features, grad = (torch.randn(1, n, 5, 17, 12).bfloat16() for n in (n_in, n_out))
    expected = bfloat16.by_float32(features, grad)
    assert relative_error(bfloat16.fastest_weight_gradient(n_in, n_out)(features, grad), expected) < 0.01


def test_a_wrong_algorithm_is_never_chosen(monkeypatch):
    monkeypatch.setattr(bfloat16, "by_library", lambda features, grad: 1.1 * bfloat16.by_float32(features, grad))
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    bfloat16.fastest_weight_gradient.cache_clear()
    try:
        assert bfloat16.fastest_weight_gradient(4, 4) in (bfloat16.by_products, bfloat16.by_float32)
    finally:
        bfloat16.fastest_weight_gradient.cache_clear()


def test_convolutions_in_bfloat16_have_the_gradients_of_single_precision():
    net, features = Conv3d(8, 8, bias=True), torch.randn(2, 8, 4, 10, 9, requires_grad=True)
    grad = torch.randn(2, 8, 4, 10, 9)
    results = []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            output = net(features)
        assert output.dtype == (torch.bfloat16 if half else torch.float32)
        results.append((output, *torch.autograd.grad(output, [features, net.weight, net.bias], grad.to(output.dtype))))
    for single, half in zip(*results, strict=True):
        assert 0 < relative_error(half.detach().float(), single.detach()) < 0.01
