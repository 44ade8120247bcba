import torch
from helpers import complex_randn, relative_error

from cinerecon.methods.base import share_views
from cinerecon.physics.sampling import parse_mask


def test_view_share_keeps_samples_and_interpolates_in_time():
    kspace = complex_randn(7, 2, 6, 5)
    mask = torch.from_numpy(parse_mask("kt-equispaced:3").draw(7, 6, 5, seed=0))
    sampled = kspace * mask
    filled = share_views(sampled, mask)
    assert relative_error(filled * mask, sampled) < 1e-12
    assert (filled.abs().sum((-1, -3)) > 0).all()
    line = int(mask[0, 0, :, 0].nonzero()[0])  # sampled in frames 0 and 3
    expected = kspace[0, :, line] * 2 / 3 + kspace[3, :, line] / 3
    assert relative_error(filled[1, :, line], expected) < 1e-12


def test_view_share_of_a_still_object_is_the_object():
    frame = complex_randn(1, 2, 6, 5).expand(8, -1, -1, -1)
    mask = torch.from_numpy(parse_mask("kt-equispaced:4").draw(8, 6, 5, seed=0))
    assert relative_error(share_views(frame * mask, mask), frame) < 1e-12
