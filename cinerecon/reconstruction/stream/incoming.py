"""The scan that a client sends: settings, header, readouts, and the slices that are complete."""

import logging
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from cinerecon.acquisition.readouts.select import is_image_line
from cinerecon.errors import DataError, HeaderError
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd_stream.messages import (
    AcquisitionMessage,
    ArrayMessage,
    CloseMessage,
    ImageMessage,
    Message,
    MessageId,
    TextMessage,
)
from cinerecon.io.mrd_stream.spool import Spool
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.stream.arrival import SliceArrival
from cinerecon.reconstruction.stream.protocol import ProtocolSettings, model_of_config, read_protocol

logger = logging.getLogger(__name__)

MAX_EARLY_WAVEFORMS = 4096
"""Largest number of waveform blocks before the header that are kept, starting with the last ones: minutes of an ECG."""


class IncomingScan:
    """A scan that is being received; the context manager deletes the stored data.

    Parameters
    ----------
    path
        File for the samples.
    request
        Settings of the server.
    client
        Address of the client, for messages.

    Attributes
    ----------
    client
        Address of the client.
    is_closed
        Whether the close message has arrived.
    last_times, last_heads
        Time of arrival of the latest image readout of each slice, from ``time.perf_counter`` [s], and its header.
    """

    def __init__(self, path: Path, request: ReconRequest, client: str) -> None:
        self._path, self._request, self.client = path, request, client
        self._settings = ProtocolSettings()
        self._model: str | None = None
        self._early: deque[Waveform] = deque(maxlen=MAX_EARLY_WAVEFORMS)
        self._spool: Spool | None = None
        self._arrival: SliceArrival | None = None
        self.is_closed = False
        self.last_times: dict[int, float] = {}
        self.last_heads: dict[int, np.void] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spool is not None:
            self._spool.__exit__(kind, error, trace)

    @property
    def request(self) -> ReconRequest:
        """The settings of the server, updated by those of the client."""
        model = self._settings.model or self._model or self._request.model
        return self._request.with_values(**{**self._settings.options, "scan": self._path, "model": model})

    @property
    def spool(self) -> Spool:
        """The received readouts.

        Raises
        ------
        DataError
            If no readouts have been received.
        """
        if self._spool is None or not len(self._spool):
            raise DataError("the stream has no header or no readouts", where=self.client)
        return self._spool

    @property
    def slices(self) -> list[int]:
        """Counters of the slices for which image readouts have arrived."""
        return list(self.last_times)

    @property
    def is_sure(self) -> bool:
        """Whether slices can be complete before the end of the scan, see `SliceArrival`."""
        return self._arrival is not None and self._arrival.is_sure

    def add(self, message: Message) -> list[int]:
        """Process a message, and return the counters of the slices that it completes.

        Raises
        ------
        DataError, HeaderError
            If the message is not part of a scan, or its header is malformed.
        ConfigError
            If a setting is unknown.
        """
        if isinstance(message, CloseMessage):
            self.is_closed = True
        elif isinstance(message, ImageMessage):
            raise DataError("received images, expected readouts", where=self.client)
        elif isinstance(message, TextMessage):
            self._add_text(message)
        elif isinstance(message, ArrayMessage):
            logger.info("%s: an array is not used", self.client)
        elif self._spool is None and isinstance(message, Waveform):
            self._early.append(message)
        elif self._spool is None:
            hint = "one scan per connection, beginning with its header"
            raise HeaderError("readouts precede the header", where=self.client, hint=hint)
        else:
            return self._add_readout(self._spool, message)
        return []

    def after_end(self) -> list[int]:
        """Counters of further slices that are treated as complete after the stream was cut off."""
        return [] if self._arrival is None else self._arrival.after_end()

    def _add_text(self, message: TextMessage) -> None:
        if message.id is MessageId.HEADER:
            if self._spool is not None:
                hint = "one scan per connection, beginning with its header"
                raise HeaderError("2 headers were received", where=self.client, hint=hint)
            self._spool = Spool(self._path, message.content)
            self._arrival = SliceArrival(self._spool.header)
            for waveform in self._early:
                self._spool.add(waveform)
        elif message.id is MessageId.CONFIG_FILE:
            self._model = model_of_config(message.text)
        elif message.id is MessageId.CONFIG_TEXT:
            self._settings = read_protocol(message.text)
        else:
            logger.info("%s: text: %.500s", self.client, message.text)

    def _add_readout(self, spool: Spool, message: AcquisitionMessage | Waveform) -> list[int]:
        spool.add(message)
        if isinstance(message, Waveform) or self._arrival is None:
            return []
        if is_image_line(message.head):
            number = int(message.head["idx"]["slice"])
            self.last_times[number], self.last_heads[number] = time.perf_counter(), message.head
        return self._arrival.add(message.head)
