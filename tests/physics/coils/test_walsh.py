import pytest
import torch
from coil_phantom import agreement, smooth_coils
from helpers import complex_randn, relative_error

from cinerecon.physics.coils import walsh
from cinerecon.physics.fourier import fft2c, ifft2c


def test_maps_of_a_smooth_object_are_found():
    csm, image = smooth_coils(6, 40, 37)
    assert float(agreement(walsh(csm * image, window=5), csm)[image.abs() > 0].quantile(0.01)) > 0.998


def test_unit_norm_everywhere():
    maps = walsh(complex_randn(2, 5, 20, 17))
    assert float((maps.norm(dim=-3) - 1).abs().max()) < 1e-12


def test_phase_of_the_object_and_scale_do_not_matter():
    csm, image = smooth_coils(6, 40, 37)
    turned = image * torch.polar(torch.full(image.shape, 1e-6, dtype=torch.float64), image.real * 3)
    maps, turned_maps = walsh(csm * image), walsh(csm * turned)
    assert relative_error(turned_maps, maps) < 1e-9


def test_batched_equals_looped():
    images = complex_randn(2, 3, 4, 15, 16)
    looped = torch.stack([torch.stack([walsh(one) for one in row]) for row in images])
    assert relative_error(walsh(images), looped) < 1e-9


def test_agrees_with_bart(bart):
    phantom, expected = bart("phantom64"), torch.from_numpy(bart("walsh_r24_ecaltwo")["maps"][0])
    images = ifft2c(torch.from_numpy(phantom["kspace"]))
    kspace = torch.zeros_like(images)
    kspace[:, 20:44, 20:44] = fft2c(images)[:, 20:44, 20:44]
    rss = torch.from_numpy(phantom["rss"]).abs()
    found = agreement(walsh(ifft2c(kspace), window=20), expected)
    assert float(found[rss > 0.1 * rss.max()].quantile(0.01)) > 0.999


def test_coils_that_see_nothing_of_each_other_keep_their_signal():
    """Where the strongest combination has no signal, the phase is arbitrary, but the map is not zero."""
    images = torch.zeros(3, 32, 32, dtype=torch.complex128)
    images[0, :, :10], images[1, :, 22:] = 2, 1
    assert float(walsh(images).norm(dim=-3).min()) > 0.999


@pytest.mark.parametrize("matrix", [(1, 1), (2, 2), (1, 9), (3, 2)])
def test_maps_of_the_smallest_images_have_unit_norm(matrix):
    maps = walsh(complex_randn(3, *matrix))
    assert maps.shape == (3, *matrix)
    assert float((maps.norm(dim=-3) - 1).abs().max()) < 1e-12
