"""Raw scans are written in every format that is read, and other programs read them."""

import re
from dataclasses import replace

import h5py
import ismrmrd
import ismrmrd.serialization
import mrd
import numpy as np
import pytest
import torch
from helpers import formats_folder
from raw_scan import small_scan
from typer.testing import CliRunner

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import find_cines, open_scan, read_slices
from cinerecon.cli import app
from cinerecon.errors import DataError, FileError
from cinerecon.io.ismrmrd.raw import MemorySamples, as_objects
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd_stream.messages import message_bytes
from cinerecon.io.raw_file import holds_images_only, read_raw_scan, write_raw_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

PLAIN = AcquisitionConfig(csm="walsh")
ENDINGS = (".h5", ".mrd", ".mrd2")
ECG = Waveform(0, 123, 2500.0, np.arange(10, dtype=np.uint32).reshape(2, 5))


@pytest.fixture
def raw(tmp_path):
    scan = small_scan(matrix=(20, 24), n_slices=2)
    line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
    scan.keep((np.abs(line - 10) < 4) | ((line + frame) % 3 == 0))
    scan.append(0, np.random.default_rng(0).standard_normal((3, 64, 2)).astype(np.float32).view(np.complex64)[..., 0])
    scan.flag(len(scan.heads) - 1, 19)
    scan.heads["position"] += np.float32(1 / 3)
    scan.heads["user_int"][:], scan.heads["user_float"][:] = np.arange(8), 0.5
    scan.heads["idx"]["user"][:] = np.arange(8)
    return replace(read_raw_scan(scan.write(tmp_path / "source.h5")), waveforms=(ECG,))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_scan_is_the_same_in_every_format(raw, tmp_path, ending):
    path = tmp_path / f"written{ending}"
    write_raw_scan(raw, path)
    again, rows = read_raw_scan(path), np.arange(len(raw))
    names = ("user_int", "user_float", "flags", "scan_counter", "position", "physiology_time_stamp", "center_sample")
    for name in names:
        assert np.array_equal(again.heads[name], raw.heads[name]), name
    assert np.array_equal(again.heads["idx"]["kspace_encode_step_1"], raw.heads["idx"]["kspace_encode_step_1"])
    assert np.array_equal(again.heads["idx"]["user"], raw.heads["idx"]["user"])
    found, expected = again.store.read("data", rows), raw.store.read("data", rows)
    assert all(np.array_equal(a.view(np.complex64), b.view(np.complex64)) for a, b in zip(found, expected, strict=True))
    (block,) = again.waveforms
    assert np.array_equal(block.values, ECG.values) and block.time_stamp == 123
    assert again.header == replace(raw.header, subject=again.header.subject)
    for number in range(2):
        one, other = open_scan(path, PLAIN).read_slice(number), open_scan(raw.path, PLAIN).read_slice(number)
        assert torch.equal(one.kspace, other.kspace) and torch.equal(one.csm, other.csm)
        assert one.meta.geometry == other.meta.geometry
    with pytest.raises(FileError, match="exists"):
        write_raw_scan(raw, path)


