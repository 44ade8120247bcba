"""A scan sampled again: each slice by a pattern of its own, and of what was measured alone."""

from dataclasses import replace

import torch

from cinerecon.acquisition.undersample import seed_of, undersample


def test_each_slice_has_a_pattern_of_its_own(make_cine):
    data = make_cine(per_frame=None)
    slices = [replace(data, meta=replace(data.meta, slice=number)) for number in range(3)]
    assert len({seed_of(one, 0) for one in slices}) == 3
    assert seed_of(data, 0) != seed_of(data, 1)


def test_lines_that_were_left_out_stay_out(make_cine):
    data = make_cine(per_frame=None)
    mask = data.mask.clone()
    mask[:, :, :4] = False
    partial = replace(data, mask=mask, kspace=data.kspace * mask)
    again = undersample(partial, "full")
    assert torch.equal(again.mask, mask)
    assert torch.equal(again.kspace, partial.kspace)
