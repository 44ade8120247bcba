"""A part of a cine is a cine of its own, and arrays that do not fit together are refused."""

from dataclasses import replace

import pytest
import torch

from cinerecon.cine import CineData, keep_frames
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import ShapeError


@pytest.mark.parametrize(("frames", "times"), [(slice(2, 4), (0.0, 50.0)), (slice(0, 8), None), (slice(7, 8), (0.0,))])
def test_kept_frames_begin_their_own_time(make_cine, frames, times):
    whole = tuple(40.0 * n + 10.0 * (n > 2) for n in range(8))
    data = replace(make_cine(), meta=CineMeta(frame_times_ms=whole, is_one_beat=True))
    kept = keep_frames(data, frames)
    assert torch.equal(kept.kspace, data.kspace[frames])
    assert torch.equal(kept.mask, data.mask[frames])
    assert torch.equal(kept.reference, data.reference[frames])
    assert kept.meta.frame_times_ms == (times or whole)
    assert kept.meta.is_one_beat == (times is None)
    assert keep_frames(replace(data, meta=CineMeta()), frames).meta.frame_times_ms == ()


def test_batch_axes_and_shading_must_fit(make_cine):
    data = make_cine(n_coils=1)
    twice = torch.stack([data.kspace, data.kspace])
    with pytest.raises(ShapeError, match="mask has batch axes"):
        CineData(twice, data.mask)
    with pytest.raises(ShapeError, match="shading has 3 y"):
        replace(data, shading=torch.ones(3, 3))
    assert CineData(twice, torch.stack([data.mask, data.mask])).n_coils == 1
