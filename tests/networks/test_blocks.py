import pytest
import torch
from golden import golden
from helpers import complex_randn, relative_error
from network_checks import random_case
from torch import nn
from torch.nn import functional

from cinerecon import networks
from cinerecon.networks.blocks import (
    Conv2d,
    Conv3d,
    ConvStack,
    NarrowConv2d,
    data_consistency,
    fold_frames,
    initialise_glorot,
    initialise_he,
    soft,
    to_channels,
    to_complex,
    unfold_frames,
)
from cinerecon.networks.priors import SparseBranch
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.operators import Encoding


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("channels", [(2, 16), (16, 2), (4, 4), (16, 16), (8, 12)])
def test_a_convolution_and_its_gradients_are_those_of_torch(channels, batch, frames, bias):
    torch.manual_seed(0)
    fast = Conv3d(*channels, bias=bias)
    plain = nn.Conv3d(*channels, 3, padding=1, bias=bias)
    plain.load_state_dict(fast.state_dict())
    features = torch.randn(batch, channels[0], frames, 7, 6)
    weights = torch.randn(batch, channels[1], frames, 7, 6)
    found = []
    for convolution in (fast, plain):
        x = features.clone().requires_grad_()
        out = convolution(x)
        (out * weights).sum().backward()
        found.append([out.detach(), x.grad, *(p.grad for p in convolution.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert relative_error(ours, theirs) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 2, 5])
@pytest.mark.parametrize("x", [5, 6, 8])
@pytest.mark.parametrize(("n_out", "bias"), [(1, True), (2, False), (5, True)])
def test_few_channels_without_gradients_are_those_of_torch(n_out, bias, x, frames):
    fast, plain = Conv3d(16, n_out, bias=bias), nn.Conv3d(16, n_out, 3, padding=1, bias=bias)
    plain.load_state_dict(fast.state_dict())
    features = torch.randn(2, 16, frames, 7, x)
    assert relative_error(fast(features), plain(features)) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize("x", [5, 6, 8])
@pytest.mark.parametrize("n_out", [1, 2, 4, 8, 9])
def test_a_narrow_convolution_is_that_of_torch(n_out, x):
    narrow, plain = NarrowConv2d(16, n_out), nn.Conv2d(16, n_out, 3, padding=1)
    plain.load_state_dict(narrow.state_dict())
    features = torch.randn(2, 16, 7, x).contiguous(memory_format=torch.channels_last)
    assert relative_error(narrow(features), plain(features)) < 1e-5
    assert narrow(features).is_contiguous(memory_format=torch.channels_last)


@torch.inference_mode()
def test_features_stay_channels_last_and_nothing_is_copied():
    out = to_channels(complex_randn(2, 3, 40, 48, dtype=torch.complex64))
    for layer in ConvStack((2, 8, 8, 2)):
        out = layer(out)
        assert out.is_contiguous(memory_format=torch.channels_last_3d)
    assert to_complex(out).data_ptr() == out.data_ptr()


def test_a_stack_is_its_convolutions_with_activations_between():
    stack = ConvStack((2, 5, 3), slope=0.3, bias=True, final_activation=True).double()
    x = torch.randn(2, 2, 4, 5, 6, dtype=torch.float64)
    first, second = stack.convolutions
    assert isinstance(first, Conv3d)
    hidden = functional.leaky_relu(functional.conv3d(x, first.weight, first.bias, padding=1), 0.3)
    expected = functional.leaky_relu(functional.conv3d(hidden, second.weight, second.bias, padding=1), 0.3)
    assert relative_error(stack(x).detach(), expected.detach()) < 1e-12


def test_a_stack_in_two_dimensions_sees_one_frame_at_a_time():
    stack = ConvStack((2, 4, 2), n_dimensions=2, bias=True)
    x = torch.randn(2, 2, 3, 5, 6)
    assert all(isinstance(convolution, Conv2d) for convolution in stack.convolutions)
    together = stack(x)
    for t in range(3):
        assert relative_error(stack(x[:, :, t : t + 1]).detach(), together[:, :, t : t + 1].detach()) < 1e-6


def test_initialisations():
    torch.manual_seed(0)
    stack = ConvStack((2, 64, 64), bias=True).requires_grad_(False)
    initialise_he(stack)
    first, last = stack.convolutions
    assert float(first.weight.std()) == pytest.approx((2 / 54) ** 0.5, rel=0.05)
    assert float(last.weight.std()) == pytest.approx((2 / (64 * 27)) ** 0.5, rel=0.05)
    assert float(first.bias.abs().max()) == 0
    initialise_glorot(stack)
    assert float(last.weight.abs().max()) == pytest.approx((6 / (128 * 27)) ** 0.5, rel=0.01)


def test_small_output_weights_leave_the_initial_image_nearly_unchanged():
    encoding = Encoding(torch.ones(1, 3, 1, 8, 1, dtype=torch.bool), None, matrix=(8, 6))
    start = complex_randn(1, 3, 8, 6).to(torch.complex64)
    kspace = encoding.forward(start)
    for name in networks.NETWORKS:
        nets = [networks.build(name, n_cascades=1, n_channels=4, output_weight_scale=gain) for gain in (1.0, 1e-4)]
        others = {layer for layer, _ in nets[1].named_parameters() if "lowrank.level" in layer}
        for layer, parameter in nets[1].named_parameters():
            if layer in others:  # what is shrunk is not what the gain is about
                parameter.data.fill_(-20.0)
        assert relative_error(nets[1](kspace, encoding, start=start).detach(), start) < 0.01, name


def test_frames_fold_into_the_batch_and_back():
    features = torch.randn(2, 3, 4, 5, 6)
    folded = fold_frames(features)
    assert torch.equal(folded[1 * 4 + 2], features[1, :, 2])
    assert torch.equal(unfold_frames(folded, 2), features)


def test_channels_are_real_and_imaginary_part():
    image = complex_randn(2, 3, 4, 5)
    assert torch.equal(to_channels(image)[:, 1], image.imag)
    assert torch.equal(to_complex(to_channels(image)), image)


@pytest.mark.parametrize("threshold", [0.3, 0.0, -0.2])
def test_soft_thresholding_with_any_sign_of_the_threshold(threshold):
    z = torch.tensor([-1.0, -0.1, 0.0, 0.1, 0.3, 2.0], dtype=torch.float64)
    expected = z.sign() * (z.abs() - threshold).clamp(min=0)
    assert torch.equal(soft(z, torch.tensor(threshold, dtype=torch.float64)), expected)


@pytest.mark.parametrize("threshold", [0.3, -0.2])
def test_gradient_of_soft_thresholding(threshold):
    z = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    per_channel = torch.full((3, 1), threshold, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft, (z, per_channel))
    assert torch.autograd.gradcheck(soft, (z, torch.tensor(threshold, dtype=torch.float64, requires_grad=True)))


@pytest.mark.parametrize("coils", [1, 3])
def test_data_consistency_returns_the_sampled_data(coils):
    kspace, encoding = random_case(coils=coils)
    image = complex_randn(1, 5, 9, 7, seed=7)
    zerofilled = encoding.adjoint(kspace)
    if coils == 1:  # with several coils a combined image cannot hold what each of them measured
        out = data_consistency(image, zerofilled, encoding)
        assert relative_error(encoding.forward(out), kspace) < 1e-12
    kept = data_consistency(image, encoding.normal(image), encoding)
    assert relative_error(kept, image) < 1e-12  # an image that agrees with the data stays


def test_data_consistency_in_kspace_coil_by_coil():
    kspace, encoding = random_case(coils=3)
    image = complex_randn(1, 5, 9, 7, seed=7)
    csm = encoding.csm[:, None]
    coils = fft2c(image[:, :, None] * csm)
    mixed = torch.where(encoding.mask, (coils + 0.25 * kspace) / 1.25, coils)
    expected = (ifft2c(mixed) * csm.conj()).sum(2)
    found = data_consistency(image, encoding.adjoint(kspace), encoding, inverse_noise_level=0.25)
    assert relative_error(found, expected) < 1e-12


@pytest.mark.parametrize(("name", "noise_level"), [("noiseless", None), ("noisy_v_0p25", 0.25)])
def test_data_consistency_equals_the_authors_program(name, noise_level):
    case = {key: torch.from_numpy(value) for key, value in golden("data_consistency").items()}
    encoding = Encoding(case["mask"].bool().unsqueeze(-3))
    zerofilled = encoding.adjoint(case["k0"].to(torch.complex64).unsqueeze(-3))
    found = data_consistency(ifft2c(case["k"].to(torch.complex64)), zerofilled, encoding, noise_level)
    assert relative_error(fft2c(found), case[name].to(torch.complex64)) < 1e-6


def test_thresholds_are_in_single_precision_among_convolutions_that_are_not():
    branch = SparseBranch(4)
    seen = []
    branch.attention.excite.register_forward_hook(lambda _, inputs, output: seen.append(output.dtype))
    image = torch.randn(1, 3, 8, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        features = branch.analysis(to_channels(image))
        assert features.dtype == torch.bfloat16
        assert branch.attention(features).dtype == torch.float32
        assert soft(features, torch.tensor(0.1, dtype=torch.bfloat16)).dtype == torch.float32
    assert seen == [torch.float32]
