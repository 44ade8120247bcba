"""Images as messages of a stream, and images that show the error of a slice."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from ismrmrd.hdf5 import image_header_dtype
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cinerecon.errors import DataError
from cinerecon.image import CineImage, as_map
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.hdf5 import new_hdf5
from cinerecon.io.ismrmrd.header import MrdHeader
from cinerecon.io.ismrmrd.images import MAGNITUDE, Series, image_series, meta_xml, stored_type
from cinerecon.io.mrd_stream.messages import (
    CloseMessage,
    ImageMessage,
    Message,
    MessageId,
    TextMessage,
    read_messages,
    write_message,
)


def image_messages(cine: CineImage, first: int, first_series: int = 0) -> Iterator[ImageMessage]:
    """The frames of a slice: a series of magnitude images and, for phase contrast, a series of velocities.

    Headers and attributes are those of ISMRMRD image files, except that each slice has its own display window.

    Parameters
    ----------
    cine
        The slice.
    first
        Number of images that were already sent in each series.
    first_series
        Number of the first series.
    """
    parts = [cine] if cine.velocity is None else [cine, as_map(cine, "velocity")]
    for number, part in enumerate(parts, first_series):
        yield from _messages(Series(number, [part]), first)


def _messages(series: Series, first: int = 0) -> Iterator[ImageMessage]:
    for part in series.slices(first):
        attributes = meta_xml(part.attributes)
        for head, frame in zip(part.heads, part.values, strict=True):
            yield ImageMessage(head, attributes, frame[None, None])


def write_stream_images(path: Path, cines: list[CineImage]) -> None:
    """Write the series of `write_mrd_images` as a stream."""
    with path.open("wb") as file:
        for message in stream_of_images(cines):
            write_message(file, message)


def stream_of_images(cines: Sequence[CineImage]) -> Iterator[Message]:
    """The messages of a stream of images: the header of the scan, the images of all series, and the close message."""
    if cines[0].header_xml:
        yield TextMessage(MessageId.HEADER, cines[0].header_xml.encode())
    for series in image_series(cines):
        yield from _messages(series)
    yield CloseMessage()


def join_streams(paths: Sequence[Path], file: BinaryIO) -> None:
    """Join streams of images: the header of the first one, and all series with consecutive numbers."""
    n_series = 0
    for number, path in enumerate(paths):
        offset = n_series
        with path.open("rb") as source:
            for message in read_messages(source, str(path)):
                if isinstance(message, ImageMessage):
                    head = message.head.copy()
                    head["image_series_index"] += offset
                    n_series = max(n_series, int(head["image_series_index"]) + 1)
                    write_message(file, replace(message, head=head))
                elif isinstance(message, TextMessage) and not number:
                    write_message(file, message)
    write_message(file, CloseMessage())


def read_stream_images(path: Path) -> list[list[ImageMessage]]:
    """Read the images of a stream by series.

    Raises
    ------
    FileError
        If the stream is truncated or damaged.
    DataError
        If the images of a series differ in size.
    """
    with path.open("rb") as file:
        images = [message for message in read_messages(file, str(path)) if isinstance(message, ImageMessage)]
    return [members for _, members in by_series(images, str(path))]


def write_image_messages(path: Path, images: Sequence[ImageMessage], header_xml: str, *, force: bool = False) -> None:
    """Write images received from a server to an ISMRMRD file, each series to ``dataset/image_N``.

    Raises
    ------
    DataError
        If the images of a series differ in size or data type.
    FileError
        If the file system refuses, or the file exists and ``force`` is not set.
    """
    with moved_into_place(path, overwrite=force) as temporary, new_hdf5(temporary) as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[header_xml.encode()], dtype=h5py.special_dtype(vlen=bytes))
        for index, members in by_series(images, str(path)):
            series = group.create_group(f"image_{index}")
            values = np.stack([image.values for image in members])
            series.create_dataset("data", data=values.view(stored_type(values.dtype)))
            series.create_dataset("header", data=np.array([image.head for image in members]))
            texts = [image.attributes for image in members]
            series.create_dataset("attributes", data=texts, dtype=h5py.special_dtype(vlen=str))


def by_series(images: Sequence[ImageMessage], where: str) -> list[tuple[int, list[ImageMessage]]]:
    """Group images by series, sorted by the number of the series.

    Raises
    ------
    DataError
        If the images of a series differ in size or data type.
    """
    series: dict[int, list[ImageMessage]] = {}
    for image in images:
        series.setdefault(int(image.head["image_series_index"]), []).append(image)
    for index, members in series.items():
        if len({(image.values.shape, image.values.dtype) for image in members}) > 1:
            raise DataError(f"the images of series {index} differ in size or data type", where=where)
    return sorted(series.items())


ERROR_SERIES = 99
"""Series number of error images."""
ERROR_NAME = "cinerecon_error"
"""Name of the meta attribute that contains the text."""
SMALLEST, LARGEST = 128, 512
"""Limits of the matrix of an error image, which is otherwise that of the header [pixels]."""
MARGIN = 4
"""Margin of the text [pixels]."""
LETTER_WIDTH = 6
"""Mean width of a character, which determines the line breaks [pixels]."""
WHITE_VALUE = 1000.0
"""Pixel value of the text."""


def error_image(header: MrdHeader, head: np.void, number: int, text: str) -> ImageMessage:
    """Create an image with white text on black at the position of a slice.

    Parameters
    ----------
    header
        Header of the scan.
    head
        Header of a readout of the slice, for position and directions.
    number
        Number of the slice.
    text
        The text.
    """
    recon = header.encoding.recon
    x, y = (int(np.clip(n, SMALLEST, LARGEST)) for n in recon.matrix[:2])
    fov_x, fov_y, thickness = recon.fov_mm
    image = np.zeros(1, image_header_dtype)
    image["version"], image["channels"] = 1, 1
    image["image_type"], image["image_series_index"], image["image_index"] = MAGNITUDE, ERROR_SERIES, number + 1
    image["matrix_size"], image["field_of_view"], image["slice"] = (x, y, 1), (fov_x, fov_y, thickness), number
    for name in ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position", "acquisition_time_stamp"):
        image[name] = head[name]
    attributes = {
        "DataRole": "Image",
        "ImageComments": ("not for diagnostic use", f"error: {text}"),
        ERROR_NAME: text,
        "Keep_image_geometry": 1,
        "WindowCenter": f"{WHITE_VALUE / 2:g}",
        "WindowWidth": f"{WHITE_VALUE:g}",
    }
    message: np.void = image[0]
    return ImageMessage(message, meta_xml(attributes), draw_text(f"cinerecon: slice {number}: {text}", (y, x)))


def is_error_image(message: ImageMessage) -> bool:
    """Whether an image shows an error."""
    return f"<name>{ERROR_NAME}</name>" in message.attributes


def draw_text(text: str, matrix: tuple[int, int]) -> NDArray[np.float32]:
    """Draw a text with line breaks, ``(1, 1, y, x)`` float32; non-ASCII characters are replaced by question marks."""
    y, x = matrix
    canvas = Image.new("L", (x, y))
    ascii_text = text.encode("ascii", "replace").decode()
    lines = textwrap.wrap(ascii_text, max((x - 2 * MARGIN) // LETTER_WIDTH, 1))
    ImageDraw.Draw(canvas).multiline_text((MARGIN, MARGIN), "\n".join(lines), fill=255)
    return (np.asarray(canvas, np.float32) * (WHITE_VALUE / 255))[None, None]