def test_other_programs_read_what_is_written(tmp_path):
    simulate_scan(tmp_path / "source.h5", SimulateConfig(n_frames=3, ky=20, kx=24, n_coils=3))  # with a valid header
    raw = replace(read_raw_scan(tmp_path / "source.h5"), waveforms=(ECG,))
    raw.heads["user_int"][:] = np.arange(8)
    raw.heads["idx"]["user"][:] = np.arange(8)
    for ending in ENDINGS:
        write_raw_scan(raw, tmp_path / f"scan{ending}")
    dataset = ismrmrd.Dataset(str(tmp_path / "scan.h5"), "dataset", create_if_needed=False)
    hdf5 = [dataset.read_acquisition(number) for number in range(dataset.number_of_acquisitions())]
    with ismrmrd.serialization.ProtocolDeserializer(str(tmp_path / "scan.mrd")) as reader:
        items = list(reader.deserialize())
    stream = [item for item in items if isinstance(item, ismrmrd.Acquisition)]
    assert np.array_equal(items[1].data, ECG.values)
    with mrd.BinaryMrdReader(str(tmp_path / "scan.mrd2")) as reader:
        header, newer = reader.read_header(), list(reader.read_data())
    assert np.array_equal(newer[0].value.data, ECG.values)
    assert np.array_equal(dataset.read_waveform(0).data, ECG.values)
    assert len(hdf5) == len(stream) == len(newer) - 1 == len(raw)
    expected = raw.samples(np.arange(5))
    for number in range(5):
        second = newer[1 + number].value
        for data in (hdf5[number].data, stream[number].data, second.data):
            assert np.array_equal(data, expected[number])
        assert second.head.idx.phase == hdf5[number].idx.phase and second.head.user_int == list(range(8))
        assert second.head.idx.user == list(range(8))
        assert np.allclose(second.head.position, list(hdf5[number].position))
    old = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    assert header.encoding[0].encoded_space.matrix_size.x == old.encoding[0].encodedSpace.matrixSize.x
    assert header.encoding[0].encoding_limits.phase.maximum == old.encoding[0].encodingLimits.phase.maximum
    assert mrd.AcquisitionFlags(newer[1].value.head.flags) == mrd.AcquisitionFlags.IS_NOISE_MEASUREMENT


def signals():
    """Blocks of the ECG, pulse, respiration, an external signal, the learning phase and a pilot tone."""
    rng = np.random.default_rng(1)
    shapes = {0: (5, 7), 1: (2, 3), 2: (2, 1), 3: (1, 4), 5: (5, 2), 35: (2, 6), 9: (1, 0)}
    counters = {"flags": 1 << 40, "measurement_uid": 77}
    return tuple(
        Waveform(
            number,
            2**32 - 5 + i % 4,
            [2500.0, 1 / 3, 0.0][i % 3],
            rng.integers(0, 2**32, shape, np.uint32),
            scan_counter=i,
            **counters,
        )
        for i, (number, shape) in enumerate(2 * list(shapes.items()))
    )


def test_waveforms_of_every_kind_pass_through_every_format_unchanged(tmp_path):
    """One format after the other, and back to the first: messages of a stream are compared byte for byte."""
    simulate_scan(tmp_path / "source.h5", SimulateConfig(n_frames=2, ky=8, kx=8, n_coils=2))
    current = replace(read_raw_scan(tmp_path / "source.h5"), waveforms=signals())
    kinds = (
        "<waveformInformation><waveformName>CardPT</waveformName><waveformType>other</waveformType><userParameters>"
        "<userParameterLong><name>waveformId</name><value>35</value></userParameterLong></userParameters>"
        "</waveformInformation></ismrmrdHeader>"
    )
    current = replace(current, xml=current.xml.replace("</ismrmrdHeader>", kinds))
    expected = [message_bytes(replace(block, sample_time_us=np.float32(block.sample_time_us))) for block in signals()]
    for ending in (".mrd", ".h5", ".mrd2", ".h5", ".mrd2", ".mrd"):
        path = tmp_path / f"next{ending}"
        write_raw_scan(current, path, force=True)
        current = read_raw_scan(path)
        assert [message_bytes(block) for block in current.waveforms] == expected, ending
        assert kinds in current.xml.replace("\n", "")
    content = (tmp_path / "next.mrd").read_bytes()
    assert b"".join(expected) in content
    with ismrmrd.serialization.ProtocolDeserializer(str(tmp_path / "next.mrd")) as reader:
        others = [item for item in reader.deserialize() if isinstance(item, ismrmrd.Waveform)]
    for block, other in zip(signals(), others, strict=True):
        assert np.array_equal(block.values, other.data) and block.time_stamp == other.time_stamp
        assert (block.number, block.scan_counter, block.flags) == (other.waveform_id, other.scan_counter, other.flags)


def test_a_block_longer_than_version_1_allows_is_written_as_version_2_alone(raw, tmp_path):
    long = replace(raw, waveforms=(Waveform(0, 1, 2500.0, np.ones((1, 65536), np.uint32)),))
    write_raw_scan(long, tmp_path / "long.mrd2")
    again = read_raw_scan(tmp_path / "long.mrd2")
    assert again.waveforms[0].values.shape == (1, 65536)
    for ending in (".h5", ".mrd"):
        with pytest.raises(DataError, match="65536 samples, version 1 stores at most 65535"):
            write_raw_scan(again, tmp_path / f"long{ending}")
        assert not (tmp_path / f"long{ending}").exists()


