"""One connection of a server: a scan is received and reconstructed, and its images are returned slice by slice."""

import logging
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from queue import SimpleQueue
from socket import socket
from threading import Event
from typing import BinaryIO, cast

from cinerecon.errors import CineReconError, FileError
from cinerecon.io.mrd_stream.images import error_image, image_messages
from cinerecon.io.mrd_stream.messages import CloseMessage, CutStreamError, MessageId, TextMessage, read_messages
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.reconstruction.stream.channel import Channel, LostConnectionError
from cinerecon.reconstruction.stream.incoming import IncomingScan
from cinerecon.reconstruction.stream.inline import InlineReconstruction, SliceTask

DISCARD_SECONDS = 60.0
"""Time for which a client may continue to send data after an error [s]."""
REPEATED_SERIES = 10
"""Number of the first image series of slices that are sent again."""
UNEXPECTED = "unexpected error, see the log of the server"

logger = logging.getLogger(__name__)


@dataclass
class Session:
    """A connection to a client.

    One thread receives data, and another one reconstructs and sends images. Messages about the whole scan are sent when
    both have finished.

    Attributes
    ----------
    connection
        The socket.
    request
        Settings of the server, some of which the protocol of the client may replace.
    client
        Address of the client, for messages.
    stop
        Event that is set when the server is stopping.
    idle_seconds
        Time without data after which the connection is considered lost [s].
    """

    connection: socket
    request: ReconRequest
    client: str
    stop: Event = field(default_factory=Event)
    idle_seconds: float = 600.0

    def run(self) -> None:
        """Serve the client. All errors are sent to the client and logged, and temporary files are removed."""
        with (
            Channel(self.connection, self.idle_seconds, self.stop) as channel,
            cast(BinaryIO, BufferedReader(channel)) as source,
            tempfile.TemporaryDirectory(prefix="cinerecon-serve-") as folder,
        ):
            try:
                self._serve(channel, source, Path(folder) / "scan.mrd")
            except LostConnectionError as error:
                logger.warning("%s: the connection was lost: %s", self.client, error)

    def _serve(self, channel: Channel, source: BinaryIO, path: Path) -> None:
        sender = _Sender(channel, self.client, path)
        try:
            with IncomingScan(path, self.request, self.client) as incoming:
                self._exchange(source, incoming, sender)
        except LostConnectionError:
            raise
        except CineReconError as error:
            sender.report(f"error: {error}")
        except Exception:
            logger.exception("%s: unexpected error", self.client)
            sender.report(f"error: {UNEXPECTED}")
        channel.send(CloseMessage())
        channel.finish(DISCARD_SECONDS)

    def _exchange(self, source: BinaryIO, incoming: IncomingScan, sender: "_Sender") -> None:
        """Receive a scan, and reconstruct its slices at the same time."""
        complete: SimpleQueue[int | None] = SimpleQueue()
        cut: CutStreamError | None = None
        with ThreadPoolExecutor(1, "reconstruction") as pool:
            work = pool.submit(_reconstruct, incoming, complete, sender)
            try:
                for message in read_messages(source, self.client):
                    for number in incoming.add(message):
                        complete.put(number)
            except CutStreamError as error:
                cut = error
                for number in incoming.after_end():
                    complete.put(number)
            finally:
                complete.put(None)
        work.result()
        if cut is not None:
            _report_cut(incoming, sender, cut)


def _report_cut(incoming: IncomingScan, sender: "_Sender", cut: CutStreamError) -> None:
    """Report that the stream ended without a close message."""
    _ = incoming.spool  # an error if nothing was received
    if not sender.sent:
        raise FileError("the server is being stopped", where=incoming.client) if sender.channel.is_stopped else cut
    cause = "the server is being stopped" if sender.channel.is_stopped else "the stream ended without a close message"
    missing = sorted(set(incoming.slices) - sender.sent - sender.failed)
    left_out = f"slice {', '.join(map(str, missing))} was not complete and is omitted" if missing else ""
    sender.report(f"warning: {cause}: {left_out or 'all slices that were started are complete'}")


