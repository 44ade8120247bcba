"""A reconstruction server that uses version 1 of the ISMRMRD streaming protocol."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from socket import create_server, socket
from threading import BoundedSemaphore, Event
from types import TracebackType
from typing import Self

from cinerecon.errors import ConfigError
from cinerecon.io.untrusted import reason_of
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.stream.session import Session

POLL_SECONDS = 0.2
"""Interval at which the server checks whether it is to stop [s]."""

logger = logging.getLogger(__name__)


class Server:
    """A server that handles each connection in a separate thread; to be used as a context manager.

    Parameters
    ----------
    request
        Method and settings for clients that do not select any.
    host, port
        Address on which the server listens; port 0 selects a free port, see ``port``.
    n_jobs
        Number of connections that are served simultaneously; further connections wait.
    idle_seconds
        Time without data after which a connection is considered lost [s].
    on_closed
        Called after each connection.

    Raises
    ------
    ConfigError
        If the address cannot be used.
    """

    def __init__(
        self,
        request: ReconRequest,
        host: str,
        port: int,
        *,
        n_jobs: int = 2,
        idle_seconds: float = 600.0,
        on_closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.request, self.idle_seconds, self._on_closed = request, idle_seconds, on_closed
        try:
            self._listener = create_server((host, port))
        except (OSError, OverflowError) as error:
            what = f"cannot listen: {reason_of(error)}"
            raise ConfigError(what, where=f"{host}:{port}", hint="choose another --port") from None
        self.port: int = self._listener.getsockname()[1]
        self._listener.settimeout(POLL_SECONDS)
        self._stop = Event()
        self._free = BoundedSemaphore(n_jobs)
        self._pool = ThreadPoolExecutor(n_jobs, "connection")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._listener.close()
        self._pool.shutdown()

    def stop(self) -> None:
        """Accept no further connections; complete slices are still reconstructed and sent."""
        self._stop.set()

    def run(self) -> None:
        """Serve clients until `stop` is called."""
        while not self._stop.is_set():
            if not self._free.acquire(timeout=POLL_SECONDS):
                continue
            try:
                connection, address = self._listener.accept()
            except OSError as error:
                self._free.release()
                if not isinstance(error, TimeoutError):  # too many open files: the next attempt would fail at once, too
                    logger.warning("cannot accept connections: %s", error)
                    self._stop.wait(POLL_SECONDS)
                continue
            self._pool.submit(self._serve, connection, f"{address[0]}:{address[1]}")

    def _serve(self, connection: socket, client: str) -> None:
        try:
            logger.info("%s: connected", client)
            Session(connection, self.request, client, self._stop, self.idle_seconds).run()
        except Exception:
            logger.exception("%s: unexpected error", client)
        finally:
            connection.close()
            self._on_closed()
            self._free.release()
            logger.info("%s: closed", client)
