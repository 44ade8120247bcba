"""Raw scans are written in every format that is read, and other programs read them."""

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

from cinerecon.acquisition import AcquisitionConfig, find_cines, open_cine, open_scan
from cinerecon.cli import app
from cinerecon.errors import DataError, FileError
from cinerecon.io.ismrmrd.raw import MemorySamples, as_objects
from cinerecon.io.ismrmrd.waveforms import Waveform
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
        one, other = open_cine(path, PLAIN).read_slice(number), open_scan(raw.path, PLAIN).read_slice(number)
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
        assert ("streams hold no truth" in result.output) == (name != "scan.h5")
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
    for output, text in ((str(raw.path), "read here"), (str(tmp_path / "scan.nii"), "written as ISMRMRD")):
        error = run.invoke(app, ["convert", str(raw.path), "-o", output, "--force"]).exception
        assert isinstance(error, FileError) and text in str(error)


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