def _reconstruct(incoming: IncomingScan, complete: "SimpleQueue[int | None]", sender: "_Sender") -> None:
    """Reconstruct slices when they are complete, and the others when the scan is closed."""
    inline: InlineReconstruction | None = None
    for number in iter(complete.get, None):
        if incoming.is_closed:
            continue
        inline = inline or InlineReconstruction(incoming, sender.channel.require_open)
        task = inline.complete_slice(number)
        if task is not None:
            _send_task(incoming, task, sender)
    if not incoming.is_closed:
        return
    inline = inline or InlineReconstruction(incoming, sender.channel.require_open)
    for task in inline.other_slices():
        _send_task(incoming, task, sender)
    for text in inline.warnings():
        sender.warn(text)


def _send_task(incoming: IncomingScan, task: SliceTask, sender: "_Sender") -> None:
    """Reconstruct a slice and send its images or, if it fails, a text and an image that show the error."""
    try:
        part = task.run()
    except LostConnectionError:
        raise
    except CineReconError as error:
        sender.fail(incoming, task.number, error.what, str(error))
    except Exception:
        logger.exception("%s: slice %d: unexpected error", sender.client, task.number)
        sender.fail(incoming, task.number, UNEXPECTED, UNEXPECTED)
    else:
        sender.send_slice(part, task)
        seconds = time.perf_counter() - incoming.last_times.get(task.number, time.perf_counter())
        stages = ", ".join(f"{stage} {value:.2f} s" for stage, value in part.seconds.items())
        text = "%s: slice %d sent %.2f s after its last readout (%s)"
        logger.info(text, sender.client, task.number, seconds, stages)


class _Sender:
    """Sends images and texts, and records what was sent.

    Parameters
    ----------
    channel
        The connection.
    client
        Address of the client.
    path
        File of the readouts.

    Attributes
    ----------
    sent, failed
        Counters of the slices that were sent, and of those for which an error was sent instead.
    """

    def __init__(self, channel: Channel, client: str, path: Path) -> None:
        self.channel, self.client, self._path = channel, client, path
        self.sent: set[int] = set()
        self.failed: set[int] = set()
        self._n_images: dict[int, int] = {}
        self._warnings: set[str] = set()

    def report(self, text: str) -> None:
        """Log a text and send it without the path of the readouts, which the client does not know."""
        text = text.replace(str(self._path), "the scan")
        logger.warning("%s: %s", self.client, text)
        self.channel.send(TextMessage(MessageId.TEXT, text.encode()))

    def warn(self, text: str, where: str = "") -> None:
        """Send a warning about a slice, or about the whole scan unless it was already sent for a slice."""
        if where or text not in self._warnings:
            self.report(f"warning: {where}{text}")
        self._warnings.add(text)

    def send_slice(self, part: ReconstructedSlice, task: SliceTask) -> None:
        """Send the images of a slice, after its warnings."""
        first_series = REPEATED_SERIES if task.is_repeated else 0
        if task.is_repeated:
            what = "readouts that arrived later change its images: they are sent again as series"
            self.warn(f"{what} {first_series}", f"slice {task.number}: ")
        for text in part.warnings:
            self.warn(text, f"slice {task.number}: ")
        n_before = self._n_images.get(first_series, 0)
        for message in image_messages(part.cine, n_before, first_series):
            self.channel.send(message)
        self._n_images[first_series] = n_before + part.cine.n_frames
        self.sent.add(task.number)

    def fail(self, incoming: IncomingScan, number: int, what: str, text: str) -> None:
        """Send the error of a slice as a text and as an image."""
        self.failed.add(number)
        self.report(f"error: slice {number}: {text}")
        if number in incoming.last_heads:
            self.channel.send(error_image(incoming.spool.header, incoming.last_heads[number], number, what))
