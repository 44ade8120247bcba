"""Images that show the error of a slice, since all scanners display images, but not all display texts."""

import textwrap

import numpy as np
from ismrmrd.hdf5 import image_header_dtype
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cinerecon.io.ismrmrd.header import MrdHeader
from cinerecon.io.ismrmrd.images import MAGNITUDE, meta_xml
from cinerecon.io.mrd_stream.messages import ImageMessage

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
