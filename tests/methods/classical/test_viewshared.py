import torch
from helpers import relative_error

from cinerecon.cine import CineData
from cinerecon.methods.table import load_method
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling.view_sharing import share_views


def test_it_is_the_image_of_view_shared_kspace(make_cine):
    data = make_cine(n_coils=3)
    shared = CineData(share_views(data.kspace, data.mask), torch.ones_like(data.mask), data.csm)
    assert relative_error(load_method("viewshared")(data), load_method("zerofilled")(shared)) < 1e-6


def test_a_still_image_is_recovered(make_cine):
    data = make_cine(n_coils=1, n_frames=12)
    still = data.reference[:1].expand_as(data.reference)
    everywhere_once = (torch.arange(still.shape[-2]) % 4 == torch.arange(12)[:, None] % 4).view(12, 1, -1, 1)
    kspace = fft2c(still).unsqueeze(1) * everywhere_once
    assert relative_error(load_method("viewshared")(CineData(kspace, everywhere_once)), still) < 1e-5
