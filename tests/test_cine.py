"""A part of a cine is a cine of its own, and arrays that do not fit together are refused."""

from dataclasses import replace

import pytest
import torch

from cinerecon.cine import CineData, keep_frames
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError, ShapeError


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
    with pytest.raises(ShapeError, match="axis y of shading has size 3"):
        replace(data, shading=torch.ones(3, 3))
    assert CineData(twice, torch.stack([data.mask, data.mask])).n_coils == 1


@pytest.mark.parametrize("readout", ["line", "points"])
def test_signal_outside_of_the_mask_is_refused(make_cine, readout):
    """Methods that share data between frames would use it, and look better than they are."""
    data = make_cine(n_coils=3)
    mask = data.mask if readout == "line" else data.mask.expand(*data.mask.shape[:-1], data.matrix[1]).clone()
    CineData(data.kspace, mask, data.csm)
    first = tuple((~mask).nonzero()[0].tolist())
    kspace = data.kspace.clone()
    kspace[first[0], 1, first[2], first[3]] = 1e-6
    what = "kspace has signal in 1 line" if readout == "line" else "kspace has signal in 1 sample"
    with pytest.raises(DataError, match=f"{what} outside the mask"):
        CineData(kspace, mask, data.csm)
    with pytest.raises(DataError, match=what):
        CineData(torch.stack([data.kspace, kspace]), torch.stack([mask, mask]), torch.stack([data.csm, data.csm]))


@pytest.mark.parametrize("name", ["kspace", "csm", "reference", "shading", "noise_std"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_arrays_that_are_not_finite_are_named(make_cine, name, value):
    data = make_cine(n_coils=3)
    data = replace(data, shading=torch.ones(data.matrix), noise_std=torch.ones(data.n_frames, 1, 1, 1))
    array = getattr(data, name).clone()
    array[(array != 0).nonzero()[0].unbind()] = value
    with pytest.raises(DataError, match=f"{name.replace('kspace', 'k-space')} holds 1 values that are NaN or infinite"):
        replace(data, **{name: array})


def test_values_of_the_largest_scale_are_finite(make_cine):
    data = make_cine(n_coils=3)
    largest = replace(data, kspace=data.kspace / data.kspace.abs().max() * 1e37)
    assert largest.kspace.isfinite().all()
    assert float(largest.kspace.abs().max()) == pytest.approx(1e37)


@pytest.mark.parametrize(("name", "value"), [("meta", {"slice": 1}), ("kspace", [1.0]), ("csm", "smooth")])
def test_arguments_of_another_type_are_named(make_cine, name, value):
    with pytest.raises(ShapeError, match=f"{name} is of type {type(value).__name__}"):
        replace(make_cine(n_coils=3), **{name: value})
