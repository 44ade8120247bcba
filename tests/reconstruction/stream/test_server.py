"""The server over loopback: its images are those of the file, and no client brings it down."""

import errno
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from helpers import call_main, formats_folder
from timed_scan import ARRHYTHMIC, changed, simulated

from cinerecon.cli import load_command
from cinerecon.errors import CineReconError, ConfigError, FileError
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd_stream.images import is_error_image
from cinerecon.io.mrd_stream.messages import (
    HEAD,
    AcquisitionMessage,
    ArrayMessage,
    CloseMessage,
    ImageMessage,
    MessageId,
    TextMessage,
    message_bytes,
    read_messages,
)
from cinerecon.io.mrd_stream.reader import scan_messages, write_raw_stream
from cinerecon.io.raw_file import read_raw_scan, write_raw_scan
from cinerecon.reconstruction.public import export, reconstruct
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.stream import session as session_module
from cinerecon.reconstruction.stream.client import exchange
from cinerecon.reconstruction.stream.incoming import IncomingScan
from cinerecon.reconstruction.stream.server import Server
from cinerecon.reconstruction.stream.session import REPEATED_SERIES
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

BAD = formats_folder() / "bad"
MANIFEST = json.loads((BAD / "manifest.json").read_text()) if BAD.exists() else {}


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


def expected(scan, **options):
    parts = reconstruct(scan, method="zerofilled", device="cpu", **options)
    return np.concatenate([np.abs(part.image) for part in parts])


def intact_slices(scan, n_slices=2):
    """The images of the slices that can be reconstructed although the scan cannot."""
    for index in range(n_slices):
        with suppress(CineReconError):
            yield expected(scan, slices=[index])


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


def test_send_refuses_other_formats_and_long_names(server, scan, tmp_path):
    arguments = [str(scan), address_of(server), "-o"]
    with pytest.raises(ConfigError, match=r"written as ISMRMRD file, \.h5"):
        load_command("send").main([*arguments, str(tmp_path / "out.nii.gz")], standalone_mode=False)
    with pytest.raises(ConfigError, match="the configuration has 1024 bytes, at most 1023"):
        load_command("send").main([*arguments, str(tmp_path / "out.h5"), "--config", 1024 * "x"], standalone_mode=False)


