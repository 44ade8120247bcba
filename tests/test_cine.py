"""A part of a cine is a cine of its own."""

from dataclasses import replace

import pytest
import torch

from cinerecon.cine import keep_frames
from cinerecon.cine_meta import CineMeta


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
