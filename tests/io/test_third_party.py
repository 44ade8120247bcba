"""Other programs read what we send and write, and their streams are read here.

Packages of other authors: `ismrmrd` (its serialization, as a client and as a reader), `mrd-python` (its reader, its
reconstruction and its export of pictures), and `gadgetron` (the connection of its external modules).
"""

import io
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import h5py
import ismrmrd
import mrd
import numpy as np
import pytest
from ismrmrd.serialization import ConfigFile, ProtocolDeserializer, ProtocolSerializer
from PIL import Image
from timed_scan import ARRHYTHMIC, simulated
from typer.testing import CliRunner

from cinerecon import reconstruct
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.evaluation.image_files import read_series
from cinerecon.io.mrd2.images import read_mrd2_images
from cinerecon.io.mrd_stream.messages import MessageId, TextMessage, message_bytes
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.physics.fourier import ifft2c
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.stream import session as session_module
from cinerecon.reconstruction.stream.server import Server
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SIZES = {"n_frames": 3, "ky": 24, "kx": 28, "n_coils": 3, "n_slices": 2, "noise": 0.003, "seed": 4}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("third") / "scan.h5"
    simulate_scan(path, SimulateConfig(**SIZES))
    return path


@pytest.fixture(scope="module")
def expected(scan):
    return [part.cine for part in reconstruct(scan, method="zerofilled", device="cpu")]


def run(*arguments):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output


def assert_geometry(head, cine, names=("read_dir", "phase_dir", "slice_dir")):
    """Position, directions and field of view in the header of an image of any package."""
    (y, x), (dy, dx) = cine.matrix, cine.meta.pixel_size_mm
    assert np.allclose(list(head.field_of_view), (x * dx, y * dy, cine.meta.slice_thickness_mm), rtol=1e-6)
    assert np.allclose(list(head.position), cine.meta.geometry.position_mm, atol=1e-4)
    for name, own in zip(names, ("read_dir", "phase_dir", "slice_dir"), strict=True):
        assert np.allclose(list(getattr(head, name)), getattr(cine.meta.geometry, own), atol=1e-6), name


def assert_meta(values, cine):
    """Meta attributes that scanners and viewers use."""
    assert values["DataRole"] == "Image" and float(values["Keep_image_geometry"]) == 1
    assert np.allclose([float(part) for part in values["ImageRowDir"]], cine.meta.geometry.read_dir)
    assert np.allclose([float(part) for part in values["ImageColumnDir"]], cine.meta.geometry.phase_dir)
    assert 0 < float(values["WindowCenter"]) < float(values["WindowWidth"])
    assert "not for diagnostic use" in values["ImageComments"]


@contextmanager
def serving():
    """A running server, and its port."""
    with Server(ReconRequest(Path("scan.h5"), "zerofilled", device="cpu"), "127.0.0.1", 0, idle_seconds=20) as running:
        thread = threading.Thread(target=running.run)
        thread.start()
        yield running.port
        running.stop()
        thread.join()


def test_a_client_and_reader_of_another_package_at_the_server(scan, expected, monkeypatch):
    """The package ``ismrmrd`` reads the file, sends its readouts, and reads the images that come back."""
    monkeypatch.setattr(session_module, "DISCARD_SECONDS", 0.5)
    with (
        serving() as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        connection.makefile("rwb") as file,
        ismrmrd.Dataset(str(scan), "dataset", mode="r") as dataset,
    ):
        with ProtocolSerializer(file) as writer:
            writer.serialize(ConfigFile("default"))
            writer.serialize(ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header()))
            for number in range(dataset.number_of_acquisitions()):
                writer.serialize(dataset.read_acquisition(number))
        items = list(ProtocolDeserializer(file).deserialize())
    images = [item for item in items if isinstance(item, ismrmrd.Image)]
    assert not [item for item in items if isinstance(item, str) and item.startswith("error")]
    assert len(images) == 6
    for image in images:
        cine = expected[image.slice]
        wanted = np.abs(cine.image[image.phase])
        assert np.allclose(image.data[0, 0], wanted, rtol=1e-6, atol=1e-6 * wanted.max())
        assert_geometry(image, cine)
        assert_meta(ismrmrd.Meta.deserialize(image.attribute_string), cine)
    assert sorted((image.slice, image.phase) for image in images) == [(s, t) for s in (0, 1) for t in range(3)]