def test_version_2_keeps_every_element_of_the_header_of_version_1(tmp_path):
    """Written, read back as XML, and read by another program."""
    simulate_scan(tmp_path / "source.h5", SimulateConfig(n_frames=2, ky=8, kx=8, n_coils=2))
    raw = read_raw_scan(tmp_path / "source.h5")
    more = (
        "<multiband><spacing><dZ>8</dZ></spacing><deltaKz>2</deltaKz><multiband_factor>2</multiband_factor>"
        "<calibration>separable2D</calibration><calibration_encoding>0</calibration_encoding></multiband>"
    )
    raw = replace(raw, xml=raw.xml.replace("</parallelImaging>", more + "</parallelImaging>"))
    write_raw_scan(raw, tmp_path / "scan.mrd2")
    again = read_raw_scan(tmp_path / "scan.mrd2")
    old, new = (ismrmrd.xsd.CreateFromDocument(part.xml.encode()) for part in (raw, again))
    for part in ("acquisitionSystemInformation", "encoding", "sequenceParameters", "userParameters"):
        plain, same = (re.sub(r"\d+\.\d+", lambda m: f"{float(m[0]):.5g}", repr(getattr(x, part))) for x in (old, new))
        assert plain == same, part


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_readout_that_contradicts_its_header_is_refused(raw, tmp_path, ending):
    rows = raw.store.read("data", np.arange(len(raw)))
    short = as_objects([*rows[:-1], rows[-1][:-2]])
    broken = replace(raw, store=MemorySamples(short, raw.store.read("traj", np.arange(len(raw)))))
    with pytest.raises(DataError, match="are stored"):
        write_raw_scan(broken, tmp_path / f"broken{ending}")
    assert not (tmp_path / f"broken{ending}").exists()


@pytest.mark.parametrize("ending", [".mrd", ".mrd2"])
def test_simulate_writes_streams_equal_to_the_file(tmp_path, ending):
    size = ["--frames", "3", "--ky", "24", "--kx", "24", "--coils", "3", "--subject", "S1"]
    size += ["--segments", "4", "--ecg"]
    run = CliRunner()
    for name in (f"scan{ending}", "scan.h5"):
        result = run.invoke(app, ["simulate", "-o", str(tmp_path / name), *size])
        assert result.exit_code == 0, result.output
        assert ("streams contain no reference" in result.output) == (name != "scan.h5")
    stream, file = read_raw_scan(tmp_path / f"scan{ending}"), read_raw_scan(tmp_path / "scan.h5")
    assert stream.header.subject == file.header.subject != ""
    assert stream.header.encodings[0].limits == file.header.encodings[0].limits
    assert stream.header.encodings[0].encoded.matrix == file.header.encodings[0].encoded.matrix
    assert stream.header.encodings[0].encoded.fov_mm == pytest.approx(file.header.encodings[0].encoded.fov_mm, rel=1e-6)
    assert stream.header.noise_bandwidth == pytest.approx(file.header.noise_bandwidth, rel=1e-6)
    assert np.array_equal(stream.samples(np.arange(16)), file.samples(np.arange(16)))
    assert len(stream.waveforms) == len(file.waveforms) > 0
    assert np.array_equal(stream.heads["idx"]["segment"], file.heads["idx"]["segment"])


