import pytest
import torch
from helpers import assert_adjoint, complex_randn, relative_error

from cinerecon.errors import ShapeError
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.operators import Encoding

GENERATOR = torch.Generator().manual_seed(1)


def _case(matrix, coils, readout, batch=()):
    mask = torch.rand(*batch, 5, 1, matrix[0], readout, generator=GENERATOR) < 0.4
    csm = complex_randn(*batch, coils, *matrix) if coils else None
    return Encoding(mask, csm, matrix=matrix, dtype=torch.complex128)


@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("coils", [0, 1, 3])
@pytest.mark.parametrize(("matrix", "readout"), [((12, 10), 1), ((12, 10), 10), ((11, 9), 1), ((11, 9), 9)])
def test_adjoint_and_normal(matrix, readout, coils, batch):
    encoding = _case(matrix, coils, readout, batch)
    x = complex_randn(*batch, 5, *matrix, seed=2)
    y = complex_randn(*batch, 5, max(coils, 1), *matrix, seed=3)
    assert_adjoint(encoding, x, y)


def test_forward_is_mask_times_transform_times_maps():
    encoding = _case((11, 10), 3, 10)
    x = complex_randn(5, 11, 10)
    expected = encoding.mask * fft2c(x[:, None] * encoding.csm)
    assert relative_error(encoding.forward(x), expected) < 1e-12


def test_full_sampling_with_normalised_maps_is_the_identity():
    csm = complex_randn(4, 8, 9)
    csm = csm / csm.abs().square().sum(0).sqrt()
    encoding = Encoding(torch.ones(3, 1, 8, 1, dtype=torch.bool), csm)
    x = complex_randn(3, 8, 9)
    assert relative_error(encoding.normal(x), x) < 1e-12


def test_single_precision_stays_single():
    encoding = Encoding(torch.ones(2, 1, 6, 1, dtype=torch.bool), matrix=(6, 5))
    x = complex_randn(2, 6, 5, dtype=torch.complex64)
    assert encoding.adjoint(encoding.forward(x)).dtype == torch.complex64


@pytest.mark.parametrize("coils_at_once", [1, 2, 3, 7])
@pytest.mark.parametrize("readout", [1, 9])
def test_coils_in_chunks_are_the_same_operator(readout, coils_at_once):
    whole = _case((11, 9), 5, readout, (2,))
    chunked = Encoding(whole.mask, whole.csm, coils_at_once=coils_at_once)
    x, y = complex_randn(2, 5, 11, 9, seed=2), complex_randn(2, 5, 5, 11, 9, seed=3)
    assert_adjoint(chunked, x, y)
    assert relative_error(chunked.forward(x), whole.forward(x)) < 1e-12
    assert relative_error(chunked.adjoint(y), whole.adjoint(y)) < 1e-12
    assert relative_error(chunked.normal(x), whole.normal(x)) < 1e-12
    assert chunked.to("cpu").coils_at_once == coils_at_once


@pytest.mark.parametrize("coils_at_once", [None, 1])
def test_input_is_left_as_it_was_and_gradients_are_those_of_the_matrix(coils_at_once):
    case = _case((4, 3), 2, 3)
    encoding = Encoding(case.mask, case.csm, coils_at_once=coils_at_once)
    x, y = complex_randn(5, 4, 3, seed=2), complex_randn(5, 2, 4, 3, seed=3)
    before = x.clone(), y.clone()
    for operator, argument in ((encoding.forward, x), (encoding.adjoint, y), (encoding.normal, x)):
        assert torch.autograd.gradcheck(operator, (argument.clone().requires_grad_(),))
        operator(argument)
    assert torch.equal(x, before[0])
    assert torch.equal(y, before[1])


def test_sum_of_squares_of_the_maps():
    encoding = _case((4, 3), 2, 3)
    assert relative_error(encoding.sum_of_squares, encoding.csm.abs().square().sum(0)) < 1e-12
    assert _case((4, 3), 0, 3).sum_of_squares is None


