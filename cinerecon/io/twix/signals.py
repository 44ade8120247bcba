"""Physiological signals (PMU) of a twix file as waveforms.

The signals are stored in packets between the readouts. Each packet has a time stamp in the units of the readouts and
contains a section of several signals: ECG with up to four leads, pulse, respiration, external triggers and, in recent
software, the cardiac and respiratory signals of the pilot tone. Numbers and channels of waveforms are those of
siemens_to_ismrmrd: the samples, followed by a trigger channel; signals of the learning phase, which precedes the scan,
have different numbers.

Source for the layout of packets: twixtools (https://github.com/pehses/twixtools), ``pmu.py``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.twix.readouts import Mdh, Packet

Samples = NDArray[np.uint32]

ID_BYTES = 52
"""Length of the name of the packet type, which follows the size of the packet [bytes]."""
HEADER_BYTES = 4 + ID_BYTES + 4
TICKS_US = 100.0
"""Unit of the duration of a packet and of the time between samples [us]."""
ECG = ("ECG1", "ECG2", "ECG3", "ECG4")
NUMBERS = {"ECG": 0, "PULS": 1, "RESP": 2, "EXT1": 3, "EXT2": 4, "CardPT": 10, "RespPT": 11}
"""Numbers of the waveforms; siemens_to_ismrmrd has none for the pilot tone (PT)."""
LEARNING_PHASE_NUMBERS = {0: 5, 1: 6, 2: 7, 3: 8, 4: 9, 10: 12, 11: 13}
"""Number of each signal in the learning phase."""
KINDS = {"ECG": "ecg", "PULS": "pulse", "RESP": "respiratory", "EXT1": "trigger", "EXT2": "trigger"}
"""Types of signals in the ISMRMRD header; all others are ``other``."""
EVENT_BITS = {**dict.fromkeys(ECG, 2), "PULS": 4, "RESP": 8, "EXT1": 16, "EXT2": 32, "CardPT": 64, "RespPT": 128}
"""Bit of the trigger of each signal in the event channel of XA packets."""
FIRST_UNREAD_XA = 61
"""First XA version with a different packet layout, which is not supported."""


@dataclass(frozen=True)
class PacketLayout:
    """The layout of the signals in a packet.

    Attributes
    ----------
    codes
        Name of each signal by its code; the code of ``END`` ends the packet.
    duration_mask
        Bits that contain the duration in its word.
    has_events
        Whether triggers are stored as a separate signal; otherwise they are in the upper half of each sample.
    """

    codes: Mapping[int, str]
    duration_mask: int
    has_events: bool


LAYOUT_BEFORE_XA = PacketLayout(
    {0x01FF0000: "END"}
    | {0x01000000 + (n << 16): name for n, name in enumerate((*ECG, "PULS", "RESP", "EXT1", "EXT2"), 1)},
    duration_mask=0xFFFFFFFF,
    has_events=False,
)
"""Packets of VB, VD and VE."""
LAYOUT_XA = PacketLayout(
    {0xFFFFFFFF: "END"} | dict(enumerate((*ECG, "PULS", "RESP", "EXT1", "EXT2", "EVENTS", "CardPT", "RespPT"))),
    duration_mask=0xFFFFFF,
    has_events=True,
)
"""Packets of XA."""


def read_signals(
    path: Path, packets: tuple[Packet, ...], mdh: Mdh, software: str
) -> tuple[tuple[Waveform, ...], tuple[str, ...]]:
    """Read the signals of a measurement as waveforms, and warnings about packets that are not used.

    Parameters
    ----------
    path
        The file.
    packets
        The packets of synchronous data.
    mdh
        Headers of the readouts.
    software
        Software version in the protocol, e.g. ``syngo MR E11`` or ``syngo MR XA30``.
    """
    version = re.search(r"XA(\d+)", software)
    layout = LAYOUT_XA if version else LAYOUT_BEFORE_XA
    waveforms, n_damaged, n_other = list[Waveform](), 0, 0
    with path.open("rb") as file:
        for packet in packets:
            file.seek(packet.start)
            content = file.read(packet.size)
            if not content[4 : 4 + ID_BYTES].startswith(b"PMU"):
                continue
            if version and int(version[1]) >= FIRST_UNREAD_XA:
                n_other += 1
                continue
            number = max(packet.n_readouts - 1, 0)
            counters = {"measurement_uid": int(mdh["MeasUID"][number]), "scan_counter": int(mdh["ScanCounter"][number])}
            try:
                waveforms += _waveforms(content, layout, counters)
            except ValueError:
                n_damaged += 1
    warnings = []
    if n_damaged:
        warnings.append(f"{n_damaged} packets of physiological signals are damaged: they are not used")
    if n_other:
        warnings.append(f"physiological signals of XA{FIRST_UNREAD_XA} and later are not read: {n_other} packets")
    return tuple(waveforms), tuple(warnings)


def _waveforms(content: bytes, layout: PacketLayout, counters: Mapping[str, int]) -> Iterator[Waveform]:
    """The waveforms of a packet: one for all ECG leads, and one for each other signal."""
    is_learning = content[4 : 4 + ID_BYTES].startswith(b"PMULearnPhase")
    data = content[HEADER_BYTES:]
    words = np.frombuffer(data, "<u4", len(data) // 4)
    if len(words) < 4:
        raise ValueError("the packet is too short")
    time_stamp, duration = int(words[1]), int(words[3]) & layout.duration_mask
    signals = _signals(words[4:], layout, duration)
    events = signals.pop("EVENTS", np.zeros(0, np.uint32))
    leads = {name: signals.pop(name) for name in ECG if name in signals}
    groups = ({"ECG": leads} if leads else {}) | {name: {name: values} for name, values in signals.items()}
    for name, parts in groups.items():
        values = _with_triggers(parts, events, layout)
        number = LEARNING_PHASE_NUMBERS[NUMBERS[name]] if is_learning else NUMBERS[name]
        if values.shape[1]:
            yield Waveform(number, time_stamp, TICKS_US * duration / values.shape[1], values, **counters)


def _signals(words: Samples, layout: PacketLayout, duration: int) -> dict[str, Samples]:
    """The words of each signal in a packet; signals with unknown codes are skipped."""
    signals, position = dict[str, Samples](), 0
    while True:
        if position >= len(words):
            raise ValueError("the packet has no end mark")
        name = layout.codes.get(int(words[position]), "")
        if name == "END":
            return signals
        period = int(words[position + 1]) if position + 1 < len(words) else 0
        n_samples = duration // period if period else len(words)
        position += 2
        if position + n_samples > len(words):
            raise ValueError("a signal is longer than the packet")
        if name:
            signals[name] = words[position : position + n_samples]
        position += n_samples


def _with_triggers(parts: Mapping[str, Samples], events: Samples, layout: PacketLayout) -> Samples:
    """The samples of a signal with its triggers as last channel, ``(channels, samples)``."""
    rows = np.stack(list(parts.values()))
    if not layout.has_events:
        return np.concatenate([rows & 0xFFFF, np.bitwise_or.reduce(rows >> 16, 0)[None]])
    bit = EVENT_BITS[next(iter(parts))]
    triggers = np.zeros(rows.shape[1], np.uint32)
    at_events = np.flatnonzero(events & bit)
    triggers[at_events * rows.shape[1] // max(len(events), 1)] = 1
    return np.concatenate([rows, triggers[None]])


def describe_signals(waveforms: tuple[Waveform, ...]) -> list[dict[str, object]]:
    """The elements ``waveformInformation`` of the ISMRMRD header: type and trigger channel of each signal."""
    names = {number: name for name, number in NUMBERS.items()}
    names |= {learning: f"LEARN_{names[number]}" for number, learning in LEARNING_PHASE_NUMBERS.items()}
    n_channels = {block.number: len(block.values) for block in waveforms}
    return [
        {
            "waveformName": names[number],
            "waveformType": KINDS.get(names[number].removeprefix("LEARN_"), "other"),
            "userParameters": {
                "userParameterLong": [
                    {"name": "waveformId", "value": number},
                    {"name": "TriggerChannel", "value": n_channels[number] - 1},
                ]
            },
        }
        for number in sorted(n_channels)
    ]
