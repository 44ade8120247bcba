"""The picture of a sampling mask."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cinerecon.io.atomic import moved_into_place
from cinerecon.io.picture import CAPTION, MARGIN, PAPER, QUIET, font_of_size

MASK_SIDE = 384
"""Smallest side of a panel of a mask that has fewer points [pixels]."""


def write_mask_picture(path: Path, mask: NDArray[np.bool_], kx: int) -> None:
    """Draw a mask ``(frames, 1, ky, kx or 1)``: ky over time in the centre of kx, and the first frame, ky over kx."""
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
    """Whole pixels per point, so that no line is lost; narrow masks are widened until they can be seen."""
    y, x = mask.shape
    scale_y = max(1, MASK_SIDE // y)
    scale_x = max(1, MASK_SIDE // x) if x < y / 2 else scale_y
    shades = np.where(mask, 236, 34).astype(np.uint8)
    return Image.fromarray(shades).resize((x * scale_x, y * scale_y), Image.Resampling.NEAREST)
