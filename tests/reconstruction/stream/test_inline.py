"""Slices are sent while the scan is running, with the images of the file; what comes later is not ignored."""

import socket
import threading
import time
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest

from cinerecon.errors import CineReconError
from cinerecon.io.mrd_stream.images import is_error_image
from cinerecon.io.mrd_stream.messages import (
    AcquisitionMessage,
    CloseMessage,
    ImageMessage,
    MessageId,
    TextMessage,
    message_bytes,
    read_messages,
)
from cinerecon.io.mrd_stream.reader import scan_messages
from cinerecon.reconstruction.public import reconstruct
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.stream import session as session_module
from cinerecon.reconstruction.stream.client import exchange
from cinerecon.reconstruction.stream.incoming import IncomingScan
from cinerecon.reconstruction.stream.inline import InlineReconstruction
from cinerecon.reconstruction.stream.server import Server
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SCAN = SimulateConfig(n_frames=4, ky=32, kx=32, n_coils=3, n_slices=3, noise=0.003, undersample="gaussian:2,acs=6")
NOISE = 1 << 18
CALIBRATION = 1 << 19


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("inline") / "scan.h5"
    simulate_scan(path, SCAN)
    return path


@pytest.fixture(scope="module")
def images(scan):
    return [np.abs(part.image) for part in reconstruct(scan, method="cgsense", device="cpu")]


@pytest.fixture
def received(tmp_path):
    """Messages of a scan are taken in order; slices are reconstructed when they are complete, as in a session."""

    def take(messages, method="cgsense", settings=()):
        request = ReconRequest(Path("scan.h5"), method, device="cpu", settings=settings)
        early, late, errors = {}, {}, {}
        with IncomingScan(tmp_path / "spool", request, "client") as incoming:
            inline = None
            for message in messages:
                for number in incoming.add(message):
                    inline = inline or InlineReconstruction(incoming, lambda: None)
                    run(inline.complete_slice(number), early, errors)
            inline = inline or InlineReconstruction(incoming, lambda: None)
            for task in inline.other_slices():
                run(task, late, errors)
            return early, late, errors, inline.warnings()

    def run(task, images, errors):
        try:
            if task is not None:
                images[task.number] = task.run(), task.is_repeated
        except CineReconError as error:
            errors[task.number] = error.what

    return take


def assert_images(parts, images):
    assert sorted(parts) == list(images)
    for number, wanted in images.items():
        part, _ = parts[number]
        assert part.meta.slice == number
        np.testing.assert_allclose(np.abs(part.image), wanted, rtol=1e-6, atol=1e-6 * wanted.max())


def readouts_of(messages, number):
    return [m for m in messages if isinstance(m, AcquisitionMessage) and slice_of(m) == number]


def slice_of(message):
    return None if int(message.head["flags"]) & NOISE else int(message.head["idx"]["slice"])


def changed(message, flags=None, **counters):
    head = np.array([message.head])
    for name, value in counters.items():
        head["idx"][name] = value
    head["flags"] = head["flags"] if flags is None else flags
    return AcquisitionMessage(head[0], message.samples, message.trajectory)


def test_complete_slices_have_the_images_of_the_file(scan, images, received):
    early, late, errors, warnings = received([*scan_messages(scan), CloseMessage()])
    assert_images(early, dict(enumerate(images)))
    assert not late and not errors and not warnings
    assert not any(part.warnings for part, _ in early.values())


def test_slices_whose_times_differ_by_rounding_are_not_sent_again(tmp_path, received):
    """The times of the frames are means of time stamps since the first readout of the slice or of the scan."""
    path = tmp_path / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=3, ky=24, kx=24, n_coils=3, n_slices=2, noise=0.003))
    early, late, *_ = received([*scan_messages(path), CloseMessage()], "zerofilled")
    assert len(early) == 2 and not late


def test_series_and_study_of_early_slices_are_those_of_one_scan(scan, received):
    early, *_ = received([*scan_messages(scan), CloseMessage()])
    assert len({part.cine.provenance.series for part, _ in early.values()}) == 1


