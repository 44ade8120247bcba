"""Images as streams of ISMRMRD messages, in files and on standard output, as other programs read them."""

import io

import h5py
import ismrmrd
import ismrmrd.serialization
import numpy as np
import pytest
from forked import run_command
from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.errors import ConfigError
from cinerecon.evaluation.image_files import read_series
from cinerecon.io.mrd_stream.images import write_image_messages
from cinerecon.io.mrd_stream.messages import CloseMessage, ImageMessage, MessageId, read_messages
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SIZES = {"n_frames": 3, "ky": 24, "kx": 28, "n_coils": 3, "n_slices": 2}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("stream") / "scan.h5"
    simulate_scan(path, SimulateConfig(**SIZES))
    return path


def deserialized(content):
    """Header and images of a stream, by the reader of the ``ismrmrd`` package."""
    with ismrmrd.serialization.ProtocolDeserializer(io.BytesIO(content)) as reader:
        items = list(reader.deserialize())
    return items[0], [item for item in items if isinstance(item, ismrmrd.Image)]


def test_a_stream_holds_the_images_of_the_file(scan, tmp_path):
    outputs = ["-o", str(tmp_path / "c.mrd"), "-o", str(tmp_path / "c.h5"), "-o", str(tmp_path / "c.npz")]
    assert CliRunner().invoke(app, ["recon", str(scan), "-m", "zerofilled", "--snr", *outputs]).exit_code == 0
    header, images = deserialized((tmp_path / "c.mrd").read_bytes())
    assert header.encoding[0].reconSpace.matrixSize.x == 28
    file = ismrmrd.Dataset(str(tmp_path / "c.h5"), "dataset", create_if_needed=False)
    stored = [file.read_image(f"image_{series}", n) for series in (0, 1) for n in range(6)]
    file.close()
    assert len(images) == 12
    for one, other in zip(images, stored, strict=True):
        assert np.array_equal(one.data, other.data) and one.data.dtype == other.data.dtype
        assert bytes(one.getHead()) == bytes(other.getHead())
        assert one.attribute_string == other.attribute_string
    expected = np.load(tmp_path / "c.npz")
    assert np.array_equal([image.data[0, 0] for image in images[6:]], expected["image"].reshape(6, 24, 28))
    noise = deserialized((tmp_path / "c.noise.mrd").read_bytes())[1]
    assert np.allclose([image.data[0, 0] for image in noise], expected["noise"].reshape(6, 24, 28))
    series = read_series(tmp_path / "c.mrd")
    assert np.array_equal([part.image.numpy() for part in series], expected["image"])
    assert series[1].geometry == read_series(tmp_path / "c.h5")[1].geometry


def test_received_images_are_stored_with_the_field_names_of_the_format(scan, tmp_path):
    outputs = ["-o", str(tmp_path / "c.mrd"), "-o", str(tmp_path / "c.h5")]
    assert CliRunner().invoke(app, ["recon", str(scan), "-m", "zerofilled", *outputs]).exit_code == 0
    with (tmp_path / "c.mrd").open("rb") as stream:
        images = [message for message in read_messages(stream, "c.mrd") if isinstance(message, ImageMessage)]
    write_image_messages(tmp_path / "received.h5", images, "<ismrmrdHeader/>")
    with h5py.File(tmp_path / "c.h5") as expected, h5py.File(tmp_path / "received.h5") as received:
        for series in ("dataset/image_0/data", "dataset/image_1/data"):
            assert received[series].id.get_type() == expected[series].id.get_type(), series
            assert np.array_equal(received[series][:], expected[series][:])


def test_recon_works_in_a_pipe(scan, tmp_path):
    from cinerecon.io.mrd_stream.reader import write_raw_stream
    from cinerecon.io.raw_file import read_raw_scan

    stream = io.BytesIO()
    write_raw_stream(read_raw_scan(scan), stream)
    arguments = ["recon", "-", "-m", "zerofilled", "--snr", "-o", "-", "-o", tmp_path / "c.npz"]
    done = run_command(*arguments, stdin=stream.getvalue())
    assert done.returncode == 0, done.stderr
    messages = list(read_messages(io.BytesIO(done.stdout), "pipe"))
    assert messages[0].id is MessageId.HEADER and isinstance(messages[-1], CloseMessage)
    images = [message for message in messages if isinstance(message, ImageMessage)]
    by_series = {}
    for image in images:
        by_series.setdefault(int(image.head["image_series_index"]), []).append(image.values[0, 0])
    expected = np.load(tmp_path / "c.npz")
    assert sorted(by_series) == [0, 1, 2, 3]
    for number, name in ((1, "image"), (2, "snr"), (3, "noise")):
        assert np.allclose(by_series[number], expected[name].reshape(6, 24, 28)), name
    assert len(deserialized(done.stdout)[1]) == 24
    assert b"slice" in done.stderr and b"c.npz" in done.stderr and b"stdout.mrd" not in done.stderr


def test_a_failed_reconstruction_sends_nothing(scan):
    result = CliRunner().invoke(app, ["recon", str(scan), "-m", "zerofilled", "-o", "-", "--slice", "7"])
    assert result.exit_code != 0 and not result.stdout_bytes
    for options in (["--json"], ["-m", "cgsense"], ["-o", "-"]):
        command = ["recon", str(scan), "-m", "zerofilled", "-o", "-", *options]
        assert isinstance(CliRunner().invoke(app, command).exception, ConfigError), options
