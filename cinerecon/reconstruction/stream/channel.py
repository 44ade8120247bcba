"""The connection of a server to a client, over which messages are received and sent until either side ends it."""

import time
from contextlib import suppress
from io import RawIOBase
from socket import SHUT_WR, socket
from threading import Event

from cinerecon.io.mrd_stream.messages import Message, message_bytes

POLL_SECONDS = 0.2
"""Interval at which a waiting connection checks whether the server is stopping [s]."""
QUIET_SECONDS = 2.0
"""Time without data after which a connection ends if the server is stopping [s]."""
LONGEST_SECONDS = 30.0
"""Time for which a client may continue to send data if the server is stopping [s]."""


class LostConnectionError(OSError):
    """The client has disconnected, or no data were exchanged for too long."""


class Channel(RawIOBase):
    """A connection as a readable file, to which messages can be sent; each direction is used by one thread.

    If the server is stopping, data that still arrive are read. For a client that sends nothing, the stream ends.

    Parameters
    ----------
    connection
        The socket, which the channel closes.
    idle_seconds
        Time without data after which a connection is considered lost [s].
    stop
        Event that is set when the server is stopping.

    Attributes
    ----------
    is_stopped
        Whether the stream was ended because the server is stopping.
    is_lost
        Whether the connection is lost.
    """

    def __init__(self, connection: socket, idle_seconds: float, stop: Event) -> None:
        super().__init__()
        self._connection, self._idle_seconds, self._stop = connection, idle_seconds, stop
        self._stop_time: float | None = None
        self._received_at = time.monotonic()
        self.is_stopped = self.is_lost = False
        connection.settimeout(POLL_SECONDS)

    def readable(self) -> bool:
        """See `io.IOBase.readable`."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Receive bytes; returns 0 at the end of the stream.

        Raises
        ------
        LostConnectionError
            If the connection is lost.
        """
        start = time.monotonic()
        while not self._is_to_stop(start):
            try:
                n_bytes = self._connection.recv_into(buffer)
            except TimeoutError:
                self._require_progress(start, self._idle_seconds)
            except OSError as error:
                raise self._lost(str(error)) from None
            else:
                self._received_at = time.monotonic()
                return n_bytes
        self.is_stopped = True
        return 0

    def send(self, message: Message) -> None:
        """Send a message, waiting for a client that does not receive while it sends.

        Raises
        ------
        LostConnectionError
            If the connection is lost.
        """
        data = memoryview(message_bytes(message))
        start = time.monotonic()
        while data:
            try:
                n_sent = self._connection.send(data)
                data, start = data[n_sent:], time.monotonic()
            except TimeoutError:
                if self._stop.is_set():
                    self._require_progress(start, LONGEST_SECONDS)
                self._require_progress(max(start, self._received_at), self._idle_seconds)
            except OSError as error:
                raise self._lost(str(error)) from None

    def require_open(self) -> None:
        """Raise `LostConnectionError` if the connection is lost."""
        if self.is_lost:
            raise LostConnectionError("the connection was lost")

    def finish(self, seconds: float) -> None:
        """Stop sending, and read the data that the client still sends for a given time [s].

        Closing the connection earlier would reset it, and the last messages would be lost.
        """
        with suppress(OSError):
            self._connection.shutdown(SHUT_WR)
        end, rest = time.monotonic() + seconds, bytearray(1 << 16)
        self._idle_seconds = min(seconds, self._idle_seconds)
        while time.monotonic() < end and self.readinto(rest):
            pass

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._connection.close()

    def _is_to_stop(self, start: float) -> bool:
        """Whether to end the connection: the server is stopping, and the client is idle or its time has expired."""
        if not self._stop.is_set():
            return False
        now = time.monotonic()
        self._stop_time = self._stop_time or now
        quiet_seconds = POLL_SECONDS if self.is_stopped else QUIET_SECONDS
        return now - start > quiet_seconds or now - self._stop_time > LONGEST_SECONDS

    def _require_progress(self, start: float, seconds: float) -> None:
        if time.monotonic() - start > seconds:
            raise self._lost(f"no data for {seconds:g} s")

    def _lost(self, reason: str) -> LostConnectionError:
        self.is_lost = True
        return LostConnectionError(reason)