def test_both_sets_of_phase_contrast_are_awaited(tmp_path, received):
    path = tmp_path / "flow.h5"
    simulate_scan(path, SCAN.model_copy(update={"venc": 150.0, "undersample": None}))
    early, late, *_ = received([*scan_messages(path), CloseMessage()], "zerofilled")
    expected = reconstruct(path, method="zerofilled", device="cpu")
    assert_images(early, {number: np.abs(part.image) for number, part in enumerate(expected)})
    np.testing.assert_allclose(early[1][0].cine.velocity, expected[1].cine.velocity, rtol=1e-5, atol=1e-3)
    assert not late


def test_noise_after_the_slices_is_used_for_them(scan, images, received):
    messages = list(scan_messages(scan))
    noise = [m for m in messages if isinstance(m, AcquisitionMessage) and slice_of(m) is None]
    early, late, *_ = received([m for m in messages if m not in noise] + noise)
    assert len(early) == 3 and all(is_repeated for _, is_repeated in late.values())
    assert_images(late, dict(enumerate(images)))


def test_readouts_after_a_slice_was_complete_are_used(scan, images, received):
    messages = list(scan_messages(scan))
    late_line = readouts_of(messages, 0)[5]
    rest = [m for m in messages if m is not late_line]
    early, late, *_ = received([*rest, late_line])
    assert sorted(early) == [0, 1, 2]
    assert_images(late, {0: images[0]})
    assert late[0][1] and np.abs(np.abs(early[0][0].image) - images[0]).max() > 1e-3 * images[0].max()


def test_interleaved_slices_without_flags_wait_for_the_end(scan, images, received):
    messages = [changed(m, flags=int(m.head["flags"]) & NOISE) if hasattr(m, "samples") else m
                for m in scan_messages(scan)]  # fmt: skip
    n_first = len(messages) - sum(len(readouts_of(messages, number)) for number in range(3))
    in_turn = [m for group in zip(*(readouts_of(messages, n) for n in range(3)), strict=True) for m in group]
    early, late, *_ = received([*messages[:n_first], *in_turn])
    assert not early and not any(is_repeated for _, is_repeated in late.values())
    assert_images(late, dict(enumerate(images)))


def test_a_damaged_slice_fails_and_the_others_do_not_wait(scan, images, received):
    messages = list(scan_messages(scan))
    readouts_of(messages, 1)[7].samples.flags.writeable = True
    readouts_of(messages, 1)[7].samples[3] = np.nan
    early, late, errors, warnings = received(messages)
    assert list(errors) == [1] and "NaN" in errors[1] and not late
    assert_images(early, {0: images[0], 2: images[2]})
    assert not warnings


def test_a_slice_with_an_impossible_line_fails_and_the_whole_scan_is_reported(scan, images, received):
    messages = list(scan_messages(scan))
    damaged = readouts_of(messages, 1)[7]
    messages[next(n for n, m in enumerate(messages) if m is damaged)] = changed(damaged, kspace_encode_step_1=60000)
    early, late, errors, warnings = received(messages)
    assert list(errors) == [1] and not late
    assert_images(early, {0: images[0], 2: images[2]})
    assert "all slices together are not a valid scan" in warnings[0]


def test_slices_gated_by_time_wait_for_the_end(tmp_path, received):
    path = tmp_path / "gated.h5"
    config = {"segments": 8, "rr_variation": 0.1, "n_slices": 2, "undersample": None, "n_frames": 8}
    simulate_scan(path, SimulateConfig(**SCAN.model_dump() | config))
    early, late, *_ = received([*scan_messages(path), CloseMessage()], "zerofilled")
    wanted = [np.abs(part.image) for part in reconstruct(path, method="zerofilled", device="cpu")]
    assert not early
    assert_images(late, dict(enumerate(wanted)))


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setattr(session_module, "DISCARD_SECONDS", 0.5)
    request = ReconRequest(Path("scan.h5"), "cgsense", device="cpu")
    with Server(request, "127.0.0.1", 0, idle_seconds=20) as running:
        thread = threading.Thread(target=running.run)
        thread.start()
        yield f"127.0.0.1:{running.port}"
        running.stop()
        thread.join()


