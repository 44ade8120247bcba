"""Elements of pictures: colours, margins, font, labels, panels of images and velocities; picture of a sampling mask."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cinerecon.image import CineImage
from cinerecon.io.atomic import moved_into_place

MARGIN, CAPTION = 28, 30
"""Margin of a picture, and height of the line below a panel [pixels]."""
PAPER, INK, QUIET, ACCENT = (17, 19, 23), (236, 238, 241), (150, 156, 166), (255, 176, 59)
"""Colours (red, green, blue) of background, text, captions and marks."""

VELOCITY_COLOURS = np.array(
    [(170, 240, 255), (40, 120, 240), (72, 74, 80), (230, 50, 40), (255, 225, 120)], np.float32
)  # fmt: skip
"""Colours (red, green, blue) of velocities from -VENC to VENC, evenly spaced."""
LEAST_SIGNAL = 0.1
"""Magnitude, relative to white, below which a pixel has no velocity, since its phase is mainly noise."""
BAR_WIDTH, BAR_LABELS = 12, 48
"""Width of the colour bar of velocities, and of the space for its labels [pixels]."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
LARGEST_RATIO = 4.0
"""Largest aspect ratio of a panel; images with a larger ratio are padded. Scans usually have ratios below 2."""
LABEL_LINES = 24
"""Ratio of the height of an image to that of its label."""
SMALLEST_FONT = 10
"""Smallest size of the font of labels [pixels]."""
LABEL_MARGIN = 4
"""Distance of labels from the edges of an image [pixels]."""
MASK_SIDE = 384
"""Side to which the panel of a small mask is enlarged [pixels]."""


def font_of_size(size: int) -> Font:
    """The font of pictures with a given size [pixels]."""
    return ImageFont.load_default(size)


