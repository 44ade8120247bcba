"""Slices of a scan that is being received are complete when its flags, its limits or its order show it."""

from dataclasses import replace

import numpy as np
import pytest

from cinerecon.io.ismrmrd.header import EncodingSpace, Limit, MrdHeader, Space
from cinerecon.io.mrd_stream.messages import HEAD
from cinerecon.reconstruction.stream.arrival import SliceArrival, rows_of_slice, with_one_slice

SPACE = Space((8, 4, 1), (300.0, 300.0, 8.0))
N_FRAMES, N_LINES, N_SLICES = 3, 4, 3
LAST_IN_SLICE, NOISE, LAST_IN_MEASUREMENT = 1 << 7, 1 << 18, 1 << 24


def header_of(**limits):
    counts = {"kspace_encoding_step_1": N_LINES, "slice": N_SLICES, "phase": N_FRAMES} | limits
    encoding = EncodingSpace(SPACE, SPACE, {name: Limit(0, count - 1) for name, count in counts.items() if count})
    return MrdHeader((encoding,))


def heads_of(*readouts):
    """Readouts of (slice, frame, line), and flags if there are four values."""
    heads = np.zeros(len(readouts), HEAD)
    for head, values in zip(heads, readouts, strict=True):
        head["idx"]["slice"], head["idx"]["phase"], head["idx"]["kspace_encode_step_1"] = values[:3]
        head["flags"] = values[3] if len(values) > 3 else 0
    return heads


def completions(header, heads):
    """Slices with the number of the readout at which they are complete."""
    arrival = SliceArrival(header)
    return [(number, row) for row, head in enumerate(heads) for number in arrival.add(head)], arrival


def sequential(lines=range(N_LINES)):
    return [(z, frame, line) for z in range(N_SLICES) for frame in range(N_FRAMES) for line in lines]


def with_last_in_slice(readouts):
    """The last readout of each image with the flag."""
    last = {readout[:2]: row for row, readout in enumerate(readouts)}
    return [(*readout, LAST_IN_SLICE * (row in last.values())) for row, readout in enumerate(readouts)]


def test_flags_show_the_end_of_an_undersampled_slice_at_its_last_readout():
    readouts = with_last_in_slice(sequential(lines=(1, 2)))
    assert completions(header_of(), heads_of(*readouts))[0] == [(0, 5), (1, 11), (2, 17)]


def test_flags_show_it_where_heartbeats_are_interleaved():
    readouts = [(z, frame, line) for line in (1, 2) for z in range(N_SLICES) for frame in range(N_FRAMES)]
    assert completions(header_of(), heads_of(*with_last_in_slice(readouts)))[0] == [(0, 11), (1, 14), (2, 17)]


def test_all_lines_within_the_limits_are_a_complete_slice():
    assert completions(header_of(), heads_of(*sequential()))[0] == [(0, 11), (1, 23), (2, 35)]
    heads = np.concatenate([heads_of(*sequential()), heads_of(*sequential())])
    heads["idx"]["average"][36:] = 1
    assert completions(header_of(average=2), heads)[0] == [(0, 47), (1, 59), (2, 71)]


def test_a_change_of_slice_ends_a_slice_whose_frames_share_all_lines():
    lines = [(z, frame, line) for z in range(N_SLICES) for frame in range(N_FRAMES) for line in (frame, frame + 1)]
    found, arrival = completions(header_of(), heads_of(*lines))
    assert found == [(0, 6), (1, 12)] and arrival.incomplete == [2]


def test_a_change_of_slice_alone_is_no_end():
    found, arrival = completions(header_of(), heads_of(*sequential(lines=(1, 2))))
    assert not found and arrival.after_end() == [0, 1]


def test_a_flag_on_the_last_readout_alone_ends_a_slice_when_another_one_follows():
    readouts = [(*readout, LAST_IN_SLICE * (readout[1:] == (2, 2))) for readout in sequential(lines=(1, 2))]
    assert completions(header_of(), heads_of(*readouts))[0] == [(0, 6), (1, 12)]


def test_slices_without_flags_that_are_acquired_interleaved_wait():
    readouts = [(z, frame, line) for line in (1, 2) for z in range(N_SLICES) for frame in range(N_FRAMES)]
    found, arrival = completions(header_of(), heads_of(*readouts))
    assert not found and not arrival.after_end() and arrival.incomplete == [0, 1, 2]


def test_the_last_readout_of_the_measurement_ends_its_slice():
    readouts = [*sequential(lines=(1, 2))[:-1], (2, 2, 2, LAST_IN_MEASUREMENT)]
    assert completions(header_of(), heads_of(*readouts))[0] == [(2, 17)]


@pytest.mark.parametrize("limits", [{"phase": 1}, {"phase": 0}, {"slice": 1}, {"phase": 2}])
def test_headers_that_the_counters_contradict_are_not_trusted(limits):
    """A slice may end too early where the limits are too small; from then on none is complete before the end."""
    found, arrival = completions(header_of(**limits), heads_of(*with_last_in_slice(sequential())))
    assert not arrival.is_sure and len(found) <= 1


def test_readouts_of_a_complete_slice_end_the_trust():
    readouts = [*with_last_in_slice(sequential()[:12]), (0, 1, 1), *with_last_in_slice(sequential()[12:])]
    found, arrival = completions(header_of(), heads_of(*readouts))
    assert found == [(0, 11)] and not arrival.is_sure


def test_noise_and_calibration_lines_are_no_part_of_a_slice():
    readouts = [(0, 0, 0, NOISE), (1, 0, 0, 1 << 19), *sequential(), (0, 0, 3, 1 << 19)]
    assert completions(header_of(), heads_of(*readouts))[0] == [(0, 13), (1, 25), (2, 37)]
    heads = heads_of(*readouts)
    assert rows_of_slice(heads, 1).tolist() == [0, 1, *range(14, 26)]


def test_the_header_of_one_slice_has_no_limits_for_others():
    header = header_of()
    own = with_one_slice(header, 2)
    assert own.encodings[0].limits["slice"] == Limit(2, 2)
    assert replace(own, encodings=header.encodings) == header
    assert "slice" not in with_one_slice(header_of(slice=0), 2).encodings[0].limits