def test_images_arrive_while_the_scan_is_running(address, scan, images):
    """The first slice arrives before half of the scan has been sent."""
    n_readouts = sum(isinstance(m, AcquisitionMessage) for m in scan_messages(scan))
    pace_ms = 20
    start, arrived, values = time.monotonic(), {}, {}
    for message in exchange(scan, address, pace_ms=pace_ms):
        if isinstance(message, ImageMessage):
            number = int(message.head["slice"])
            arrived.setdefault(number, time.monotonic() - start)
            values.setdefault(number, []).append(message.values[0, 0])
    assert arrived[0] < arrived[1] < arrived[2] and arrived[0] < 0.75 * n_readouts * pace_ms / 1e3
    for number, wanted in enumerate(images):
        np.testing.assert_allclose(np.stack(values[number]), wanted, rtol=1e-6, atol=1e-6 * wanted.max())


def cut(messages, slices):
    """The messages before half of the readouts of the last slice, without a close message."""
    last = readouts_of(messages, slices)
    return b"".join(map(message_bytes, messages[: messages.index(last[len(last) // 2])]))


def answer_to(address, data):
    """Texts and images with which a server answers the bytes of a client that sends no more."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    messages = list(read_messages(BytesIO(answer), "server"))
    images = [m for m in messages if isinstance(m, ImageMessage)]
    assert isinstance(messages[-1], CloseMessage) and not any(map(is_error_image, images))
    return [m.text for m in messages if isinstance(m, TextMessage)], [m.values[0, 0] for m in images]


END = "warning: the stream ended without a close message: slice 2 was not complete and is omitted"


@pytest.mark.parametrize(("rest", "text"), [(b"", END), (b"\x99\x99", "error: the stream is damaged at message")])
def test_a_stream_without_its_end_gives_the_complete_slices_and_a_text(address, scan, images, rest, text):
    texts, values = answer_to(address, cut(list(scan_messages(scan)), 2) + rest)
    assert len(texts) == 1 and texts[0].startswith(text)
    np.testing.assert_allclose(np.stack(values), np.concatenate(images[:2]), rtol=1e-6, atol=1e-6 * np.max(values))


def test_a_stream_that_ends_within_its_first_slice_is_an_error(address, scan):
    texts, values = answer_to(address, cut(list(scan_messages(scan)), 0))
    assert not values and texts[0].startswith("error: the stream is truncated")


def test_the_file_on_disk_is_gone_at_the_end_of_a_scan(scan, tmp_path):
    request = ReconRequest(Path("scan.h5"), "cgsense", device="cpu")
    path = tmp_path / "spool"
    with IncomingScan(path, request, "client") as incoming:
        for message in scan_messages(scan):
            incoming.add(message)
        raw = incoming.spool.scan()
        with h5py.File(scan) as file:
            stored = file["dataset/data"][:]
        assert (raw.heads == stored["head"]).all() and path.exists()
        rows = np.array([0, 3, len(raw) - 1])
        for samples, expected in zip(raw.store.read("data", rows), stored["data"][rows], strict=True):
            np.testing.assert_array_equal(samples, expected.view(np.complex64))
    assert not path.exists()


def test_trajectories_are_stored_next_to_the_samples(tmp_path, scan):
    header, first = next(m for m in scan_messages(scan) if isinstance(m, TextMessage)), None
    first = next(m for m in scan_messages(scan) if isinstance(m, AcquisitionMessage))
    assert header.id is MessageId.HEADER
    head = np.array([first.head])
    head["trajectory_dimensions"] = 2
    path = np.arange(2 * int(head["number_of_samples"][0]), dtype=np.float32)
    with IncomingScan(tmp_path / "spool", ReconRequest(Path("x.h5"), "cgsense"), "client") as incoming:
        for message in (header, first, AcquisitionMessage(head[0], first.samples, path), first):
            incoming.add(message)
        raw = incoming.spool.scan(np.array([1, 2]))
        (_, trajectory), = raw.trajectories(np.array([0]))  # fmt: skip
        np.testing.assert_array_equal(trajectory[0], path.reshape(-1, 2))
        np.testing.assert_array_equal(raw.samples(np.array([0, 1]))[1].ravel(), first.samples)
