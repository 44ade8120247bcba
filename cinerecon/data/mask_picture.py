"""A sampling mask as a picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cinerecon.data.files import moved_into_place

Mask = NDArray[np.bool_]

SIDE = 384
PAPER, QUIET = (17, 19, 23), (150, 156, 166)
MARGIN, CAPTION = 24, 28


def write_mask_picture(path: Path, mask: Mask, kx: int) -> None:
    """Draw a mask ``(frames, 1, ky, kx or 1)``: ky over time in the centre of kx, and the first frame, ky over kx."""
    first = np.broadcast_to(mask[0, 0], (mask.shape[2], kx))
    panels = [("ky over frames", mask[:, 0, :, mask.shape[3] // 2].T), ("ky over kx, frame 0", first)]
    tiles = [(caption, _enlarged(points)) for caption, points in panels]
    width = sum(tile.width + MARGIN for _, tile in tiles) + MARGIN
    sheet = Image.new("RGB", (width, max(tile.height for _, tile in tiles) + 2 * MARGIN + CAPTION), PAPER)
    pen = ImageDraw.Draw(sheet)
    left = MARGIN
    for caption, tile in tiles:
        sheet.paste(tile, (left, MARGIN))
        pen.text((left, MARGIN + tile.height + 8), caption, fill=QUIET, font=ImageFont.load_default(14))
        left += tile.width + MARGIN
    with moved_into_place(path) as temporary:
        sheet.save(temporary, format="PNG")


def _enlarged(points: Mask) -> Image.Image:
    """Whole pixels per point, so that no line is lost; narrow masks are widened until they can be seen."""
    y, x = points.shape
    scale_y = max(1, SIDE // y)
    scale_x = max(1, SIDE // x) if x < y / 2 else scale_y
    shades = np.where(points, 236, 34).astype(np.uint8)
    return Image.fromarray(shades).resize((x * scale_x, y * scale_y), Image.Resampling.NEAREST)