def test_the_image_size_must_be_given_where_nothing_determines_it():
    with pytest.raises(ShapeError, match="image size"):
        Encoding(torch.ones(2, 1, 8, 1, dtype=torch.bool))


def test_the_sum_of_squares_of_inference_mode_allows_gradients_later():
    encoding = _case((6, 5), 2, 5)
    with torch.inference_mode():
        assert encoding.sum_of_squares is not None
    x = complex_randn(5, 6, 5).requires_grad_()
    (x * encoding.sum_of_squares).abs().sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("coils_at_once", [1, 2, None])
@pytest.mark.parametrize("coils", [0, 3])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_normal_by_frames_in_cache_is_that_of_all_frames(batch, coils, coils_at_once, monkeypatch):
    size = (*batch, 5, 1, 11, 10)
    csm = complex_randn(*batch, coils, 11, 10) if coils else None
    encoding = Encoding(
        torch.rand(size) < 0.4, csm, matrix=(11, 10), dtype=torch.complex128, coils_at_once=coils_at_once
    )
    x = complex_randn(*batch, 5, 11, 10)
    expected = encoding.adjoint(encoding.forward(x))
    with torch.no_grad():
        assert relative_error(encoding.normal(x), expected) < 1e-12
        monkeypatch.setattr("cinerecon.physics.operators.SAMPLES_IN_CACHE", 2 * 11 * 10)
        assert relative_error(encoding.normal(x), expected) < 1e-12


@pytest.mark.parametrize("coils_at_once", [1, None])
@pytest.mark.parametrize("coils", [0, 3])
@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize(("matrix", "readout"), [((11, 10), 1), ((11, 10), 10)])
def test_energy_is_that_of_the_samples_of_each_frame(matrix, readout, batch, coils, coils_at_once, monkeypatch):
    whole = _case(matrix, coils, readout, batch)
    encoding = Encoding(
        whole.mask, whole.csm, matrix=matrix, dtype=torch.complex128, coils_at_once=coils_at_once if coils else None
    )
    x = complex_randn(*batch, 5, *matrix)
    expected = encoding.forward(x).abs().square().sum((-3, -2, -1))[..., None, None]
    assert relative_error(encoding.energy(x), expected) < 1e-12
    monkeypatch.setattr("cinerecon.physics.operators.SAMPLES_IN_CACHE", 2 * 11 * 10)
    with torch.no_grad():
        assert relative_error(encoding.energy(x), expected) < 1e-12


def test_energy_of_one_mask_for_all_frames(monkeypatch):
    monkeypatch.setattr("cinerecon.physics.operators.SAMPLES_IN_CACHE", 11 * 10)
    encoding, x = _case((11, 10), 2, 1), complex_randn(5, 11, 10)
    same = Encoding(encoding.mask[:1], encoding.csm)
    with torch.no_grad():
        assert relative_error(same.energy(x), same.forward(x).abs().square().sum((1, 2, 3))[:, None, None]) < 1e-12


@pytest.mark.parametrize("coils", [0, 2])
def test_a_few_frames_at_a_time_are_the_same_operator(coils):
    encoding = _case((11, 10), coils, 10)
    x = complex_randn(5, 11, 10)
    parts = encoding.split(2)
    assert [len(part.mask) for part in parts] == [2, 2, 1]
    found = torch.cat([part.normal(some) for part, some in zip(parts, x.split(2), strict=True)])
    assert relative_error(found, encoding.normal(x)) < 1e-12
    assert all(part.csm is encoding.csm for part in parts)


def test_relative_residual_is_that_of_double_precision():
    mask = torch.rand(4, 1, 24, 1) < 0.5
    csm, image, noise = complex_randn(3, 24, 20), complex_randn(4, 24, 20), complex_randn(4, 3, 24, 20)
    encoding = Encoding(mask, csm)
    measured = encoding.forward(image) + 0.1 * mask * noise
    misfit = (encoding.forward(image) - measured).to(torch.complex128)
    expected = torch.linalg.vector_norm(misfit) / torch.linalg.vector_norm(measured.to(torch.complex128))
    assert encoding.relative_residual(image, measured) == pytest.approx(float(expected), rel=1e-5)
    assert encoding.relative_residual(image, torch.zeros_like(measured)) == 0.0


