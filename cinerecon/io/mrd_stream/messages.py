"""Messages of the ISMRMRD streaming protocol, version 1, in binary files, pipes and sockets.

A message consists of its type, an unsigned integer of two bytes, and its content; all numbers are little-endian. Texts
are preceded by their length, which in some programs includes a terminating NUL. Memory is allocated as data arrive, not
according to the declared lengths.

Source: python-ismrmrd-server (https://github.com/kspaceKelvin/python-ismrmrd-server), README, MR Data Message Format.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, BinaryIO

import numpy as np
from ismrmrd.hdf5 import acquisition_dtype, image_header_dtype, waveform_header_dtype
from ismrmrd.image import get_data_type_from_dtype, get_dtype_from_data_type
from numpy.typing import NDArray

from cinerecon.errors import ConfigError, FileError
from cinerecon.io.ismrmrd.waveforms import Waveform

CONFIG_BYTES = 1024
"""Length of the name of a configuration, which is padded with NUL [bytes]."""
LONGEST_TEXT = 16 << 20
"""Longest text [bytes]."""
LARGEST_ARRAY = 1 << 30
"""Largest size of the array in a message [bytes]."""
MAX_READ_BYTES = 1 << 20
"""Largest number of bytes that are read at once."""
HEAD = np.dtype(acquisition_dtype["head"])


class CutStreamError(FileError):
    """The stream ends without a close message."""


class MessageId(IntEnum):
    """The types of messages."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    ACQUISITION = 1008
    IMAGE = 1022
    WAVEFORM = 1026
    ARRAY = 1030


TEXTS = (MessageId.CONFIG_FILE, MessageId.CONFIG_TEXT, MessageId.HEADER, MessageId.TEXT)


@dataclass(frozen=True)
class TextMessage:
    """A configuration (its name or content), the XML header, or a text, without terminating NULs.

    Attributes
    ----------
    id
        One of `TEXTS`.
    content
        The text, usually UTF-8.
    """

    id: MessageId
    content: bytes

    @property
    def text(self) -> str:
        """The content as text; invalid UTF-8 is replaced."""
        return self.content.decode("utf-8", "replace")


@dataclass(frozen=True, eq=False)
class AcquisitionMessage:
    """A readout.

    Attributes
    ----------
    head
        Its header, a structured scalar.
    samples
        ``(coils * samples,)`` complex64.
    trajectory
        ``(samples * dimensions,)`` float32.
    """

    head: np.void
    samples: NDArray[np.complex64]
    trajectory: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ImageMessage:
    """An image.

    Attributes
    ----------
    head
        Its header, a structured scalar.
    attributes
        Its meta attributes, XML.
    values
        ``(channels, z, y, x)``
    """

    head: np.void
    attributes: str
    values: NDArray[Any]


@dataclass(frozen=True, eq=False)
class ArrayMessage:
    """An array, which is not part of a raw scan."""

    values: NDArray[Any]


@dataclass(frozen=True)
class CloseMessage:
    """The end of the stream."""


Message = TextMessage | AcquisitionMessage | ImageMessage | Waveform | ArrayMessage | CloseMessage


def read_messages(file: BinaryIO, where: str) -> Iterator[Message]:
    """The messages of a stream up to and including its close message.

    Parameters
    ----------
    file
        A binary file, a pipe, or ``socket.makefile("rb")``.
    where
        Name of the stream, for messages.

    Raises
    ------
    CutStreamError
        If the stream ends before its close message; the error contains the number of the message, counted from 0.
    FileError
        If the stream is damaged.
    """
    number = 0
    while True:
        message = _Reader(file, where, number).read()
        yield message
        if isinstance(message, CloseMessage):
            return
        number += 1


