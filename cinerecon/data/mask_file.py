"""A sampling mask as a file, and as a picture."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cinerecon.data.files import moved_into_place
from cinerecon.errors import FileError

Mask = NDArray[np.bool_]

PICTURE_SIDE = 384
PAPER, QUIET = (17, 19, 23), (150, 156, 166)
MARGIN, CAPTION = 24, 28


def write_mask(path: Path, mask: Mask, pattern: str, seed: int) -> None:
    """Write ``mask`` ``(frames, 1, ky, kx or 1)`` bool with the text and the seed it was drawn from."""
    with moved_into_place(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, mask=mask, pattern=np.array(pattern), seed=np.array(seed))


def read_mask(path: Path) -> Mask:
    """Read a mask ``(frames, 1, ky, kx or 1)`` bool.

    Raises
    ------
    FileError
        If the file is missing or holds no mask.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mask = arrays["mask"]
    except OSError as error:
        raise FileError(f"cannot read the mask: {error.strerror or error}", where=str(path)) from None
    except (KeyError, ValueError, IndexError, zipfile.BadZipFile):
        raise FileError("this file holds no mask", where=str(path), hint="cinerecon mask writes one") from None
    if mask.dtype != bool or mask.ndim != 4 or mask.shape[1] != 1:
        raise FileError(f"mask is {mask.dtype} {mask.shape}, expected bool (frames, 1, ky, kx or 1)", where=str(path))
    return mask


def write_mask_picture(path: Path, mask: Mask) -> None:
    """Draw ky over time, and for patterns that vary along the readout also the first frame over kx."""
    centre = mask.shape[3] // 2
    panels = [("ky over frames" if mask.shape[3] == 1 else "ky over frames, centre of kx", mask[:, 0, :, centre].T)]
    if mask.shape[3] > 1:
        panels.append(("ky over kx, frame 0", mask[0, 0]))
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
    scale_y = max(1, PICTURE_SIDE // y)
    scale_x = max(1, PICTURE_SIDE // x) if x < y / 2 else scale_y
    shades = np.where(points, 236, 34).astype(np.uint8)
    return Image.fromarray(shades).resize((x * scale_x, y * scale_y), Image.Resampling.NEAREST)
