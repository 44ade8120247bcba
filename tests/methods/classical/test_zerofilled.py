"""Zero filling is the adjoint of the encoding."""

from dataclasses import replace

import torch
from helpers import relative_error

from cinerecon.methods.classical.zerofilled import ZeroFilled
from cinerecon.physics.fourier import ifft2c


def test_one_coil_is_the_inverse_transform_of_the_sampled_points(make_cine):
    data = make_cine(n_coils=1)
    assert relative_error(ZeroFilled()(data), ifft2c(data.kspace).squeeze(-3)) < 1e-6


def test_several_coils_are_combined_by_their_maps(make_cine):
    data = make_cine(n_coils=3)
    expected = (ifft2c(data.kspace) * data.csm.conj()).sum(-3)
    assert relative_error(ZeroFilled()(data), expected) < 1e-6


def test_samples_outside_the_mask_are_ignored(make_cine):
    data = make_cine()
    dirty = replace(data, kspace=torch.where(data.mask, data.kspace, 1.0))
    assert relative_error(ZeroFilled()(dirty), ZeroFilled()(data)) < 1e-7
