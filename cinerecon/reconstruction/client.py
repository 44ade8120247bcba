"""A client of an MRD server: sends a stored scan and receives images and texts."""

import time
from collections.abc import Iterator
from pathlib import Path
from socket import create_connection

from cinerecon.errors import ConfigError, FileError
from cinerecon.io.mrd_stream.hdf5 import scan_messages
from cinerecon.io.mrd_stream.messages import (
    AcquisitionMessage,
    CloseMessage,
    Message,
    MessageId,
    TextMessage,
    read_messages,
    write_message,
)

WAIT_SECONDS = 3600.0
"""Longest time without an answer [s]."""


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``.

    Raises
    ------
    ConfigError
        If it is no such text.
    """
    host, sign, port = address.rpartition(":")
    if not sign or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"'{address}' is no address", where="address", hint="localhost:9002")
    return host, int(port)


def exchange(scan: Path, address: str, config: str = "", pace_ms: float = 0.0) -> Iterator[Message]:
    """Send a scan, and return the messages of the server up to its close message.

    Parameters
    ----------
    scan
        ISMRMRD file.
    address
        ``host:port``
    config
        Name of the configuration; of `cinerecon serve` a method, empty: that of the server.
    pace_ms
        Time between readouts [ms].

    Raises
    ------
    FileError
        If the scan cannot be read, or the connection fails or is lost.
    """
    try:
        with create_connection(split_address(address), timeout=30) as connection:
            connection.settimeout(WAIT_SECONDS)
            with connection.makefile("wb") as sink:
                write_message(sink, TextMessage(MessageId.CONFIG_FILE, config.encode()))
                start, n_readouts = time.perf_counter(), 0
                for message in scan_messages(scan):
                    write_message(sink, message)
                    if pace_ms and isinstance(message, AcquisitionMessage):
                        n_readouts += 1
                        time.sleep(max(0.0, start + n_readouts * pace_ms / 1e3 - time.perf_counter()))
                write_message(sink, CloseMessage())
            with connection.makefile("rb") as source:
                yield from read_messages(source, address)
    except OSError as error:
        raise FileError(f"the connection failed: {error}", where=address, hint="is the server running?") from None