def test_convert_writes_files_and_standard_output(raw, tmp_path):
    run = CliRunner()
    result = run.invoke(app, ["convert", str(raw.path), "-o", str(tmp_path / "scan.mrd2")])
    assert result.exit_code == 0 and f"({len(raw)} readouts)" in result.output
    piped = run.invoke(app, ["convert", str(tmp_path / "scan.mrd2"), "-o", "-"])
    (tmp_path / "piped.mrd").write_bytes(piped.stdout_bytes)
    again = run.invoke(app, ["convert", "-", "-o", str(tmp_path / "again.h5")], input=piped.stdout_bytes)
    assert again.exit_code == 0
    for name in ("scan.mrd2", "piped.mrd", "again.h5"):
        assert np.array_equal(read_raw_scan(tmp_path / name).samples(np.arange(9)), raw.samples(np.arange(9)))
    with h5py.File(tmp_path / "again.h5") as file:
        assert list(file["dataset"]) == ["data", "xml"]
    for output, text in ((str(raw.path), "is an input"), (str(tmp_path / "scan.nii"), "raw scan cannot be written")):
        error = run.invoke(app, ["convert", str(raw.path), "-o", output, "--force"]).exception
        assert isinstance(error, FileError) and text in str(error)


def convert(scan, output):
    result = CliRunner().invoke(app, ["convert", str(scan), "-o", str(output), "--force"])
    assert result.exit_code == 0
    return result.output


def test_convert_keeps_the_truth_in_hdf5_files(raw, tmp_path):
    config = SimulateConfig(n_frames=3, ky=24, kx=24, n_coils=2, n_slices=2)
    simulate_scan(tmp_path / "simulated.h5", config)
    assert "warning" not in convert(tmp_path / "simulated.h5", tmp_path / "again.h5")
    with h5py.File(tmp_path / "simulated.h5") as old, h5py.File(tmp_path / "again.h5") as new:
        assert list(new) == list(old) == ["truth", "dataset"]
        assert sorted(new["dataset"]) == sorted(old["dataset"])
        assert dict(new["truth"].attrs) == dict(old["truth"].attrs)
        for name in old["truth"]:
            assert np.array_equal(new["truth"][name], old["truth"][name])
            assert dict(new["truth"][name].attrs) == dict(old["truth"][name].attrs)
    before, after = (list(read_slices(tmp_path / name))[1] for name in ("simulated.h5", "again.h5"))
    assert torch.equal(before.reference, after.reference)
    convert(raw.path, tmp_path / "measured.h5")
    with h5py.File(tmp_path / "measured.h5") as file:
        assert list(file) == ["dataset"]


@pytest.mark.parametrize("ending", [".mrd", ".mrd2"])
def test_convert_reports_that_streams_have_no_truth(raw, tmp_path, ending):
    simulate_scan(tmp_path / "simulated.h5", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=1))
    for path, has_truth in ((tmp_path / "simulated.h5", True), (raw.path, False)):
        assert ("(/truth) are not converted" in convert(path, tmp_path / f"scan{ending}")) == has_truth


def test_a_measured_scan_is_converted(tmp_path):
    path = formats_folder() / "twix/gre.dat"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    raw = read_raw_scan(path)
    for ending in ENDINGS:
        write_raw_scan(raw, tmp_path / f"gre{ending}")
        again = read_raw_scan(tmp_path / f"gre{ending}")
        assert len(again) == len(raw) and again.header.protocol == raw.header.protocol
        rows = np.flatnonzero(raw.heads["number_of_samples"] == raw.heads["number_of_samples"][-1])[:50]
        assert np.array_equal(again.samples(rows), raw.samples(rows))


def test_scans_are_found_in_folders_and_images_are_not(raw, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for ending in ENDINGS:
        write_raw_scan(raw, folder / f"scan{ending}")
    outputs = [part for ending in ENDINGS for part in ("-o", str(folder / f"image{ending}"))]
    result = CliRunner().invoke(app, ["recon", str(folder / "scan.mrd2"), "-m", "zerofilled", "--snr", *outputs])
    assert result.exit_code == 0, result.output
    assert find_cines(folder) == [folder / f"scan{ending}" for ending in ENDINGS]
    assert holds_images_only(folder / "image.mrd2") and holds_images_only(folder / "image.snr.mrd")
    (folder / "cut.mrd").write_bytes((folder / "image.mrd").read_bytes()[:100])
    assert not holds_images_only(folder / "cut.mrd")
    (folder / "cut.mrd2").write_bytes((folder / "image.mrd2").read_bytes()[:100])
    assert not holds_images_only(folder / "cut.mrd2")
