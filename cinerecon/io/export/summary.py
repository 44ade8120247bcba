"""Summary pictures: for each slice, the frames with the most and the least blood, motion over time, maps, and error."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from cinerecon.image import CineImage, collect_warnings, each, grey, window
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.export.display import display_turns, turned
from cinerecon.io.picture import (
    ACCENT,
    CAPTION,
    INK,
    MARGIN,
    PAPER,
    QUIET,
    column_in_panel,
    enlarged,
    font_of_size,
    frame_label,
    velocity_bar,
    velocity_picture,
)
from cinerecon.provenance import series_texts

Array = NDArray[np.float32]
Panels = list[tuple[str, Image.Image]]
"""Captions and pictures of one row."""

PANEL_HEIGHT, PROFILE_WIDTH = 300, 340
"""Height of all panels, and width of the panel of motion over time [pixels]."""
GAP, TITLE = 12, 34
"""Distance of panels, and height of the title of a row [pixels]."""
ERROR_GAIN = 5
"""Factor by which errors are amplified."""
LINE = 20
"""Height of a line of text below the rows [pixels]."""


@dataclass(frozen=True)
class Motion:
    """Frames and position that show the motion of the heart.

    Attributes
    ----------
    most_blood, least_blood
        Frames with the most and the least blood in the moving region. In short-axis slices, these are end diastole and
        end systole; in long-axis slices, the order may be reversed, since the atria fill while the ventricles empty.
    column
        Image column through the centre of the motion.
    """

    most_blood: int
    least_blood: int
    column: int


def find_motion(magnitude: Array) -> Motion:
    """Find the moving heart in ``(frames, y, x)`` magnitude.

    The standard deviation over time, smoothed over a twentieth of the image, is largest at the heart. Since blood is
    bright in cine images, the mean over the moving region is highest in the frame with the most blood.
    """
    spread = _smooth(magnitude.std(axis=0), max(1, min(magnitude.shape[1:]) // 20))
    weights = np.where(spread >= 0.3 * spread.max(), spread, 0)
    if not weights.any():
        return Motion(0, len(magnitude) // 2, magnitude.shape[2] // 2)
    blood = np.tensordot(magnitude, weights, axes=2)
    column = round(float(weights.sum(axis=0) @ np.arange(weights.shape[1]) / weights.sum()))
    return Motion(int(blood.argmax()), int(blood.argmin()), column)


def _smooth(image: Array, radius: int) -> Array:
    """Moving average along both axes; the window is limited to the number of pixels."""
    for axis in (0, 1):
        length = 2 * min(radius, (image.shape[axis] - 1) // 2) + 1
        image = np.apply_along_axis(np.convolve, axis, image, np.ones(length) / length, "same")
    return image


def write_png(path: Path, cines: list[CineImage]) -> None:
    """Write the summary picture; method, warnings and provenance are stored as text chunks."""
    info = PngInfo()
    info.add_itxt("Software", "cinerecon")
    info.add_itxt("method", cines[0].method)
    for name, text in series_texts([cine.provenance for cine in cines]).items():
        info.add_itxt(name, text)
    info.add_itxt("warnings", "\n".join(collect_warnings(cines)))
    draw_summary(cines).save(path, format="PNG", pnginfo=info)


def draw_summary(cines: list[CineImage]) -> Image.Image:
    """Draw a row for each slice: frames with the most and the least blood, profile over time, maps, and error.

    Slices are turned to the radiological orientation if their position is known. Warnings are printed below the rows.
    """
    shown = (turned(cine, turn) for cine, turn in zip(each(cines), display_turns(cines), strict=True))
    return _sheet([(cine, _panels(cine)) for cine in shown])


def write_case_picture(path: Path, cine: CineImage, kspace: NDArray[np.complex64]) -> None:
    """Write the picture of a prepared case: the cine, and its undersampled k-space.

    Parameters
    ----------
    path
        File to write, ``.png``.
    cine
        The image to show.
    kspace
        ``(coils, ky, kx)`` of one frame, which is turned like the image.
    """
    (turn,) = display_turns([cine])
    cine = turned(cine, turn)
    panel = ("k-space of frame 0, logarithmic", _kspace_panel(turn.pixels(kspace)))
    with moved_into_place(path) as temporary:
        _sheet([(cine, [*_panels(cine), panel])]).save(temporary, format="PNG")


def _sheet(rows_of_panels: list[tuple[CineImage, Panels]]) -> Image.Image:
    """Draw the panels of all slices with titles and captions, and verdicts and warnings below them."""
    cines, rows = [cine for cine, _ in rows_of_panels], [row for _, row in rows_of_panels]
    widths = [max(map(_column_width, panels)) for panels in _columns(rows)]
    width = 2 * MARGIN + sum(widths) + GAP * (len(widths) - 1)
    row_height = TITLE + PANEL_HEIGHT + CAPTION
    notes = [
        (line, colour)
        for text, colour in [*_verdicts(cines), *((f"warning: {text}", ACCENT) for text in collect_warnings(cines))]
        for line in _wrapped(text, width - 2 * MARGIN)
    ]
    height = 2 * MARGIN + row_height * len(rows) - CAPTION + 26
    sheet = Image.new("RGB", (width, height + LINE * len(notes)), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (line, colour) in enumerate(notes):
        pen.text((MARGIN, height - MARGIN // 2 + number * LINE), line, fill=colour, font=font_of_size(14))
    for number, (cine, row) in enumerate(zip(cines, rows, strict=True)):
        top = MARGIN - 6 + number * row_height
        _title(pen, cine, (MARGIN, top), width - MARGIN)
        left = MARGIN
        for (caption, panel), step in zip(row, widths, strict=False):
            sheet.paste(panel, (left, top + TITLE))
            pen.text((left, top + TITLE + PANEL_HEIGHT + 7), caption, fill=QUIET, font=font_of_size(14))
            left += step + GAP
    return sheet


def _columns(rows: list[Panels]) -> list[Panels]:
    """The panels of each column; rows may have different numbers of panels."""
    return [[row[i] for row in rows if i < len(row)] for i in range(max(map(len, rows)))]


def _column_width(panel: tuple[str, Image.Image]) -> int:
    """The width that a panel and its caption need."""
    caption, picture = panel
    return max(picture.width, math.ceil(font_of_size(14).getlength(caption)))


def _verdicts(cines: list[CineImage]) -> list[tuple[str, tuple[int, int, int]]]:
    """The verdict on each slice with its colour, which is accented unless the image is as expected."""
    return [
        (f"slice {cine.meta.slice}  ·  {cine.verdict.remark}", ACCENT if cine.verdict.warnings else QUIET)
        for cine in cines
        if cine.verdict is not None
    ]


def _kspace_panel(kspace: NDArray[np.complex64]) -> Image.Image:
    """Magnitude over all coils on a logarithmic scale of six decades, without interpolation."""
    magnitude = np.sqrt((np.abs(kspace) ** 2).sum(0))
    decades = 6 + np.log10(np.maximum(magnitude / max(float(magnitude.max()), 1e-30), 1e-6))
    ky, kx = magnitude.shape
    width = min(max(PANEL_HEIGHT * kx // ky, PANEL_HEIGHT // 2), 2 * PANEL_HEIGHT)
    shades = Image.fromarray(grey(decades.astype(np.float32), 6.0))
    return shades.resize((width, PANEL_HEIGHT), Image.Resampling.NEAREST).convert("RGB")


def _panels(cine: CineImage) -> Panels:
    """The panels of a slice."""
    magnitude = cine.magnitude
    white = window([magnitude])
    motion = find_motion(magnitude)
    most = _panel(cine, magnitude[motion.most_blood], white)
    _mark_column(most, column_in_panel(cine, motion.column, most.width))
    least = _panel(cine, magnitude[motion.least_blood], white)
    panels: Panels = [
        (f"most blood  ·  {frame_label(cine, motion.most_blood)}", most),
        (f"least blood  ·  {frame_label(cine, motion.least_blood)}", least),
        _profile(cine, magnitude[:, :, motion.column], white),
    ]
    if cine.velocity is not None:
        panels.append(_velocity(cine, white))
    if cine.snr is not None:
        values = cine.snr[motion.most_blood]
        limit = window([values])
        panels.append((f"SNR  ·  most blood  ·  white is {limit:.3g}", _panel(cine, values, limit, heat=True)))
    if cine.uncertainty is not None:
        values = cine.uncertainty[motion.least_blood]
        limit = window([values])
        share = limit / white  # relative to the magnitude that is displayed white
        caption = f"uncertainty  ·  least blood  ·  white is {share:.1%}"
        panels.append((caption, _panel(cine, values, limit, heat=True)))
    if cine.reference is not None:
        # difference of magnitudes as displayed, without fitting the scale
        error = np.abs(magnitude - np.abs(cine.reference))[motion.least_blood]
        what = "difference from all samples" if cine.meta.is_own_reference else "error"
        caption = f"{ERROR_GAIN} x {what}  ·  least blood"
        panels.append((caption, _panel(cine, error * ERROR_GAIN, white, heat=True)))
    return panels


def _velocity(cine: CineImage, white: float) -> tuple[str, Image.Image]:
    """The velocity in the frame with the largest mean speed, weighted by the magnitude, with its colour bar."""
    assert cine.velocity is not None
    frame = int((np.abs(cine.velocity) * cine.magnitude).sum((1, 2)).argmax())
    bar = velocity_bar(PANEL_HEIGHT, cine.venc_cm_s)
    picture = velocity_picture(cine, frame, white, PANEL_HEIGHT)
    panel = Image.new("RGB", (picture.width + bar.width, PANEL_HEIGHT), PAPER)
    panel.paste(picture)
    panel.paste(bar, (picture.width, 0))
    return f"velocity at peak flow  ·  {frame_label(cine, frame)}", panel


def _panel(cine: CineImage, values: Array, white: float, *, heat: bool = False) -> Image.Image:
    """A frame with square pixels and the height of the row."""
    image = enlarged(Image.fromarray(grey(values, white)), cine, PANEL_HEIGHT, Image.Resampling.BICUBIC)
    return Image.fromarray(_heat(np.asarray(image))) if heat else image.convert("RGB")


def _profile(cine: CineImage, lines: Array, white: float) -> tuple[str, Image.Image]:
    """Magnitude along the marked line over time, from ``(frames, y)``; time increases to the right.

    A heartbeat is shown twice, so that the transition from the last to the first frame is visible.
    """
    caption, n_cycles = ("marked line over two beats", 2) if cine.meta.is_one_beat else ("marked line over time", 1)
    shades = Image.fromarray(grey(np.tile(lines, (n_cycles, 1)).T, white))
    return caption, shades.resize((PROFILE_WIDTH, PANEL_HEIGHT), Image.Resampling.BICUBIC).convert("RGB")


def _mark_column(panel: Image.Image, x: int) -> None:
    """Mark a column by ticks at the top and the bottom."""
    pen = ImageDraw.Draw(panel)
    pen.line([(x, 0), (x, 14)], fill=ACCENT, width=2)
    pen.line([(x, panel.height - 15), (x, panel.height)], fill=ACCENT, width=2)


def _heat(shades: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours from black through red and orange to white, with uniformly increasing lightness."""
    level = shades.astype(np.float32) / 255
    stops = np.array([0, 0.25, 0.5, 0.75, 1])
    colours = np.array([(0, 0, 0), (96, 16, 72), (200, 56, 40), (252, 160, 40), (255, 250, 220)], np.float32)
    return np.stack([np.interp(level, stops, colours[:, i]) for i in range(3)], axis=-1).astype(np.uint8)


def _title(pen: ImageDraw.ImageDraw, cine: CineImage, at: tuple[int, int], right: int) -> None:
    """Write the title of a row: slice and sizes on the left, source and method on the right."""
    bold = f"slice {cine.meta.slice}"
    pen.text(at, bold, fill=INK, font=font_of_size(19))
    details = f"{cine.n_frames} frames  ·  {cine.matrix[0]} x {cine.matrix[1]}"
    pen.text(
        (at[0] + pen.textlength(bold, font=font_of_size(19)) + 14, at[1] + 4),
        details,
        fill=QUIET,
        font=font_of_size(14),
    )
    source = "  ·  ".join(part for part in (Path(cine.meta.source).name, cine.method) if part)
    pen.text((right, at[1] + 4), source, fill=QUIET, font=font_of_size(14), anchor="ra")


def _wrapped(text: str, width: int) -> list[str]:
    """Break a text into lines of a width [pixels]; a wider word is not broken."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font_of_size(14).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
