"""Write images as movies: slices or methods side by side, one heartbeat in a loop."""

import errno
import os
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cinerecon.image import UNKNOWN_FRAME_MS, CineImage, each, grey, window
from cinerecon.io.picture import draw_label, frame_label

TILE_HEIGHT = 384
"""Height of a slice [pixels]; reduced for many slices, so that the movie fits a screen."""
MOVIE_WIDTH = 1600
MIN_SECONDS = 4.0
"""Length to which the heartbeat is repeated, since most players play a file only once [s]."""


def write_gif(path: Path, cines: list[CineImage], columns: int | None = None) -> None:
    """Write a looping GIF; `columns` as for `montage`."""
    frames = [Image.fromarray(frame) for frame in montage(cines, columns)]
    # GIF counts time in steps of 10 ms, and viewers slow down anything faster than 20 ms
    duration = max(20, round(_interval_ms(cines) / 10) * 10)
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)


def write_mp4(path: Path, cines: list[CineImage], columns: int | None = None) -> None:
    """Write H.264 in yuv420p, which every player and browser shows; sizes are padded to even numbers.

    Columns are those of `montage`.

    Raises
    ------
    OSError
        If the movie cannot be written, with the error of ffmpeg.
    """
    import imageio_ffmpeg

    frames = montage(cines, columns)
    rate = min(max(1000 / _interval_ms(cines), 1.0), 60.0)
    repeats = max(1, round(MIN_SECONDS * rate / len(frames)))
    y, x = frames.shape[1:]
    if y % 2 or x % 2:
        frames = np.pad(frames, ((0, 0), (0, y % 2), (0, x % 2)))
    y, x = frames.shape[1:]
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error"),
        *("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{x}x{y}", "-r", f"{rate:.6f}", "-i", "-"),
        *("-vf", f"loop={repeats - 1}:{len(frames)}", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"),
        str(path.absolute()),  # ffmpeg reads the part of a relative path before a colon as a protocol
    ]
    result = subprocess.run(command, input=frames.ravel().data, capture_output=True)
    if result.returncode:
        first_line = (result.stderr.decode(errors="replace").splitlines() or ["ffmpeg failed"])[0]
        reason = first_line.rpartition(": ")[2]  # further lines are consequences
        numbers = [number for number in errno.errorcode if os.strerror(number) == reason]
        raise OSError(*numbers[:1], reason)


def montage(cines: list[CineImage], columns: int | None = None) -> NDArray[np.uint8]:
    """Lay out images in a grid, ``(frames, y, x)`` 8 bits, with square pixels and labels of method, slice, frame, time.

    Images of the same slice have the same window, so that methods can be compared. Slices with fewer frames
    repeat some of them, so that all show one heartbeat in the same time.

    Parameters
    ----------
    cines
        Images, row by row.
    columns
        Images in a row; None chooses it by the number of images.
    """
    n_frames = max(cine.n_frames for cine in cines)
    columns = columns or int(np.ceil(np.sqrt(len(cines) * 1.4)))
    by_slice: dict[int, list[CineImage]] = {}
    for cine in cines:
        by_slice.setdefault(cine.meta.slice, []).append(cine)
    whites = {number: window(cine.magnitude for cine in each(same)) for number, same in by_slice.items()}
    height = TILE_HEIGHT
    tiles = [_tile(cine, height, whites[cine.meta.slice]) for cine in each(cines)]
    widest = max(tile.shape[2] for tile in tiles)
    if widest * columns > MOVIE_WIDTH:
        height = max(96, height * MOVIE_WIDTH // (widest * columns))
        tiles = [_tile(cine, height, whites[cine.meta.slice]) for cine in each(cines)]
        widest = max(tile.shape[2] for tile in tiles)
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((n_frames, rows * height, min(columns, len(tiles)) * widest), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left = column * widest + (widest - tile.shape[2]) // 2
        shown = tile[np.arange(n_frames) * len(tile) // n_frames]
        sheet[:, row * height : (row + 1) * height, left : left + tile.shape[2]] = shown
    return sheet


def _tile(cine: CineImage, height: int, white: float) -> NDArray[np.uint8]:
    """The image enlarged to a height [pixels], with its label, ``(frames, y, x)``."""
    (y, x), (dy, dx) = cine.matrix, cine.meta.pixel_size_mm
    width = max(1, round(height * x * dx / (y * dy)))
    title = ", ".join([cine.method] * bool(cine.method) + [f"slice {cine.meta.slice}"])
    frames = []
    for number, shades in enumerate(grey(cine.magnitude, white)):
        frame = Image.fromarray(shades).resize((width, height), Image.Resampling.BICUBIC)
        draw_label(frame, title)
        draw_label(frame, frame_label(cine, number), bottom=height)
        frames.append(np.asarray(frame))
    return np.stack(frames)


def _interval_ms(cines: list[CineImage]) -> float:
    longest = max(cines, key=lambda cine: cine.n_frames)
    return longest.frame_interval_ms or UNKNOWN_FRAME_MS