def test_images_of_version_2_through_another_reader(scan, expected, tmp_path):
    run("recon", scan, "-m", "zerofilled", "--snr", "-o", tmp_path / "cine.mrd2")
    with mrd.BinaryMrdReader(str(tmp_path / "cine.mrd2")) as reader:
        header, items = reader.read_header(), list(reader.read_data())
    assert header.encoding[0].recon_space.matrix_size.x == 28
    assert [item.tag for item in items] == ["ImageFloat"] * 6 + ["ImageComplexFloat"] * 6
    for item in items:
        image = item.value
        cine = expected[image.head.slice]
        wanted = cine.image[image.head.phase]
        wanted = wanted if np.iscomplexobj(image.data) else np.abs(wanted)
        assert np.allclose(image.data[0, 0], wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
        assert_geometry(image.head, cine, ("col_dir", "line_dir", "slice_dir"))
        values = {name: [part.value for part in parts] for name, parts in image.meta.items()}
        assert_meta({name: parts[0] if len(parts) == 1 else parts for name, parts in values.items()}, cine)
    tool = [sys.executable, "-m", "mrd.tools.export_png_images", "-i", str(tmp_path / "cine.snr.mrd2")]
    subprocess.run([*tool, "-o", str(tmp_path / "snr_")], check=True, capture_output=True)
    (maps,) = read_mrd2_images(tmp_path / "cine.snr.mrd2")
    picture = np.asarray(Image.open(tmp_path / "snr_0004.png"))
    snr = maps[4].values[0, 0]
    assert np.abs(picture - 255 * snr / snr.max()).max() <= 1


def test_a_converted_scan_is_reconstructed_by_another_program_whose_images_are_read(tmp_path):
    """`mrd-python` takes the root of the sum of squares of one frame, as is done here with the same k-space."""
    config = SimulateConfig(**SIZES | {"n_frames": 1, "n_slices": 1, "noise": 0.0})
    simulate_scan(tmp_path / "scan.h5", config)
    run("convert", tmp_path / "scan.h5", "-o", tmp_path / "scan.mrd2")
    tool = [sys.executable, "-m", "mrd.tools.stream_recon", "-i", str(tmp_path / "scan.mrd2")]
    subprocess.run([*tool, "-o", str(tmp_path / "theirs.mrd2")], check=True, capture_output=True)
    theirs, source = read_series(tmp_path / "theirs.mrd2"), open_scan(tmp_path / "scan.h5", AcquisitionConfig())
    (series,), data = theirs, source.read_slice(0)
    wanted = ifft2c(data.kspace).abs().square().sum(1).sqrt().numpy()
    ours = series.image.numpy()
    assert np.allclose(ours * (wanted.max() / ours.max()), wanted, atol=1e-5 * wanted.max())
    assert series.pixel_size_mm == pytest.approx(data.meta.pixel_size_mm, rel=1e-5)
    assert np.allclose(series.geometry.position_mm, data.meta.geometry.position_mm, atol=1e-3)


def through_gadgetron(stream):
    """The header and the items of a stream by the connection of Gadgetron's package, which expects a configuration."""
    gadgetron = pytest.importorskip("gadgetron", reason="reads streams by another implementation of the protocol")
    first = message_bytes(TextMessage(MessageId.CONFIG_TEXT, b"<configuration/>"))
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=lambda: (ours.sendall(first + stream), ours.shutdown(socket.SHUT_WR)))
    sender.start()
    connection = gadgetron.external.Connection(theirs)
    items = list(connection)
    sender.join()
    theirs.close()
    ours.close()
    return connection.header, items


def test_images_through_the_connection_of_gadgetron(scan, expected, tmp_path):
    run("recon", scan, "-m", "zerofilled", "-o", tmp_path / "cine.mrd")
    header, images = through_gadgetron((tmp_path / "cine.mrd").read_bytes())
    assert header.encoding[0].reconSpace.matrixSize.y == 24 and len(images) == 12
    for image in images:
        cine = expected[image.slice]
        wanted = cine.image[image.phase]
        wanted = wanted if np.iscomplexobj(image.data) else np.abs(wanted)
        assert np.allclose(image.data[0, 0], wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())
        assert_geometry(image, cine)
        assert_meta(ismrmrd.Meta.deserialize(image.attribute_string), cine)


def test_readouts_and_waveforms_through_the_connection_of_gadgetron(tmp_path):
    path = simulated(tmp_path, ARRHYTHMIC)
    run("convert", path, "-o", tmp_path / "scan.mrd")
    _, items = through_gadgetron((tmp_path / "scan.mrd").read_bytes())
    raw = read_raw_scan(path)
    waveforms = [item for item in items if isinstance(item, ismrmrd.Waveform)]
    readouts = [item for item in items if isinstance(item, ismrmrd.Acquisition)]
    assert len(readouts) == len(raw) and len(waveforms) == len(raw.waveforms) > 0
    for own, other in zip(raw.waveforms, waveforms, strict=True):
        assert np.array_equal(own.values, other.data) and own.time_stamp == other.time_stamp
    rows = np.arange(20, 60)
    for row, samples in zip(rows, raw.samples(rows), strict=True):
        assert np.array_equal(readouts[row].data, samples)
        assert readouts[row].idx.segment == raw.heads["idx"]["segment"][row]
        assert readouts[row].physiology_time_stamp[0] == raw.heads["physiology_time_stamp"][row, 0]


def test_a_stream_written_by_another_package_is_read(scan, tmp_path):
    """Readouts and header by ``ismrmrd``, whose files and streams give the same images."""
    stream = io.BytesIO()
    with ismrmrd.Dataset(str(scan), "dataset", mode="r") as dataset, ProtocolSerializer(stream) as writer:
        writer.serialize(ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header()))
        writer.serialize("a text")
        writer.serialize(np.arange(3.0))
        for number in range(dataset.number_of_acquisitions()):
            writer.serialize(dataset.read_acquisition(number))
    (tmp_path / "theirs").write_bytes(stream.getvalue())
    with h5py.File(scan) as file:
        assert len(read_raw_scan(tmp_path / "theirs")) == len(file["dataset/data"])
    ours, theirs = (reconstruct(path, method="cgsense", device="cpu") for path in (scan, tmp_path / "theirs"))
    for one, other in zip(ours, theirs, strict=True):
        assert np.array_equal(one.image, other.image) and one.meta.geometry == other.meta.geometry