def test_a_server_that_returns_nothing_is_an_error(scan, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def answer():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as source:
                assert list(read_messages(source, "client"))
                connection.sendall(message_bytes(CloseMessage()))

        done = pool.submit(answer)
        arguments = [str(scan), f"127.0.0.1:{listener.getsockname()[1]}", "-o", str(tmp_path / "out.h5")]
        with pytest.raises(FileError, match="the server returned no images"):
            load_command("send").main(arguments, standalone_mode=False)
        done.result()


@pytest.mark.parametrize("end", ["closed", "truncated", "interrupted"])
def test_send_keeps_the_images_before_the_connection_was_lost(server, scan, tmp_path, monkeypatch, capsys, end):
    images = [message for message in exchange(scan, address_of(server)) if isinstance(message, ImageMessage)]
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def answer():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as source:
                assert list(read_messages(source, "client"))
                connection.sendall(b"".join(map(message_bytes, images[:4])))
                connection.sendall(message_bytes(images[4])[:100] if end == "truncated" else b"")
                if end == "interrupted":
                    connection.sendall(message_bytes(images[4]))
                    assert source.read() == b""

        seen = []

        def stop_at_the_fifth(message):
            seen.append(message)
            if len(seen) == 5:
                raise KeyboardInterrupt
            return False

        monkeypatch.setattr("cinerecon.io.mrd_stream.images.is_error_image", stop_at_the_fifth)
        done = pool.submit(answer)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        code = call_main(monkeypatch, "send", scan, address, "-o", tmp_path / "out.h5")
        done.result()
    errors = capsys.readouterr().err
    assert "warning  the server did not finish: images may be missing" in errors
    assert code == (130 if end == "interrupted" else 2)
    assert ("stopped  images that had arrived" if end == "interrupted" else "error  ") in errors
    with h5py.File(tmp_path / "out.h5") as file:
        np.testing.assert_array_equal(file["dataset/image_0/data"][:, 0, 0], values_of(images[:4]))


def test_a_server_that_is_killed_while_it_receives_ends_the_exchange(scan):
    """The connection is reset, as by the system for a process that ends with data unread."""
    errors, has_sent = [], threading.Event()

    def note(message):
        if isinstance(message, AcquisitionMessage):
            has_sent.set()

    def send():
        try:
            list(exchange(scan, f"127.0.0.1:{listener.getsockname()[1]}", pace_ms=1000, on_sent=note))
        except FileError as error:
            errors.append(error)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = threading.Thread(target=send, daemon=True)
        client.start()
        connection, _ = listener.accept()
        assert has_sent.wait(10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        client.join(timeout=10)
    assert not client.is_alive()
    assert len(errors) == 1 and errors[0].what.startswith("the connection failed: ")


@pytest.mark.parametrize("ending", [".mrd", ".mrd2"])
def test_scans_of_other_formats_are_sent(server, scan, tmp_path, ending):
    write_raw_scan(read_raw_scan(scan), tmp_path / f"scan{ending}")
    images = exchange(tmp_path / f"scan{ending}", address_of(server))
    np.testing.assert_allclose(values_of(images), expected(scan), rtol=1e-6, atol=1e-9)


def test_the_configuration_chooses_the_method(server, scan):
    messages = list(exchange(scan, address_of(server), config="cgsense"))
    wanted = np.concatenate([np.abs(part.image) for part in reconstruct(scan, method="cgsense", device="cpu")])
    np.testing.assert_allclose(values_of(messages), wanted, rtol=1e-5, atol=1e-7)


def test_a_slice_that_fails_has_an_error_image_and_leaves_the_others(server, scan, tmp_path):
    damaged = tmp_path / "damaged.h5"
    shutil.copy(scan, damaged)
    with h5py.File(damaged, "r+") as file:
        rows = file["dataset/data"][:]
        for row in np.flatnonzero((rows["head"]["idx"]["slice"] == 0) & (rows["head"]["flags"] != 1 << 18)):
            rows["data"][row][:] = 0
        file["dataset/data"][:] = rows
        head = rows["head"][row]
    messages = list(exchange(damaged, address_of(server)))
    assert any(text.startswith("error: slice 0: all samples are zero") for text in texts_of(messages))
    images = [m for m in messages if isinstance(m, ImageMessage)]
    errors = [m for m in images if is_error_image(m)]
    np.testing.assert_allclose(values_of(images[len(errors) :]), expected(scan)[3:], rtol=1e-6, atol=1e-9)
    assert len(errors) == 1 and "all samples are zero" in errors[0].attributes
    assert errors[0].head["slice"] == 0 and (errors[0].head["position"] == head["position"]).all()
    assert errors[0].values.max() > 0 and errors[0].values.shape == (1, 1, 128, 128)
    output = tmp_path / "out.h5"
    arguments = [str(damaged), address_of(server), "-o", str(output)]
    assert load_command("send").main(arguments, standalone_mode=False) == 2
    with h5py.File(output) as file:
        assert list(file["dataset"]) == ["image_0", "xml"] and len(file["dataset/image_0/data"]) == 3


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


def test_waveforms_and_arrays_may_precede_the_header(server, tmp_path):
    """A scan whose R waves are in its ECG alone, which arrives first, together with signals of other kinds."""
    arrhythmic = simulated(tmp_path, ARRHYTHMIC)
    path = changed(arrhythmic, tmp_path / "ecg.h5", lambda heads: heads["physiology_time_stamp"].fill(0))
    messages = list(scan_messages(path))
    waveforms = [message for message in messages if isinstance(message, Waveform)]
    pulse = [replace(block, number=1, values=0 * block.values) for block in waveforms]
    others = [message for message in messages if not isinstance(message, Waveform)]
    early = [ArrayMessage(np.arange(5.0)), *pulse, *waveforms]
    stream = b"".join(map(message_bytes, [*early, *others, CloseMessage()]))
    answer = list(read_messages(BytesIO(send_bytes(server, stream)), "server"))
    wanted = expected(path)
    assert len(wanted) == 25 and any("heartbeats are rejected" in text for text in texts_of(answer))
    np.testing.assert_allclose(values_of(answer), wanted, rtol=1e-6, atol=1e-9 * wanted.max())


def mutated(whole, rng):
    """A stream with a few wrong bytes, most of them near the start, or cut."""
    data = bytearray(whole)
    for position in np.concatenate([rng.integers(0, 8000, 3), rng.integers(0, len(data), 1)]):
        data[position] = rng.integers(256)
    return bytes(data if rng.random() < 0.7 else data[: rng.integers(len(data))])


def stream_of(scan):
    config = TextMessage(MessageId.CONFIG_FILE, b"zerofilled")
    return b"".join(map(message_bytes, [config, *scan_messages(scan), CloseMessage()]))


def test_hundreds_of_mutated_streams_are_read_or_refused(scan, tmp_path):
    """The readers of a session, without its connection."""
    whole, rng = stream_of(scan), np.random.default_rng(1)
    request = ReconRequest(Path("scan.h5"), "zerofilled", device="cpu")
    verdicts = Counter()
    for _ in range(300):
        try:
            with IncomingScan(tmp_path / "spool", request, "client") as incoming:
                for message in read_messages(BytesIO(mutated(whole, rng)), "client"):
                    incoming.add(message)
                verdicts[bool(incoming.spool.scan())] += 1
        except CineReconError as error:
            verdicts[type(error).__name__] += 1
        assert not list(tmp_path.iterdir())
    assert sum(verdicts.values()) == 300 and verdicts[True] > 15 and verdicts["CutStreamError"] > 15


def test_mutated_streams_and_dropped_connections_do_no_harm(server, scan, caplog):
    whole, rng = stream_of(scan), np.random.default_rng(0)
    for _ in range(40):
        send_bytes(server, mutated(whole, rng))
    for n_bytes in (2, 5000, len(whole) - 2):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(whole[:n_bytes])
    np.testing.assert_allclose(values_of(exchange(scan, address_of(server))), expected(scan), rtol=1e-6, atol=1e-9)
    assert "unexpected error" not in caplog.text


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_defects_of_files_are_judged_in_streams_as_in_files(server, tmp_path, name):
    """A slice is refused, or its images are those of the file; with all of it converted that a stream can hold."""
    try:
        raw = read_raw_scan(BAD / name)
        stream = BytesIO()
        write_raw_stream(raw, stream)
    except CineReconError:
        return  # a defect of the container
    messages = list(read_messages(BytesIO(send_bytes(server, stream.getvalue())), "server"))
    images = [m for m in messages if isinstance(m, ImageMessage) and not is_error_image(m)]
    repeated = {int(m.head["slice"]) for m in images if m.head["image_series_index"] == REPEATED_SERIES}
    images = [m for m in images if m.head["slice"] not in repeated or m.head["image_series_index"] == REPEATED_SERIES]
    images.sort(key=lambda m: float(m.head["position"] @ m.head["slice_dir"]))  # slices are sent as they are complete
    errors = [text for text in texts_of(messages) if text.startswith("error")]
    assert isinstance(messages[-1], CloseMessage) and "unexpected" not in "".join(errors)
    try:
        wanted = expected(BAD / name)
    except CineReconError:
        intact = [frame for images_of_slice in intact_slices(BAD / name) for frame in images_of_slice]
        assert errors and len(images) == len(intact)
        if intact:
            np.testing.assert_allclose(values_of(images), intact, rtol=1e-6, atol=1e-9 * np.max(intact))
    else:
        np.testing.assert_allclose(values_of(images), wanted, rtol=1e-6, atol=1e-9 * wanted.max())
        assert not errors and MANIFEST[name]["kind"] != "bad"


def test_sizes_that_a_message_claims_are_bounded():
    head = np.zeros(1, HEAD)
    head["number_of_samples"], head["active_channels"] = 65535, 65535
    data = message_bytes(AcquisitionMessage(head[0], np.zeros(0, np.complex64), np.zeros(0, np.float32)))
    with pytest.raises(FileError, match="its samples claim 34358689800 bytes, at most 1073741824"):
        next(read_messages(BytesIO(data), "stream"))


@contextmanager
def command(*arguments):
    """The command in a process of its own, and its port."""
    program = [sys.executable, "-m", "cinerecon.cli", "serve", "--port", "0", "--device", "cpu", *arguments]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process, process.stdout.readline().split(",")[0].rpartition(":")[2]
        finally:
            process.kill()


@pytest.mark.slow
def test_the_command_finishes_a_connection_after_sigterm(scan):
    with command("--model", "zerofilled") as (process, port):
        messages = []
        for message in exchange(scan, f"127.0.0.1:{port}", pace_ms=5):
            if not messages:  # the second slice is still being sent
                process.send_signal(signal.SIGTERM)
            messages.append(message)
        np.testing.assert_allclose(values_of(messages), expected(scan), rtol=1e-6, atol=1e-9)
        assert process.wait(20) == 0


@pytest.mark.slow
def test_idle_clients_do_not_delay_the_end_of_the_command(scan):
    with command("--model", "zerofilled") as (process, port):
        with (
            socket.create_connection(("127.0.0.1", int(port))),
            socket.create_connection(("127.0.0.1", int(port))) as idle,
        ):
            idle.sendall(stream_of(scan)[:-2])
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
            messages = list(read_messages(idle.makefile("rb"), "server"))
        assert len(values_of(messages)) == 6 and "the server is being stopped" in "".join(texts_of(messages))


@pytest.mark.slow
def test_memory_does_not_grow_from_scan_to_scan(scan):
    with command("--model", "cgsense") as (process, port):
        memory_kb = []
        for _ in range(10):
            assert len(values_of(exchange(scan, f"127.0.0.1:{port}"))) == 6
            time.sleep(0.1)
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            memory_kb.append(int(re.search(r"VmRSS:\s+(\d+)", status)[1]))
    assert max(memory_kb[3:]) < memory_kb[2] + 8000


def test_the_server_waits_where_no_connection_can_be_accepted(scan, monkeypatch, caplog):
    """Where all file descriptors are in use, each attempt fails at once."""
    events = []
    with Server(ReconRequest(scan, "zerofilled"), "127.0.0.1", 0) as server:

        def accept():
            events.append("accept")
            if events.count("accept") == 3:
                server.stop()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        monkeypatch.setattr(server, "_listener", SimpleNamespace(accept=accept, close=server._listener.close))
        monkeypatch.setattr(server._stop, "wait", lambda _: events.append("wait"))
        server.run()
    assert events == ["accept", "wait"] * 3
    assert "cannot accept connections: " in caplog.text
