"""The connection of a server: what ends it, and what does not."""

import socket
import threading
import time
from io import BufferedReader

import pytest

from cinerecon.io.mrd_stream.messages import MessageId, TextMessage, message_bytes
from cinerecon.reconstruction.stream import channel as channel_module
from cinerecon.reconstruction.stream.channel import Channel, LostConnectionError

LARGE = TextMessage(MessageId.TEXT, bytes(8 << 20))


@pytest.fixture
def pair(monkeypatch):
    monkeypatch.setattr(channel_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(channel_module, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(channel_module, "LONGEST_SECONDS", 0.5)
    ours, theirs = socket.socketpair()
    stop = threading.Event()
    with Channel(ours, 0.3, stop) as channel, theirs:
        yield channel, theirs, stop


def read(channel, count):
    buffer = bytearray(count)
    return bytes(buffer[: channel.readinto(buffer)])


def test_bytes_come_and_go(pair):
    channel, theirs, _ = pair
    theirs.sendall(b"abc")
    assert read(channel, 8) == b"abc"
    channel.send(TextMessage(MessageId.TEXT, b"text"))
    assert theirs.recv(100) == message_bytes(TextMessage(MessageId.TEXT, b"text"))
    theirs.shutdown(socket.SHUT_WR)
    assert read(channel, 8) == b"" and not channel.is_stopped and not channel.is_lost


def test_a_silent_client_is_lost(pair):
    channel, *_ = pair
    with pytest.raises(LostConnectionError, match=r"no data for 0.3 s"):
        read(channel, 8)
    with pytest.raises(LostConnectionError):
        channel.require_open()


def test_a_client_that_takes_nothing_is_lost_unless_it_sends(pair):
    channel, theirs, _ = pair
    sending = threading.Thread(target=lambda: [time.sleep(0.1) or theirs.sendall(b"x") for _ in range(8)])
    reading = threading.Thread(target=lambda: [read(channel, 8) for _ in range(8)])
    start = time.monotonic()
    sending.start()
    reading.start()
    with pytest.raises(LostConnectionError):
        channel.send(LARGE)
    assert time.monotonic() - start > 0.8
    sending.join()
    reading.join()


def test_a_client_that_is_gone_is_lost(pair):
    channel, theirs, _ = pair
    theirs.close()
    with pytest.raises(LostConnectionError):
        channel.send(LARGE)
    assert channel.is_lost


def test_the_stream_of_a_quiet_client_ends_when_the_server_is_to_stop(pair):
    channel, theirs, stop = pair
    theirs.sendall(b"abc")
    stop.set()
    assert BufferedReader(channel).read(8) == b"abc" and channel.is_stopped


def test_a_client_that_goes_on_sending_has_some_time_when_the_server_is_to_stop(pair):
    channel, theirs, stop = pair
    is_over = threading.Event()
    thread = threading.Thread(target=lambda: [theirs.sendall(b"x") for _ in iter(lambda: is_over.wait(0.02), True)])
    thread.start()
    stop.set()
    start = time.monotonic()
    while read(channel, 1):
        pass
    assert 0.4 < time.monotonic() - start < 3 and channel.is_stopped
    is_over.set()
    thread.join()
