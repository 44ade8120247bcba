import pytest
import torch
from helpers import assert_adjoint, complex_randn, relative_error

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