class _Reader:
    """Reads one message."""

    def __init__(self, file: BinaryIO, where: str, number: int) -> None:
        self.file, self.where, self.number = file, where, number
        self.kind = ""

    def read(self) -> Message:
        code = int.from_bytes(self._bytes(2), "little")
        if code not in set(MessageId):
            raise self._damaged(f"its type is {code}, expected one of {', '.join(str(int(i)) for i in MessageId)}")
        message_id = MessageId(code)
        self.kind = f", {message_id.name.lower().replace('_', ' ')}"
        if message_id is MessageId.CLOSE:
            return CloseMessage()
        if message_id is MessageId.CONFIG_FILE:
            return TextMessage(message_id, self._bytes(CONFIG_BYTES).split(b"\0", 1)[0])
        if message_id is MessageId.ACQUISITION:
            return self._acquisition()
        if message_id is MessageId.IMAGE:
            return self._image()
        if message_id is MessageId.WAVEFORM:
            return self._waveform()
        if message_id is MessageId.ARRAY:
            return self._numbers()
        return TextMessage(message_id, self._text(4))

    def _acquisition(self) -> AcquisitionMessage:
        head = self._head(HEAD)
        n_samples = int(head["number_of_samples"])
        trajectory = self._array(np.dtype("<f4"), n_samples * int(head["trajectory_dimensions"]))
        samples = self._array(np.dtype("<c8"), n_samples * int(head["active_channels"]))
        return AcquisitionMessage(head, samples, trajectory)

    def _image(self) -> ImageMessage:
        head = self._head(image_header_dtype)
        attributes = self._text(8).decode("utf-8", "replace")
        dtype = self._dtype(int(head["data_type"]))
        shape = (int(head["channels"]), *(int(n) for n in head["matrix_size"][::-1]))
        return ImageMessage(head, attributes, self._array(dtype, int(np.prod(shape, dtype=object))).reshape(shape))

    def _waveform(self) -> Waveform:
        head = self._head(waveform_header_dtype)
        shape = int(head["channels"]), int(head["number_of_samples"])
        return Waveform.of(head, self._array(np.dtype("<u4"), shape[0] * shape[1]).reshape(shape))

    def _numbers(self) -> ArrayMessage:
        number, _, n_axes = (int(value) for value in np.frombuffer(self._bytes(6), "<u2"))
        shape = [int(n) for n in np.frombuffer(self._bytes(8 * n_axes), "<u8")]
        return ArrayMessage(self._array(self._dtype(number), math.prod(shape)).reshape(shape))

    def _dtype(self, number: int) -> np.dtype[Any]:
        """The data type with an ISMRMRD number."""
        try:
            dtype: np.dtype[Any] = np.dtype(get_dtype_from_data_type(number))
        except (KeyError, ValueError, TypeError):
            raise self._damaged(f"its data type is {number}, expected 1 to 8") from None
        return dtype

    def _head(self, dtype: np.dtype[np.void]) -> np.void:
        head: np.void = np.frombuffer(self._bytes(dtype.itemsize), dtype)[0]
        return head

    def _array(self, dtype: np.dtype[Any], n_values: int) -> NDArray[Any]:
        n_bytes = dtype.itemsize * n_values
        if n_bytes > LARGEST_ARRAY:
            raise self._damaged(f"its samples claim {n_bytes} bytes, at most {LARGEST_ARRAY} are read")
        return np.frombuffer(self._bytes(n_bytes), dtype)

    def _text(self, width: int) -> bytes:
        length = int.from_bytes(self._bytes(width), "little")
        if length > LONGEST_TEXT:
            raise self._damaged(f"its text claims {length} bytes, at most {LONGEST_TEXT} are read")
        return self._bytes(length).rstrip(b"\0")

    def _bytes(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            piece = self.file.read(min(MAX_READ_BYTES, count - len(data)))
            if not piece:
                what = f"the stream is truncated: it ends at message {self.number}{self.kind}, without a close message"
                raise CutStreamError(what, where=self.where, hint="copy or send it again")
            data += piece
        return bytes(data)

    def _damaged(self, what: str) -> FileError:
        text = f"the stream is damaged at message {self.number}{self.kind}: {what}"
        return FileError(text, where=self.where, hint="copy or send it again")


def message_bytes(message: Message) -> bytes:
    """Encode a message.

    Raises
    ------
    ConfigError
        If the name of a configuration is longer than 1023 bytes.
    DataError
        If a block of a waveform is longer than version 1 can store.
    """
    if isinstance(message, CloseMessage):
        return _code(MessageId.CLOSE)
    if isinstance(message, TextMessage):
        return _code(message.id) + _text_bytes(message)
    if isinstance(message, AcquisitionMessage):
        trajectory, samples = np.asarray(message.trajectory, "<f4"), np.asarray(message.samples, "<c8")
        return _code(MessageId.ACQUISITION) + message.head.tobytes() + trajectory.tobytes() + samples.tobytes()
    if isinstance(message, Waveform):
        head = message.head("a message of a stream")
        return _code(MessageId.WAVEFORM) + head.tobytes() + np.asarray(message.values, "<u4").tobytes()
    if isinstance(message, ArrayMessage):
        return _code(MessageId.ARRAY) + _array_bytes(message.values)
    return _code(MessageId.IMAGE) + _image_bytes(message)


def _image_bytes(message: ImageMessage) -> bytes:
    attributes = message.attributes.encode()
    head = np.array(message.head, image_header_dtype)
    head["attribute_string_len"] = len(attributes)
    head["data_type"] = get_data_type_from_dtype(message.values.dtype)
    content = struct.pack("<Q", len(attributes)) + attributes + np.ascontiguousarray(message.values).tobytes()
    return head.tobytes() + content


def _array_bytes(values: NDArray[Any]) -> bytes:
    head = np.array([get_data_type_from_dtype(values.dtype), 0, values.ndim], "<u2")
    return head.tobytes() + np.array(values.shape, "<u8").tobytes() + np.ascontiguousarray(values).tobytes()


def _code(message_id: MessageId) -> bytes:
    return struct.pack("<H", message_id)


def _text_bytes(message: TextMessage) -> bytes:
    if message.id is not MessageId.CONFIG_FILE:
        return struct.pack("<I", len(message.content)) + message.content
    if len(message.content) >= CONFIG_BYTES:
        what = f"the name of the configuration has {len(message.content)} bytes, at most {CONFIG_BYTES - 1}"
        raise ConfigError(what, where=f"{message.text[:20]}...")
    return message.content.ljust(CONFIG_BYTES, b"\0")


def write_message(file: BinaryIO, message: Message) -> None:
    """Write a message to a binary file, a pipe, or ``socket.makefile("wb")``, without flushing it."""
    file.write(message_bytes(message))