MASK, MAPS, IMAGE = torch.ones(5, 1, 6, 1, dtype=torch.bool), torch.ones(3, 6, 4) + 0j, torch.ones(5, 6, 4) + 0j


@pytest.mark.parametrize(
    ("mask", "csm", "options", "what"),
    [
        (MASK.float(), MAPS, {}, "mask is torch.float32, expected torch.bool"),  # weights: not self-adjoint
        (MASK[:, 0], MAPS, {}, r"mask has 3 axes, expected at least \(frames, 1, ky, kx\)"),
        (MASK.expand(5, 3, 6, 1), MAPS, {}, "axis 1 of mask has size 3, expected 1"),
        (MASK[:, :, :5], MAPS, {}, "axis ky of mask has size 5, expected 6"),
        (MASK.expand(5, 1, 6, 3), MAPS, {}, "axis kx of mask has size 3, expected 1 or 4"),
        (MASK, MAPS[0], {}, "csm has 2 axes"),
        (MASK, MAPS, {"matrix": (6, 5)}, "axis x of csm has size 4, expected 5"),
        (MASK, MAPS, {"coils_at_once": 0}, "coils_at_once is 0, expected at least 1"),
        (MASK.tolist(), "maps", {}, "expected an array of numbers"),
    ],
)
def test_mask_and_maps_that_do_not_fit_are_named(mask, csm, options, what):
    with pytest.raises(ShapeError, match=what):
        Encoding(mask, csm, **options)


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (IMAGE[:4], "axis frames of image has size 4, expected 5"),
        (IMAGE[:1], "axis frames of image has size 1, expected 5"),
        (IMAGE[0], "image has 2 axes"),
        (IMAGE[:, :5], "axis y of image has size 5, expected 6"),
        (IMAGE[..., :1], "axis x of image has size 1, expected 4"),
        (IMAGE.expand(4, 5, 6, 4), r"image has batch axes \(4,\), but those of the operator are \(2,\)"),
        (IMAGE.numpy(), "image is of type ndarray, expected a tensor"),
    ],
)
def test_arguments_of_the_operator_that_do_not_fit_are_named(image, what):
    encoding = Encoding(MASK.expand(2, 5, 1, 6, 1), MAPS)
    for apply in (encoding.forward, encoding.normal):
        with pytest.raises(ShapeError, match=what):
            apply(image)


def test_kspace_that_does_not_fit_the_operator_is_named():
    encoding = Encoding(MASK, MAPS)
    kspace = encoding.forward(IMAGE)
    for wrong, what in (
        (kspace[:, :1], "axis coils of kspace has size 1, expected 3"),
        (kspace.transpose(0, 1), "axis frames of kspace has size 3, expected 5"),
    ):
        with pytest.raises(ShapeError, match=what):
            encoding.adjoint(wrong)


@pytest.mark.parametrize("batch_of", ["mask", "csm", "argument", "all"])
def test_batch_axes_are_broadcast(batch_of):
    masks, maps = torch.rand(2, 5, 1, 6, 1, generator=GENERATOR) < 0.5, complex_randn(2, 3, 6, 4)
    x, y = complex_randn(2, 5, 6, 4, seed=2), complex_randn(2, 5, 3, 6, 4, seed=3)
    masks = masks if batch_of in ("mask", "all") else masks[0]
    maps = maps if batch_of in ("csm", "all") else maps[0]
    encoding = Encoding(masks, maps)
    for n in range(2):
        single = Encoding(masks[n] if masks.ndim == 5 else masks, maps[n] if maps.ndim == 4 else maps)
        assert relative_error(encoding.forward(x)[n], single.forward(x[n])) < 1e-12
        assert relative_error(encoding.adjoint(y)[n], single.adjoint(y[n])) < 1e-12
        assert relative_error(encoding.normal(x)[n], single.normal(x[n])) < 1e-12