def draw_label(picture: Image.Image, text: str, *, left: int = 0, width: int | None = None, bottom: int = 0) -> None:
    """Write a line of text at the top of a picture, or above ``bottom``.

    Parameters
    ----------
    picture
        8-bit picture, which is changed.
    text
        The text, which is shortened with an ellipsis if it is too long.
    left, width
        Horizontal range of the label [pixels]; a width of None extends to the right edge.
    bottom
        If not 0, lower edge of the label [pixels from the top].
    """
    width = picture.width - left if width is None else width
    font = ImageFont.load_default(max(SMALLEST_FONT, min(picture.height, 2 * width) // LABEL_LINES))
    while text and font.getlength(text) > width - 2 * LABEL_MARGIN:
        text = text.rstrip("…")[:-1] + "…" if len(text) > 1 and text != "…" else ""
    y, anchor = (bottom - LABEL_MARGIN, "ld") if bottom else (LABEL_MARGIN, "la")
    draw = ImageDraw.Draw(picture)
    draw.text((left + LABEL_MARGIN, y), text, "white", font, anchor, stroke_width=1, stroke_fill="black")


def frame_label(cine: CineImage, frame: int) -> str:
    """Number and, if known, time of a frame, e.g. ``frame 3  ·  120 ms``."""
    return f"frame {frame}" + (f"  ·  {cine.times_ms[frame]:.0f} ms" if cine.times_ms else "")


def limited_ratio(ratio: float) -> float:
    """The aspect ratio of the panel of an image, which is limited to 4:1 and 1:4."""
    return min(max(ratio, 1 / LARGEST_RATIO), LARGEST_RATIO)


def enlarged(picture: Image.Image, cine: CineImage, height: int, resample: Image.Resampling) -> Image.Image:
    """A picture of an image in a panel of a height [pixels], with square pixels and black padding."""
    ratio = _ratio(cine)
    width = max(1, round(height * limited_ratio(ratio)))
    if ratio == limited_ratio(ratio):
        return picture.resize((width, height), resample)
    inside = min(width, max(1, round(height * ratio))), min(height, max(1, round(width / ratio)))
    panel = Image.new(picture.mode, (width, height))
    panel.paste(picture.resize(inside, resample), ((width - inside[0]) // 2, (height - inside[1]) // 2))
    return panel


def column_in_panel(cine: CineImage, column: int, width: int) -> int:
    """The position of an image column in a panel created by `enlarged` [pixels], from the width of the panel."""
    inside = min(1.0, _ratio(cine) * LARGEST_RATIO)
    return round(width * ((1 - inside) / 2 + column / cine.matrix[1] * inside))


def _ratio(cine: CineImage) -> float:
    """Aspect ratio of an image, width over height."""
    (y, x), (dy, dx) = cine.matrix, cine.meta.pixel_size_mm
    return x * dx / (y * dy)


def velocity_picture(cine: CineImage, frame: int, white: float, height: int) -> Image.Image:
    """The velocity of a frame in colours: grey at rest, black without signal; pixels are not interpolated.

    Parameters
    ----------
    cine
        A phase-contrast image.
    frame
        Index of the frame.
    white
        The magnitude that is displayed white.
    height
        Height of the picture [pixels].
    """
    assert cine.velocity is not None
    has_signal = np.abs(cine.image[frame]) >= LEAST_SIGNAL * white
    colours = velocity_colours(cine.velocity[frame] / cine.venc_cm_s) * has_signal[..., None]
    return enlarged(Image.fromarray(colours), cine, height, Image.Resampling.NEAREST)


def velocity_bar(height: int, venc_cm_s: float) -> Image.Image:
    """The colour bar of velocities from VENC (top) to -VENC, with labels in cm/s."""
    bar = Image.new("RGB", (BAR_WIDTH + BAR_LABELS, height), PAPER)
    colours = velocity_colours(np.linspace(1, -1, height, dtype=np.float32)[:, None])
    bar.paste(Image.fromarray(colours).resize((BAR_WIDTH, height)))
    pen, left, font = ImageDraw.Draw(bar), BAR_WIDTH + 5, font_of_size(14)
    for y, text, anchor in (
        (0, f"{venc_cm_s:g}", "lt"),
        (height // 2, "0", "lm"),
        (height - 1, f"{-venc_cm_s:g}", "lb"),
    ):
        pen.text((left, y), text, fill=INK, font=font, anchor=anchor)
    pen.text((left, 17), "cm/s", fill=QUIET, font=font, anchor="lt")
    return bar


def velocity_colours(parts: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Colours ``(..., 3)`` of velocities relative to VENC."""
    stops = np.linspace(-1, 1, len(VELOCITY_COLOURS))
    return np.stack([np.interp(parts, stops, VELOCITY_COLOURS[:, i]) for i in range(3)], axis=-1).astype(np.uint8)


def write_mask_picture(path: Path, mask: NDArray[np.bool_], kx: int) -> None:
    """Write a picture of a mask ``(frames, 1, ky, kx or 1)``: ky over time at the centre of kx, and the first frame."""
    first = np.broadcast_to(mask[0, 0], (mask.shape[2], kx))
    tiles = [("ky over frames", _points(mask[:, 0, :, mask.shape[3] // 2].T)), ("ky over kx, frame 0", _points(first))]
    width = sum(tile.width + MARGIN for _, tile in tiles) + MARGIN
    sheet = Image.new("RGB", (width, max(tile.height for _, tile in tiles) + 2 * MARGIN + CAPTION), PAPER)
    pen = ImageDraw.Draw(sheet)
    left = MARGIN
    for caption, tile in tiles:
        sheet.paste(tile, (left, MARGIN))
        pen.text((left, MARGIN + tile.height + 8), caption, fill=QUIET, font=font_of_size(14))
        left += tile.width + MARGIN
    with moved_into_place(path) as temporary:
        sheet.save(temporary, format="PNG")


def _points(mask: NDArray[np.bool_]) -> Image.Image:
    """Draw each point as a block of pixels, so that all lines are visible; narrow masks are widened."""
    y, x = mask.shape
    scale_y = max(1, MASK_SIDE // y)
    scale_x = max(1, MASK_SIDE // x) if x < y / 2 else scale_y
    shades = np.where(mask, 236, 34).astype(np.uint8)
    return Image.fromarray(shades).resize((x * scale_x, y * scale_y), Image.Resampling.NEAREST)
