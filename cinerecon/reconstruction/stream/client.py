"""A client of an MRD server, which sends a stored scan and receives images and texts."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from socket import SHUT_RDWR, create_connection, socket
from threading import Thread

from cinerecon.errors import CineReconError, ConfigError, FileError
from cinerecon.io.mrd_stream.messages import (
    AcquisitionMessage,
    CloseMessage,
    Message,
    MessageId,
    TextMessage,
    message_bytes,
    read_messages,
)
from cinerecon.io.mrd_stream.reader import messages_of_scan, scan_messages
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.io.recognise import is_mrd2, is_mrd_stream, is_twix
from cinerecon.io.twix.noise import with_noise
from cinerecon.io.untrusted import reason_of

WAIT_SECONDS = 3600.0
"""Longest time without a response [s]."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``.

    Raises
    ------
    ConfigError
        If the text does not have this form.
    """
    host, sign, port = address.rpartition(":")
    if not sign or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"'{address}' is not an address", where="address", hint="localhost:9002")
    return host, int(port)


def exchange(
    scan: Path,
    address: str,
    config: str = "",
    pace_ms: float = 0.0,
    on_sent: Callable[[Message], None] = lambda _: None,
) -> Iterator[Message]:
    """Send a scan, and yield the messages of the server as they arrive, up to its close message.

    Parameters
    ----------
    scan
        Raw scan of any format.
    address
        ``host:port``
    config
        Name of the configuration, which for `cinerecon serve` is a method; empty for the default of the server.
    pace_ms
        Time between readouts [ms].
    on_sent
        Called with each message of the scan after it was sent.

    Raises
    ------
    FileError
        If the scan cannot be read, or the connection fails or is lost.
    """
    try:
        with create_connection(split_address(address), timeout=30) as connection:
            connection.settimeout(WAIT_SECONDS)
            answers = _Answers(connection, address)
            try:
                connection.sendall(message_bytes(TextMessage(MessageId.CONFIG_FILE, config.encode())))
                yield from _send(scan, pace_ms, on_sent, connection, answers)
                yield from answers.until(None)
            finally:
                answers.stop()
    except OSError as error:
        raise _failed(error, address) from None


def _failed(error: OSError, address: str) -> FileError:
    hint = "check the address, and that the server is running, e.g. cinerecon serve"
    return FileError(f"the connection failed: {reason_of(error)}", where=address, hint=hint)


def messages_of(scan: Path) -> Iterator[Message]:
    """The messages of a raw scan of any format, without configuration and close message; HDF5 as it is stored.

    Raises
    ------
    FileError, HeaderError, DataError, UnsupportedError
        If the scan cannot be read.
    """
    if not (is_mrd2(scan) or is_mrd_stream(scan) or is_twix(scan)):
        yield from scan_messages(scan)
        return
    for message in messages_of_scan(with_noise(read_raw_scan(scan))):
        if not isinstance(message, CloseMessage):
            yield message


def _send(
    scan: Path, pace_ms: float, on_sent: Callable[[Message], None], connection: socket, answers: "_Answers"
) -> Iterator[Message]:
    """Send a scan until the server ends the exchange, e.g. after an error, and yield the messages that arrive."""
    start, n_readouts = time.perf_counter(), 0
    with suppress(ConnectionError):
        for message in messages_of(scan):
            connection.sendall(message_bytes(message))
            on_sent(message)
            n_readouts += isinstance(message, AcquisitionMessage)
            yield from answers.until(start + n_readouts * pace_ms / 1e3)
            if answers.are_complete:
                return
        connection.sendall(message_bytes(CloseMessage()))


class _Answers:
    """The messages of a server, received by a separate thread while the scan is being sent.

    Attributes
    ----------
    are_complete
        Whether the close message was returned.
    """

    def __init__(self, connection: socket, address: str) -> None:
        self._connection = connection
        self._received: SimpleQueue[Message | CineReconError] = SimpleQueue()
        self._thread = Thread(target=self._receive, args=(address,), daemon=True)
        self._thread.start()
        self.are_complete = False

    def until(self, end: float | None) -> Iterator[Message]:
        """The messages that arrive up to a time, by ``time.perf_counter``; None: up to the close message."""
        while not self.are_complete:
            try:
                if end is None:
                    answer = self._received.get()
                else:
                    wait = end - time.perf_counter()
                    answer = self._received.get(timeout=wait) if wait > 0 else self._received.get_nowait()
            except Empty:
                return
            if isinstance(answer, Exception):
                raise answer
            self.are_complete = isinstance(answer, CloseMessage)
            yield answer

    def stop(self) -> None:
        """End the connection and the thread."""
        with suppress(OSError):
            self._connection.shutdown(SHUT_RDWR)
        self._thread.join()

    def _receive(self, address: str) -> None:
        try:
            with self._connection.makefile("rb") as source:
                for message in read_messages(source, address):
                    self._received.put(message)
        except CineReconError as error:
            self._received.put(error)
        except OSError as error:
            self._received.put(_failed(error, address))  # `_send` would ignore it as an error of sending
