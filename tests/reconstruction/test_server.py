"""The server over loopback: its images are those of the file, and no client brings it down."""

import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest

from cinerecon.cli import load_command
from cinerecon.io.mrd_stream.hdf5 import scan_messages
from cinerecon.io.mrd_stream.messages import (
    CloseMessage,
    ImageMessage,
    MessageId,
    TextMessage,
    message_bytes,
    read_messages,
)
from cinerecon.reconstruction import ReconRequest, export, reconstruct
from cinerecon.reconstruction import session as session_module
from cinerecon.reconstruction.client import exchange
from cinerecon.reconstruction.server import Server
from cinerecon.simulation.scan import SimulateConfig, simulate_scan
from tests.helpers import formats_folder


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=3, ky=24, kx=24, n_coils=3, n_slices=2, noise=0.003))
    return path


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(session_module, "DISCARD_SECONDS", 0.5)
    request = ReconRequest(Path("scan.h5"), "zerofilled", device="cpu")
    with Server(request, "127.0.0.1", 0, idle_seconds=5) as running:
        thread = threading.Thread(target=running.run)
        thread.start()
        yield running
        running.stop()
        thread.join()
    assert not list(folder.iterdir())


def address_of(server):
    return f"127.0.0.1:{server.port}"


def values_of(messages):
    return np.stack([m.values[0, 0] for m in messages if isinstance(m, ImageMessage)])


def texts_of(messages):
    return [m.text for m in messages if isinstance(m, TextMessage)]


def send_bytes(server, data):
    """All bytes of the answer; what the client sends may be refused half way."""
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(1 << 16):
                answer += piece
        except ConnectionError:
            pass
    return bytes(answer)


def expected(scan):
    return np.concatenate([np.abs(part.image) for part in reconstruct(scan, method="zerofilled", device="cpu")])


def test_images_of_several_clients_are_those_of_the_file(server, scan):
    sent = b"".join(map(message_bytes, [*scan_messages(scan), CloseMessage()]))
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: send_bytes(server, sent), range(3)))
    for answer in answers:
        messages = list(read_messages(BytesIO(answer), "server"))
        np.testing.assert_allclose(values_of(messages), expected(scan), rtol=1e-6, atol=1e-9)
        assert isinstance(messages[-1], CloseMessage)


def test_headers_are_those_of_the_image_file(server, scan, tmp_path):
    images = [m for m in exchange(scan, address_of(server)) if isinstance(m, ImageMessage)]
    export(reconstruct(scan, method="zerofilled", device="cpu"), tmp_path / "file.h5")
    with h5py.File(tmp_path / "file.h5") as file:
        stored = file["dataset/image_0/header"][:]
    sent = np.array([image.head for image in images])
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "field_of_view", "slice", "phase", "image_index"):
        np.testing.assert_array_equal(sent[name], stored[name])
    assert "Keep_image_geometry" in images[0].attributes


def test_send_writes_the_images(server, scan, tmp_path):
    output = tmp_path / "out.h5"
    arguments = [str(scan), address_of(server), "-o", str(output), "--pace", "0.1"]
    load_command("send").main(arguments, standalone_mode=False)
    with h5py.File(output) as file:
        np.testing.assert_allclose(file["dataset/image_0/data"][:, 0, 0], expected(scan), rtol=1e-6, atol=1e-9)


def test_the_configuration_chooses_the_method(server, scan):
    messages = list(exchange(scan, address_of(server), config="cgsense"))
    wanted = np.concatenate([np.abs(part.image) for part in reconstruct(scan, method="cgsense", device="cpu")])
    np.testing.assert_allclose(values_of(messages), wanted, rtol=1e-5, atol=1e-7)


def test_a_slice_that_fails_leaves_the_others(server, scan, monkeypatch):
    original = session_module.iterate_slices

    def failing(request, method):
        if request.slices == (0,):
            raise session_module.DataError("broken")
        return original(request, method)

    monkeypatch.setattr(session_module, "iterate_slices", failing)
    messages = list(exchange(scan, address_of(server)))
    assert any(text.startswith("error: slice 0: broken") for text in texts_of(messages))
    np.testing.assert_allclose(values_of(messages), expected(scan)[3:], rtol=1e-6, atol=1e-9)


@pytest.fixture(params=["simplefft", "invertcontrast"])
def recorded(request):
    path = formats_folder() / "stream" / request.param / "client_to_server.bin"
    if not path.exists():
        pytest.skip("the recorded streams are not here")
    return path


def test_recorded_clients_get_an_error_text(recorded, server):
    answer = send_bytes(server, recorded.read_bytes())
    assert recorded.parent.name.encode() in answer
    assert answer.endswith(message_bytes(CloseMessage()))


def test_mutated_streams_and_dropped_connections_do_no_harm(server, scan):
    config = TextMessage(MessageId.CONFIG_FILE, b"zerofilled")
    whole = b"".join(map(message_bytes, [config, *scan_messages(scan), CloseMessage()]))
    rng = np.random.default_rng(0)

    def send_mutated(number):
        data = bytearray(whole)
        for position in rng.integers(0, 8000, 3):
            data[position] = rng.integers(256)
        length = len(data) if number % 10 == 0 else rng.integers(len(data))
        send_bytes(server, data[:length])

    for number in range(200):
        send_mutated(number)
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(whole[:5000])
    time.sleep(0.1)
    np.testing.assert_allclose(values_of(exchange(scan, address_of(server))), expected(scan), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_the_command_finishes_a_connection_after_sigterm(scan):
    command = [
        sys.executable,
        "-m",
        "cinerecon.cli",
        "serve",
        "--port",
        "0",
        "--model",
        "zerofilled",
        "--device",
        "cpu",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        port = process.stdout.readline().split(",")[0].rpartition(":")[2]
        messages = exchange(scan, f"127.0.0.1:{port}", pace_ms=5)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(list, messages)
            time.sleep(0.4)
            process.send_signal(signal.SIGTERM)
            np.testing.assert_allclose(values_of(answer.result()), expected(scan), rtol=1e-6, atol=1e-9)
        assert process.wait(20) == 0
