"""Channels of twix readouts: their order and their numbers."""

import pytest
import torch
from siemens_scan import as_twix, siemens_scan
from twix_file import write_twix

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError

pytest.importorskip("twixtools", reason="reads and writes twix files")
PLAIN = AcquisitionConfig(csm="walsh")


def numbered(scan, permuted=()):
    """The scan as twix with channels 0, 1, 2, or in the order 2, 0, 1 in some readouts."""
    part = as_twix(scan)
    part.channels = {number: [2, 0, 1] if number in permuted else [0, 1, 2] for number in range(len(scan.heads))}
    part.samples = [
        samples[part.channels[number]] if number in permuted else samples for number, samples in enumerate(scan.samples)
    ]
    return part


@pytest.mark.parametrize("permuted", [range(12, 36), range(1, 36, 2)])
def test_channels_in_another_order_are_sorted(tmp_path, permuted):
    scan = siemens_scan()
    expected = open_scan(write_twix(tmp_path / "plain.dat", numbered(scan)), PLAIN).read_slice(0)
    data = open_scan(write_twix(tmp_path / "scan.dat", numbered(scan, permuted)), PLAIN).read_slice(0)
    assert torch.equal(data.kspace, expected.kspace) and torch.equal(data.csm, expected.csm)
    text = f"{len(permuted)} of 36 readouts have their channels in a different order: they are reordered"
    assert text in data.meta.warnings
    assert {*data.meta.warnings} - {text} == {*expected.meta.warnings}


def test_other_channels_within_a_scan_are_refused(tmp_path):
    part = numbered(siemens_scan())
    for channels, text in (([0, 1, 7], "channel 7, readout 0 channel 2"), ([0, 2, 0], "channels 0, 0, 2, readout 0")):
        part.channels[20] = channels
        with pytest.raises(DataError, match=f"readout 20 has {text}"):
            open_scan(write_twix(tmp_path / "scan.dat", part), PLAIN)


def test_other_channels_of_unused_readouts_are_ignored(tmp_path):
    """A navigator may use other coils; numbers that are all equal were not set."""
    scan = siemens_scan()
    expected = open_scan(write_twix(tmp_path / "plain.dat", numbered(scan)), PLAIN).read_slice(0)
    scan.append(5, 1e3 * scan.samples[5])
    part = numbered(scan)
    part.extra_flags, part.channels[36] = {36: ("RTFEEDBACK",)}, [4, 5, 6]
    assert torch.equal(open_scan(write_twix(tmp_path / "a.dat", part), PLAIN).read_slice(0).kspace, expected.kspace)
    part.channels = {number: [number % 2] * 3 for number in range(37)}
    assert torch.equal(open_scan(write_twix(tmp_path / "b.dat", part), PLAIN).read_slice(0).kspace, expected.kspace)
