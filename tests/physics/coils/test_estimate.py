import torch
from helpers import complex_randn, relative_error

from cinerecon.physics.coils import estimate_csm, time_average


def test_time_average_divides_by_the_times_sampled():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.bool)[:, None, :, None]
    kspace = complex_randn(2, 4, 3, 5) * mask
    average = time_average(kspace, mask)
    assert relative_error(average[:, 0], kspace[:, :, 0].mean(0)) < 1e-12
    assert torch.equal(average[:, 1], kspace[0, :, 1])
    assert torch.equal(average[:, 2], torch.zeros(4, 5, dtype=kspace.dtype))


def test_one_coil_needs_no_maps():
    assert estimate_csm(complex_randn(3, 1, 8, 8), torch.ones(3, 1, 8, 1, dtype=torch.bool)) is None
