import numpy as np
import pytest
import torch

from cinerecon.errors import ConfigError
from cinerecon.physics.sampling import ORDERS, LineOrder, order_readouts, parse_mask


def mask_of(*frames, ky=9):
    mask = torch.zeros(len(frames), 1, ky, 1, dtype=torch.bool)
    for frame, lines in zip(mask, frames, strict=True):
        frame[0, list(lines)] = True
    return mask


def order_of(name, ky=9, n_segments=1, tr_ms=2.0, rr_ms=None, acs_first=False):
    return LineOrder(name, ky, n_segments, tr_ms, rr_ms, acs_first)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("linear", [0, 2, 4, 5, 8, 1, 3, 4, 5, 6]),
        ("alternating", [0, 2, 4, 5, 8, 6, 5, 4, 3, 1]),
        ("centre-out", [4, 5, 2, 0, 8, 4, 3, 5, 6, 1]),
        ("interleaved", [0, 4, 8, 2, 5, 1, 4, 6, 3, 5]),
    ],
)
def test_orders_in_a_frame(name, expected):
    readouts = order_readouts(mask_of((0, 2, 4, 5, 8), (1, 3, 4, 5, 6)), order_of(name))
    assert readouts.ky.tolist() == expected
    assert readouts.frame.tolist() == [0] * 5 + [1] * 5
    assert readouts.time_ms.tolist() == [2.0 * number for number in range(10)]
    assert not readouts.segment.any()


def test_central_lines_first():
    readouts = order_readouts(mask_of((0, 3, 4, 5), (3, 4, 5, 8)), order_of("linear", acs_first=True))
    assert readouts.ky.tolist() == [3, 4, 5, 0, 3, 4, 5, 8]
    backwards = order_readouts(mask_of((0, 3, 4, 5), (3, 4, 5, 8)), order_of("alternating", acs_first=True))
    assert backwards.ky.tolist() == [3, 4, 5, 0, 5, 4, 3, 8]


def test_a_segmented_cine_acquires_all_frames_in_each_heartbeat():
    mask = mask_of((0, 2, 4, 6), (1, 3, 5, 7))
    blocks = order_readouts(mask, order_of("linear", n_segments=2, rr_ms=100))
    assert blocks.segment.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert blocks.frame.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert blocks.ky.tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert blocks.time_ms.tolist() == [0, 2, 4, 6, 100, 102, 104, 106]
    every_second = order_readouts(mask, order_of("interleaved", n_segments=2))
    assert every_second.ky.tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    alternating = order_readouts(mask, order_of("alternating", n_segments=2))
    assert alternating.ky.tolist() == [0, 2, 3, 1, 4, 6, 7, 5]
    assert every_second.time_ms.tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("n_segments", [1, 3, 5])
def test_every_sample_is_acquired_once_and_frames_last_equally_long(name, n_segments):
    """With frames of unequal counts, for all but the order of the pattern."""
    text = "cava:5" if name == "pattern" else "kt-gaussian:5,acs=4"
    spec = parse_mask(text)
    mask = spec.draw(6, 50, 1, seed=1)
    readouts = order_readouts(mask, order_of(name, 50, n_segments, 3.0), spec.line_order(6, 50, seed=1))
    acquired = np.zeros_like(mask)
    acquired[readouts.frame, 0, readouts.ky] = True
    assert np.array_equal(acquired, mask)
    assert len(readouts.ky) == mask.sum()
    assert (np.diff(readouts.time_ms) >= 3.0).all()
    starts = [readouts.time_ms[(readouts.frame == f) & (readouts.segment == 0)][0] for f in range(6)]
    assert np.allclose(np.diff(starts), starts[1])


def test_the_order_of_cava_is_kept():
    spec = parse_mask("cava:6")
    drawn = spec.line_order(5, 60, seed=2)
    readouts = order_readouts(spec.draw(5, 60, 1, seed=2), order_of("pattern", 60), drawn)
    assert readouts.ky.tolist() == drawn.ravel().tolist()


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        ("vds:4", {"name": "linear"}, "mask of single points"),
        ("vista:4", {"name": "pattern"}, "no temporal order"),
        ("vista:4", {"name": "linear", "n_segments": 11}, "11 segments, but at most 10 lines"),
        ("vista:4", {"name": "linear", "rr_ms": 100}, "do not fit into a heartbeat of 100 ms"),
        ("vista:4", {"name": "linear", "rr_ms": float("nan")}, "do not fit"),
        ("vista:4", {"name": "linear", "tr_ms": 0}, "must be positive"),
        ("vista:4", {"name": "linear", "n_segments": 0}, "must be positive"),
        ("vista:4", {"name": "centre"}, "unknown order"),
    ],
)
def test_orders_that_cannot_be_played_are_refused(text, settings, message):
    with pytest.raises(ConfigError, match=message):
        order_readouts(parse_mask(text).draw(6, 40, 40), order_of(ky=40, **settings))
