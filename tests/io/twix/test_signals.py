"""Physiological signals of twix files: as another reader reads them, as waveforms, and for gating."""

import h5py
import numpy as np
import pytest
import torch
from siemens_scan import as_twix, siemens_copy, siemens_scan
from timed_scan import ARRHYTHMIC, changed, simulated
from twix_file import pmu_packet, write_twix
from typer.testing import CliRunner

from cinerecon import load_method, reconstruct
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.io.ismrmrd.header import parse_header
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.io.twix.noise import with_noise
from cinerecon.io.twix.scan import read_twix
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

PLAIN = AcquisitionConfig(csm="walsh")
ECG, PULSE, RESPIRATION, EXTERNAL = 0x01010000, 0x01050000, 0x01060000, 0x01070000
RNG = np.random.default_rng(3)


def early_packet(time_stamp, name=b"PMUData"):
    """Half a second of four leads, the pulse, respiration and an external signal, with triggers in the upper bits."""
    words = {}
    for number, code in enumerate([*range(ECG, ECG + 0x40000, 0x10000), PULSE, RESPIRATION, EXTERNAL]):
        period = (25, 25, 25, 25, 50, 100, 25)[number]
        values = RNG.integers(0, 4096, 5000 // period, np.uint32)
        values[number + 3] |= 0x4000 << 16
        words[code] = (period, values)
    return pmu_packet(words, time_stamp=time_stamp, duration=5000, name=name)


@pytest.mark.parametrize("line", ["VB", "VD"])
def test_signals_are_those_that_twixtools_reads(tmp_path, line):
    import twixtools

    part = as_twix(siemens_scan(n_frames=1))
    packets = {0: [early_packet(999_800, b"PMULearnPhase")], 3: [early_packet(1_000_000)], 7: [early_packet(1_000_200)]}
    part.packets = packets
    path = write_twix(tmp_path / "scan.dat", part, line=line)
    raw = read_twix(path)
    assert not [text for text in raw.warnings if "physio" in text]
    assert [block.number for block in raw.waveforms] == [5, 6, 7, 8, *2 * [0, 1, 2, 3]]
    if line == "VB":
        expected = [0, 1, 2, 3]
        assert [block.time_stamp for block in raw.waveforms if block.number in expected] == 4 * [1_000_000] + 4 * [
            1_000_200
        ]
        return
    (other,) = twixtools.read_twix(str(path), verbose=False, parse_geometry=False, parse_pmu=False)
    pmu = twixtools.pmu.PMU(other["mdb"])
    for number, names in enumerate((("ECG1", "ECG2", "ECG3", "ECG4"), ("PULS",), ("RESP",), ("EXT1",))):
        for prefix, learning in (("", 0), ("LEARN_", 5)):
            blocks = [block for block in raw.waveforms if block.number == number + learning]
            values = np.concatenate([block.values for block in blocks], 1)
            for channel, name in enumerate(names):
                assert np.array_equal(values[channel], pmu.signal[prefix + name] * 4096)
            triggers = np.any([pmu.trigger[prefix + name] for name in names], 0)
            assert np.array_equal(values[-1] > 0, triggers) and triggers.any()
            times = [b.time_stamp + np.arange(b.values.shape[1]) * b.sample_time_us / 2500 for b in blocks]
            assert np.allclose(np.concatenate(times), pmu.timestamp[prefix + names[0]])


def late_packet():
    """A packet of line XA: samples of one word, triggers as events, and the signals of the pilot tone."""
    events = np.zeros(200, np.uint32)
    events[[10, 150]], events[50], events[75] = 0x302, 0x4, 0x42  # ECG with the method of its trigger, pulse, both
    words = {code: (25, RNG.integers(0, 4096, 200, np.uint32)) for code in (0, 1, 4, 9)}
    words |= {8: (25, events), 5: (100, RNG.integers(0, 4096, 50, np.uint32))}
    return pmu_packet(words, time_stamp=77, duration=5000 | 3 << 24, end=0xFFFFFFFF)


def with_software(part, version):
    part.meas["SoftwareVersions"] = f"syngo MR {version}"
    return part


def test_signals_of_line_xa(tmp_path):
    from twixtools.pmu import PMUblockVA

    content = late_packet()
    part = with_software(as_twix(siemens_scan(n_frames=1)), "XA30")
    part.packets = {2: [content]}
    raw = read_twix(write_twix(tmp_path / "scan.dat", part))
    by_number = {block.number: block for block in raw.waveforms}
    assert sorted(by_number) == [0, 1, 2, 10]
    other = PMUblockVA(content[60:])
    for number, names in {0: ("ECG1", "ECG2"), 1: ("PULS",), 2: ("RESP",), 10: ("CardPT",)}.items():
        for channel, name in enumerate(names):
            assert np.allclose(by_number[number].values[channel], other.signal[name] * 4095)
    assert np.flatnonzero(by_number[0].values[-1]).tolist() == [10, 75, 150]
    assert np.flatnonzero(by_number[1].values[-1]).tolist() == [50]
    assert np.flatnonzero(by_number[10].values[-1]).tolist() == [75]
    assert by_number[2].sample_time_us == 10_000 and by_number[0].time_stamp == 77


def test_the_header_names_the_signals(tmp_path):
    import ismrmrd

    scan = siemens_scan(n_frames=1)
    part = as_twix(scan)
    part.packets = {0: [early_packet(5, b"PMULearnPhase")], 3: [early_packet(300)]}
    raw = read_twix(write_twix(tmp_path / "scan.dat", part))
    information = ismrmrd.xsd.CreateFromDocument(raw.xml.encode()).waveformInformation
    names = [(part.waveformName, part.waveformType.value) for part in information]
    expected = [("ECG", "ecg"), ("PULS", "pulse"), ("RESP", "respiratory"), ("EXT1", "trigger")]
    assert names == expected + [(f"LEARN_{name}", kind) for name, kind in expected]
    assert [p.userParameters.userParameterLong[1].value for p in information] == [4, 1, 1, 1, 4, 1, 1, 1]
    parse_header(raw.xml.encode())


def test_damaged_packets_are_left_out_with_a_warning(tmp_path):
    scan = siemens_scan(n_frames=1)
    expected = open_scan(write_twix(tmp_path / "plain.dat", as_twix(scan)), PLAIN).read_slice(0).kspace
    whole = early_packet(5)
    part = as_twix(scan)
    damaged = [whole[:70], whole[:-4], whole[:500], whole.replace(b"\x19\0\0\0", bytes(4)), whole[:60]]
    part.packets = {0: [whole], 2: damaged, 5: [b"\x04\0\0\0OTHER".ljust(60, b"\0") + bytes(4)]}
    path = write_twix(tmp_path / "scan.dat", part)
    raw = read_twix(path)
    assert len(raw.waveforms) == 4
    assert "5 packets of physiological signals are damaged: they are not used" in raw.warnings
    assert torch.equal(open_scan(path, PLAIN).read_slice(0).kspace, expected)
    part = with_software(part, "XA61")
    raw = read_twix(write_twix(tmp_path / "late.dat", part))
    assert not raw.waveforms and "physiological signals of XA61 and later are not read: 6 packets" in raw.warnings


def with_ecg(part, waveforms):
    """The ECG of a simulated scan as packets, each before the readout that follows it."""
    stamps = part.heads["acquisition_time_stamp"].astype(np.int64)
    for block in waveforms:
        n = block.values.shape[1]
        words = {ECG + (lead << 16): (25, values) for lead, values in enumerate(block.values[:-1])}
        words[ECG] = (25, block.values[0] | block.values[-1] << 16)
        packet = pmu_packet(words, time_stamp=block.time_stamp, duration=25 * n)
        number = int(np.searchsorted(stamps, block.time_stamp + n).clip(0, len(stamps) - 1))
        part.packets.setdefault(number, []).append(packet)


def test_a_scan_is_gated_by_the_ecg_of_its_packets(tmp_path):
    """Without times since the R wave in the readouts: frames are those of the same scan with its ECG in HDF5."""
    path = changed(
        simulated(tmp_path, ARRHYTHMIC), tmp_path / "ecg.h5", lambda heads: heads["physiology_time_stamp"].fill(0)
    )
    ecg = read_raw_scan(path).waveforms
    twix = siemens_copy(path, lambda part: with_ecg(part, ecg))
    raw = read_twix(twix)
    for block, source in zip(raw.waveforms, ecg, strict=True):
        assert np.array_equal(block.values, source.values) and block.time_stamp == source.time_stamp
        assert block.sample_time_us == source.sample_time_us
    settings = PLAIN.with_settings(["gating=retro", "gated_frames=10"])
    one, other = open_scan(path, settings), open_scan(twix, settings)
    assert other.plan.gating == one.plan.gating and "ECG" in str(one.plan.gating)
    expected, data = one.read_slice(0), other.read_slice(0)
    assert torch.equal(data.kspace, expected.kspace) and torch.equal(data.mask, expected.mask)
    counter = open_scan(path, PLAIN.with_settings(["gating=counter", "repeats=average"])).read_slice(0)
    assert counter.n_frames != expected.n_frames or not torch.equal(counter.kspace, expected.kspace)


def test_images_are_equal_through_every_format(tmp_path):
    """The same readouts through HDF5, streams and twix, and twix converted with the noise of its adjustment."""
    size = {"n_frames": 6, "ky": 48, "kx": 40, "n_coils": 4, "undersample": "gaussian:4,acs=4"}
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(**size))
    twix = siemens_copy(tmp_path / "scan.h5")
    paths = [tmp_path / f"again{ending}" for ending in (".h5", ".mrd", ".mrd2")]
    for path in paths:
        result = CliRunner().invoke(app, ["convert", str(twix), "-o", str(path)])
        assert result.exit_code == 0, result.output
        assert "16 noise readouts of measurement 1 of 2 precede the scan" in result.output
    (expected,) = reconstruct(tmp_path / "scan.h5", method=load_method("cgsense"))
    for path in (twix, *paths):
        (image,) = reconstruct(path, method=load_method("cgsense"))
        assert np.array_equal(image.image, expected.image), path.name


def test_a_scan_with_its_own_noise_is_converted_as_it_is(tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2))
    raw = read_raw_scan(tmp_path / "scan.h5")
    assert with_noise(raw) is raw
    twix = read_twix(siemens_copy(tmp_path / "scan.h5"))
    joined = with_noise(twix)
    assert len(joined) == len(twix) + 16 and with_noise(joined) is joined
    rows = np.array([17, 3, 40])
    stored = joined.store.read("data", rows)
    assert np.array_equal(stored[0], twix.store.read("data", np.array([1]))[0])
    assert np.array_equal(stored[2], twix.store.read("data", np.array([24]))[0])
    with h5py.File(tmp_path / "scan.h5") as file:
        noise = file["dataset/data"][3]["data"].view(np.complex64)
    assert np.array_equal(stored[1], noise)
