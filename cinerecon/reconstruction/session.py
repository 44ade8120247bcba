"""One connection of a server: a scan is received, reconstructed, and its images are returned."""

import logging
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from socket import SHUT_WR, socket
from typing import BinaryIO

from cinerecon.errors import CineReconError, DataError, HeaderError
from cinerecon.io.mrd_stream.images import image_messages
from cinerecon.io.mrd_stream.messages import (
    AcquisitionMessage,
    CloseMessage,
    ImageMessage,
    MessageId,
    TextMessage,
    read_messages,
    write_message,
)
from cinerecon.reconstruction.protocol import ProtocolSettings, model_of_config, read_protocol
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import iterate_slices, load_request_method, open_source

DISCARD_SECONDS = 60.0
"""Time for which a client may go on sending after an error [s]."""

logger = logging.getLogger(__name__)


@dataclass
class Session:
    """A connection with a client.

    Attributes
    ----------
    connection
        The socket.
    request
        Settings of the server; the protocol of the client replaces some of them.
    client
        Address of the client, for messages.
    """

    connection: socket
    request: ReconRequest
    client: str

    def run(self) -> None:
        """Serve the client; all errors are sent to it and logged, and no file remains."""
        with (
            self.connection,
            self.connection.makefile("rb") as source,
            self.connection.makefile("wb") as sink,
            tempfile.TemporaryDirectory(prefix="cinerecon-serve-") as folder,
            suppress(OSError),
        ):
            try:
                self._serve(source, sink, Path(folder) / "scan.mrd")
            except CineReconError as error:
                self._report(sink, f"error: {error}")
            except OSError as error:
                logger.warning("%s: the connection was lost: %s", self.client, error)
                return
            except Exception:
                logger.exception("%s: unexpected error", self.client)
                self._report(sink, "error: unexpected error, see the log of the server")
            self._send(sink, CloseMessage())
            self.connection.shutdown(SHUT_WR)
            self._discard(source)

    def _serve(self, source: BinaryIO, sink: BinaryIO, path: Path) -> None:
        request = self._receive(source, path)
        end = time.perf_counter()
        method = load_request_method(request)
        first = 0
        for index in request.chosen_slices(open_source(request, method)):
            try:
                part = next(iterate_slices(request.with_values(slices=(index,)), method))
            except CineReconError as error:
                self._report(sink, f"error: slice {index}: {error}")
                continue
            for text in part.warnings:
                self._report(sink, f"warning: slice {index}: {text}")
            for message in image_messages(part.cine, first):
                write_message(sink, message)
            sink.flush()
            first += part.cine.n_frames
            seconds = time.perf_counter() - end
            logger.info("%s: slice %d sent %.2f s after the last message", self.client, index, seconds)

    def _receive(self, source: BinaryIO, path: Path) -> ReconRequest:
        """Store the scan as a stream, and return the request with the settings of the protocol."""
        settings = ProtocolSettings()
        model = None
        n_headers = n_readouts = 0
        with path.open("wb") as file:
            for message in read_messages(source, self.client):
                if isinstance(message, CloseMessage):
                    break
                if isinstance(message, ImageMessage):
                    raise DataError("images were received, expected readouts", where=self.client)
                if not isinstance(message, TextMessage) or message.id is MessageId.HEADER:
                    n_headers += isinstance(message, TextMessage)
                    n_readouts += isinstance(message, AcquisitionMessage)
                    if n_headers != 1:
                        what = f"{n_headers} headers were received" if n_headers else "readouts precede the header"
                        raise HeaderError(what, where=self.client, hint="one scan per connection, its header first")
                    write_message(file, message)
                elif message.id is MessageId.CONFIG_FILE:
                    model = model_of_config(message.text)
                elif message.id is MessageId.CONFIG_TEXT:
                    settings = read_protocol(message.text)
                else:
                    logger.info("%s: text: %.500s", self.client, message.text)
            write_message(file, CloseMessage())
        if not n_readouts:
            raise DataError("the stream has no header or no readouts", where=self.client)
        chosen = settings.model or model or self.request.model
        return self.request.with_values(**{**settings.options, "scan": path, "model": chosen})

    def _report(self, sink: BinaryIO, text: str) -> None:
        logger.warning("%s: %s", self.client, text)
        self._send(sink, TextMessage(MessageId.TEXT, text.encode()))

    def _send(self, sink: BinaryIO, message: TextMessage | CloseMessage) -> None:
        write_message(sink, message)
        sink.flush()

    def _discard(self, source: BinaryIO) -> None:
        """Read what the client still sends: closing earlier would reset the connection, and the error be lost."""
        end = time.monotonic() + DISCARD_SECONDS
        self.connection.settimeout(DISCARD_SECONDS)
        while time.monotonic() < end and source.read1(1 << 16):  # type: ignore[attr-defined]
            pass
