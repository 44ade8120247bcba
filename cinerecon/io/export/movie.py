"""Writer of movies: slices or methods side by side, with one heartbeat in a loop."""

import errno
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cinerecon.image import UNKNOWN_FRAME_MS, CineImage, each, grey, window
from cinerecon.io.export.display import display_turns, turned
from cinerecon.io.picture import draw_label, enlarged, frame_label, velocity_bar, velocity_colours, velocity_picture

TILE_HEIGHT = 384
"""Height of a slice [pixels]; reduced if the movie would be wider than `MOVIE_WIDTH`."""
MOVIE_WIDTH = 1600
"""Largest width of a movie [pixels]."""
MIN_SECONDS = 4.0
"""Duration up to which the heartbeat is repeated, since most players play a file only once [s]."""


def write_gif(path: Path, cines: list[CineImage], columns: int | None = None) -> None:
    """Write an animated GIF; `columns` is that of `montage`."""
    frames = list(map(_gif_frame, montage(cines, columns)))
    durations = _gif_durations_ms(len(frames), _interval_ms(cines))
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)


def _gif_durations_ms(n_frames: int, interval_ms: float) -> list[int]:
    """Duration of each frame in multiples of 10 ms, the unit of GIF, with the sum of the heartbeat.

    Intervals are at least 20 ms, since viewers slow down faster movies.
    """
    ends = [round(max(interval_ms, 20.0) * number / 10) * 10 for number in range(n_frames + 1)]
    return [after - before for before, after in pairwise(ends)]


def _gif_frame(frame: NDArray[np.uint8]) -> Image.Image:
    """A frame; colour frames have a palette with grey levels for magnitudes and colours for velocities."""
    if frame.ndim == 2:
        return Image.fromarray(frame)
    greys, levels = np.repeat(np.linspace(0, 255, 128), 3), np.linspace(-1, 1, 128, dtype=np.float32)
    palette = Image.new("P", (1, 1))
    palette.putpalette([*greys.astype(np.uint8).tolist(), *velocity_colours(levels).ravel().tolist()])
    return Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)


def write_mp4(path: Path, cines: list[CineImage], columns: int | None = None) -> None:
    """Write H.264 in yuv420p, which all players and browsers support; sizes are padded to even numbers.

    `columns` is that of `montage`.

    Raises
    ------
    OSError
        If ffmpeg cannot write the movie, with its error.
    """
    import imageio_ffmpeg

    frames = montage(cines, columns)
    rate = min(1000 / _interval_ms(cines), 60.0)
    repeats = max(1, round(MIN_SECONDS * rate / len(frames)))
    y, x = frames.shape[1:3]
    if y % 2 or x % 2:
        frames = np.pad(frames, ((0, 0), (0, y % 2), (0, x % 2), *[(0, 0)] * (frames.ndim - 3)))
    y, x = frames.shape[1:3]
    pixels = "gray" if frames.ndim == 3 else "rgb24"
    command = [
        *(imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error"),
        *("-f", "rawvideo", "-pix_fmt", pixels, "-s", f"{x}x{y}", "-r", f"{rate:.6f}", "-i", "-"),
        *("-vf", f"loop={repeats - 1}:{len(frames)}", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-crf", "20", "-preset", "veryfast", "-movflags", "+faststart"),
        str(path.absolute()),  # in relative paths, ffmpeg interprets the part before a colon as a protocol
    ]
    result = subprocess.run(command, input=frames.ravel().data, capture_output=True)
    if result.returncode:
        first_line = (result.stderr.decode(errors="replace").splitlines() or ["ffmpeg failed"])[0]
        reason = first_line.rpartition(": ")[2]  # further lines are consequential errors
        numbers = [number for number in errno.errorcode if os.strerror(number) == reason]
        raise OSError(*numbers[:1], reason)


def montage(cines: list[CineImage], columns: int | None = None) -> NDArray[np.uint8]:
    """Arrange images in a grid with square pixels, and with labels of method, slice, frame and time.

    Images are turned to the radiological orientation if their position is known. Images of the same slice have the same
    display window, so that methods can be compared. Slices with fewer frames repeat some of them, so that the duration
    of the heartbeat is the same for all. Velocities are shown next to the magnitude.

    Parameters
    ----------
    cines
        Images, row by row.
    columns
        Number of images in a row; None determines it from the number of images.

    Returns
    -------
        ``(frames, y, x)`` 8 bits, or ``(frames, y, x, 3)`` with velocities.
    """
    n_frames = max(cine.n_frames for cine in cines)
    columns = min(columns or int(np.ceil(np.sqrt(len(cines) * 1.4))), len(cines))
    by_slice: dict[int, list[CineImage]] = {}
    for cine in cines:
        by_slice.setdefault(cine.meta.slice, []).append(cine)
    whites = {number: window(cine.magnitude for cine in each(same)) for number, same in by_slice.items()}
    height = TILE_HEIGHT
    tiles = _tiles(cines, height, whites)
    widest = max(tile.shape[2] for tile in tiles)
    if widest * columns > MOVIE_WIDTH:
        height = max(96, height * MOVIE_WIDTH // (widest * columns))
        tiles = _tiles(cines, height, whites)
        widest = max(tile.shape[2] for tile in tiles)
    rows = -(-len(tiles) // columns)
    has_colour = any(tile.ndim == 4 for tile in tiles)
    sheet = np.zeros((n_frames, rows * height, columns * widest, *[3] * has_colour), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        left = column * widest + (widest - tile.shape[2]) // 2
        shown = tile[np.arange(n_frames) * len(tile) // n_frames]
        part = sheet[:, row * height : (row + 1) * height, left : left + tile.shape[2]]
        part[...] = shown[..., None] if has_colour and tile.ndim == 3 else shown
    return sheet


def _tiles(cines: list[CineImage], height: int, whites: dict[int, float]) -> list[NDArray[np.uint8]]:
    """All images, turned and enlarged to a height [pixels]."""
    turns = display_turns(cines)
    return [
        _tile(turned(cine, turn), height, whites[cine.meta.slice])
        for cine, turn in zip(each(cines), turns, strict=True)
    ]


def _tile(cine: CineImage, height: int, white: float) -> NDArray[np.uint8]:
    """An image enlarged to a height [pixels], with its labels, ``(frames, y, x)``; with velocity, in colour."""
    title = ", ".join([cine.method] * bool(cine.method) + [f"slice {cine.meta.slice}"])
    frames = []
    for number, shades in enumerate(grey(cine.magnitude, white)):
        frame = enlarged(Image.fromarray(shades), cine, height, Image.Resampling.BICUBIC)
        draw_label(frame, title)
        draw_label(frame, frame_label(cine, number), bottom=height)
        frames.append(np.asarray(frame if cine.velocity is None else _with_velocity(cine, number, white, frame)))
    return np.stack(frames)


def _with_velocity(cine: CineImage, number: int, white: float, frame: Image.Image) -> Image.Image:
    """A frame with its velocity and the colour bar side by side."""
    velocity = velocity_picture(cine, number, white, frame.height)
    draw_label(velocity, "velocity")
    parts = [frame.convert("RGB"), velocity, velocity_bar(frame.height, cine.venc_cm_s)]
    return Image.fromarray(np.concatenate([np.asarray(part) for part in parts], axis=1))


def _interval_ms(cines: list[CineImage]) -> float:
    """Duration of a frame in a movie [ms], limited to one second, since players refuse very long durations."""
    longest = max(cines, key=lambda cine: cine.n_frames)
    return min(longest.frame_interval_ms or UNKNOWN_FRAME_MS, 1000.0)
