"""Figures in the style of papers, and movies: reference and reconstructions, error maps, and temporal profiles.

A further figure shows candidates for hallucinations, where an image does not agree with its reference.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from cinerecon.evaluation.charts import draw_bland_altman, draw_boxes, draw_curves, draw_function_curves, new_figure
from cinerecon.evaluation.images import REFERENCE, image_file, read_image
from cinerecon.evaluation.score import Score, coils_in_words, grouped
from cinerecon.evaluation.ventricle import MIN_POINTS, slice_functions, stack_functions
from cinerecon.image import CineImage
from cinerecon.io.atomic import moved_into_place
from cinerecon.io.export.display import Turn, radiological_turn, turned
from cinerecon.io.export.movie import write_mp4
from cinerecon.io.picture import limited_ratio
from cinerecon.metrics import Heart, find_heart
from cinerecon.metrics.frc import CUTOFF_THRESHOLD, FrcMap, scan_correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

Array = NDArray[np.float32]

LARGEST_ERROR = 0.07
"""Smallest upper limit of error maps for images with a maximum of 1, the limit in the papers."""
ERROR_PERCENTILE = 99
"""Percentile of the errors of the best image that an error map shows without saturation."""
WHITE_PERCENTILE = 99.7
"""Percentile of the reference that is displayed as white."""
DPI = 150
COLUMN_WIDTH, COLOUR_BAR_WIDTH = 2.1, 0.06
"""Width of a column [inches], and of the colour bar relative to it."""
IMAGES_CAPTION = (
    "Magnitudes, with the maximum of the reference equal to 1; all errors have the same scale. The rectangle is the "
    "box around the heart, the dotted line is the column of the y-t profile."
)
BOXES_CAPTION = (
    "Scores of all slices: median, quartiles, whiskers to 1.5 times the interquartile range, and each slice as a point."
)
CURVES_CAPTION = "PSNR against net acceleration, mean over slices; error bars: 95 % bootstrap interval."
CANDIDATES_CAPTION = (
    "Top: the frame with the most candidates for hallucinations (rectangles: patches whose Fourier ring "
    "correlation with the reference falls too early), in the reference and in each reconstruction. Bottom: the "
    f"lowest cut-off over all frames [cycles per pixel]; candidates, below {CUTOFF_THRESHOLD}, are red, other patches "
    "are blue, and patches without structure are white."
)
CANDIDATE_COLOURS = ("#67000d", "#fcae91"), ("#c6dbef", "#08306b")
"""Colours of the lowest and highest cut-off of candidates, and of other patches."""
LARGEST_CUTOFF, N_COLOURS = 0.5, 200
"""Largest cut-off, and number of colours from 0 to it."""
CANDIDATES_WIDTH = 2.6
"""Width of a panel of the candidates for hallucinations [inches]."""
IMAGES_PER_ROW = 6
"""Number of images side by side; further methods are in additional rows."""


@dataclass(frozen=True)
class FigureFile:
    """A figure file with its description."""

    path: Path
    caption: str


@dataclass(frozen=True, eq=False)
class ShownCase:
    """A slice with a sampling pattern whose images were stored.

    Attributes
    ----------
    scores
        The scores of its images, one per method.
    images, reference
        The images in the same order, and the reference; each has a maximum of about 1.
    """

    scores: list[Score]
    images: list[CineImage]
    reference: CineImage

    @property
    def name(self) -> str:
        """Scan, slice, coils and sampling, for a file name."""
        return " ".join(map(str, self.scores[0].case))

    @property
    def description(self) -> str:
        """Scan, slice, coils and sampling in words."""
        score = self.scores[0]
        known = "" if math.isnan(score.acceleration) else f", net acceleration {score.acceleration:.1f}"
        return f"{score.scan}, slice {score.slice}, {coils_in_words(score.n_coils)}, {score.sampling}{known}"

    @property
    def pixel_ratio(self) -> float:
        """Height of a pixel over its width."""
        dy, dx = self.reference.meta.pixel_size_mm
        return dy / dx

    @property
    def turn(self) -> Turn:
        """The transformation of the images to the radiological orientation."""
        return radiological_turn(self.reference.first_voxel)

    def turned(self) -> "ShownCase":
        """The case in the radiological orientation."""
        images = [turned(image, self.turn) for image in self.images]
        return replace(self, images=images, reference=turned(self.reference, self.turn))

    @property
    def white(self) -> float:
        """The magnitude that is displayed as white."""
        return float(np.percentile(self.reference.magnitude, WHITE_PERCENTILE))


def shown_cases(scores: Sequence[Score], folder: Path) -> Iterator[ShownCase]:
    """The cases whose images are in a folder, read one at a time."""
    for case in dict.fromkeys(score.case for score in scores):
        stored = [score for score in scores if score.case == case and image_file(folder, score.task).exists()]
        if stored:
            images, references = zip(*(read_image(folder, s.task, s.method, s.slice) for s in stored), strict=True)
            yield ShownCase(stored, list(images), references[0])


def draw_figures(scores: Sequence[Score], folder: Path) -> list[FigureFile]:
    """Draw all figures that are possible with the scores and the stored images, in the folder ``figures/``."""
    drawn = []
    for case in shown_cases(scores, folder):
        drawn.append(_save(draw_images(case), folder, f"images {case.name}", f"{case.description}. {IMAGES_CAPTION}"))
        candidates = draw_candidates(case)
        if candidates is not None:
            caption = f"{case.description}. {CANDIDATES_CAPTION}"
            drawn.append(_save(candidates, folder, f"candidates {case.name}", caption))
    if len({score.case for score in scores}) > 2:
        drawn.append(_save(draw_boxes(scores), folder, "boxes", BOXES_CAPTION))
    drawn += _draw_functions(scores, folder)
    curves = draw_curves(scores)
    if curves:
        drawn.append(_save(curves, folder, "psnr against acceleration", CURVES_CAPTION))
    return drawn


def _draw_functions(scores: Sequence[Score], folder: Path) -> Iterator[FigureFile]:
    """Curves and Bland-Altman plots of stacks and slices in which ventricles were found."""
    for name, functions in (("volumes", stack_functions(scores)), ("areas", slice_functions(scores))):
        if not functions:
            continue
        caption = f"Left ventricle, {name} over the frames, segmented in image and reference separately."
        yield _save(draw_function_curves(functions), folder, f"ventricle {name}", caption)
        groups = grouped(functions, lambda f: (f.sampling, f.n_coils)).values()
        plotted = [f for group in groups if len({(f.scan, f.slice) for f in group}) >= MIN_POINTS for f in group]
        if plotted:
            caption = f"Bland-Altman plots of {name}: bias (line) and limits of agreement (dashed) of each method."
            yield _save(draw_bland_altman(plotted), folder, f"bland altman {name}", caption)


def draw_images(case: ShownCase) -> "Figure":
    """Reference and reconstructions of one slice: diastole, systole, the heart, a profile, and errors."""
    case = case.turned()
    reference = case.reference.magnitude
    series = [reference, *(image.magnitude for image in case.images)]
    heart = find_heart(torch.from_numpy(reference), case.reference.meta.pixel_size_mm) or _central_region(reference)
    y, x = reference.shape[1:]
    rows, ratio = _rows(heart, reference), case.pixel_ratio
    white, largest_error = case.white, _error_limit(series[1:], reference)
    heights = [row.height(y, x, heart, ratio) for row in rows]
    figure = new_figure(COLUMN_WIDTH * (len(series) + COLOUR_BAR_WIDTH) + 0.3, COLUMN_WIDTH * sum(heights) + 0.5)
    ratios = {"height_ratios": heights, "width_ratios": [*[1.0] * len(series), COLOUR_BAR_WIDTH]}
    axes = figure.subplots(len(rows), len(series) + 1, squeeze=False, gridspec_kw=ratios)
    for line, row in zip(axes, rows, strict=True):
        line[0].set_ylabel(row.title, fontsize=8)
        _hide_axes(line[0])
        for axis in line[1 : len(line) - row.is_error]:
            axis.set_axis_off()
        for axis, image in list(zip(line, series, strict=False))[row.is_error :]:  # the reference has no error
            shown = np.abs(image - reference) if row.is_error else image
            drawn = axis.imshow(row.cut(shown, heart), **row.style(largest_error if row.is_error else white, ratio))
        if row.is_error:
            figure.colorbar(drawn, cax=line[-1]).ax.tick_params(labelsize=7)
    for axis, title in zip(axes[0], [REFERENCE, *map(_title, case.scores)], strict=False):
        axis.set_title(title, fontsize=9)
    _mark(axes[0][0], heart)
    return figure


@dataclass(frozen=True)
class _Row:
    """One kind of view of the reference and all reconstructions: a frame, or the marked column over time."""

    title: str
    frame: int | None = None
    is_zoom: bool = False
    is_error: bool = False

    @property
    def is_profile(self) -> bool:
        return self.frame is None

    def cut(self, series: Array, heart: Heart) -> Array:
        """The view of a series ``(frames, y, x)``."""
        top, bottom, left, right = heart.box
        if self.frame is None:
            return series[:, top:bottom, heart.column].T
        frame = series[self.frame]
        window: Array = frame[top:bottom, left:right] if self.is_zoom else frame
        return window

    def style(self, largest: float, ratio: float) -> dict[str, Any]:
        """Keyword arguments of the drawing function; `ratio` is the height of a pixel over its width."""
        colours = "inferno" if self.is_error else "gray"
        aspect = "auto" if self.is_profile else ratio
        return {"cmap": colours, "vmin": 0, "vmax": largest, "aspect": aspect, "interpolation": "nearest"}

    def height(self, y: int, x: int, heart: Heart, ratio: float) -> float:
        """Height of the view over its width; `ratio` is that of a pixel."""
        top, bottom, left, right = heart.box
        if self.is_profile:
            return 0.6
        return limited_ratio(ratio * ((bottom - top) / (right - left) if self.is_zoom else y / x))


def _rows(heart: Heart, reference: Array) -> list[_Row]:
    d, s = heart.diastole, heart.systole
    diastole, systole = ("diastole, ", "systole, ") if heart.pool else ("", "")
    return [
        _Row(f"{diastole}frame {d}", d),
        _Row(f"{systole}frame {s}", s),
        _Row(f"heart, frame {d}", d, is_zoom=True),
        _Row(f"heart, frame {s}", s, is_zoom=True),
        _Row(f"error, frame {d}", d, is_zoom=True, is_error=True),
        _Row(f"error, frame {s}", s, is_zoom=True, is_error=True),
        *([_Row("y-t profile"), _Row("error of profile", is_error=True)] if len(reference) > 1 else []),
    ]


def _error_limit(images: Sequence[Array], reference: Array) -> float:
    """Upper limit of the error maps of all images, rounded up to 0.01."""
    largest = min(float(np.percentile(np.abs(image - reference), ERROR_PERCENTILE)) for image in images)
    return max(LARGEST_ERROR, math.ceil(100 * largest) / 100)


def _central_region(reference: Array) -> Heart:
    """The centre of the field of view, with the first and the middle frame, for images in which no heart is found."""
    n, y, x = reference.shape
    return Heart((y // 4, y - y // 4, x // 4, x - x // 4), x // 2, 0, n // 2)


def _title(score: Score) -> str:
    return f"{score.method}\n{score.psnr:.2f} dB, SSIM {score.ssim:.4f}"


def _mark(axis: "Axes", heart: Heart) -> None:
    from matplotlib.patches import Rectangle

    top, bottom, left, right = heart.box
    colour = "#ffb03b"
    axis.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, color=colour, lw=0.8))
    axis.plot([heart.column] * 2, [top, bottom - 1], color=colour, lw=0.8, ls=":")


def _hide_axes(axis: "Axes") -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)


def figure_file(folder: Path, name: str, ending: str = ".png") -> Path:
    """The file of a figure or movie with a name."""
    return folder / "figures" / (re.sub(r"[^\w.-]+", "_", name) + ending)


def _save(figure: "Figure", folder: Path, name: str, caption: str) -> FigureFile:
    path = figure_file(folder, name)
    with moved_into_place(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)
    return FigureFile(path, caption)


def draw_candidates(case: ShownCase) -> "Figure | None":
    """Draw the candidates of one slice, one column for each method; None if the images are too small."""
    expected, matrix, turn = torch.from_numpy(case.reference.magnitude), case.reference.matrix, case.turn
    maps = [scan_correlation(torch.from_numpy(image.magnitude), expected) for image in case.images]
    scans = [scan for scan in maps if scan is not None]
    if len(scans) < len(maps):
        return None
    frame = int(torch.stack([scan.candidates.sum((1, 2)) for scan in scans]).sum(0).argmax())
    case = case.turned()
    reference, ratio, white = case.reference.magnitude, case.pixel_ratio, case.white
    y, x = reference.shape[1:]
    colours = _candidate_colours()
    figure = new_figure(
        CANDIDATES_WIDTH * (len(scans) + 1) + 0.5, 2 * CANDIDATES_WIDTH * limited_ratio(ratio * y / x) + 0.6
    )
    axes = figure.subplots(2, len(scans) + 1, squeeze=False)
    axes[0][0].imshow(reference[frame], cmap="gray", vmin=0, vmax=white, aspect=ratio)
    axes[0][0].set_title(f"{REFERENCE}\nframe {frame}", fontsize=9)
    for (above, below), image, scan in zip(axes.T[1:], case.images, scans, strict=True):
        above.imshow(image.magnitude[frame], cmap="gray", vmin=0, vmax=white, aspect=ratio)
        above.set_title(f"{image.method}\n{scan.rate():.2f} % candidates", fontsize=9)
        _mark_patches(above, scan, frame, turn, matrix)
        lowest = turn.pixels(np.nan_to_num(scan.at_pixels(matrix).numpy(), nan=np.inf).min(0))
        known = np.where(np.isinf(lowest), np.nan, lowest)
        drawn = below.imshow(known, cmap=colours, vmin=0, vmax=LARGEST_CUTOFF, aspect=ratio, interpolation="nearest")
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    axes[1][0].set_visible(False)
    ticks = [0, CUTOFF_THRESHOLD, 0.3, 0.4, LARGEST_CUTOFF]
    bar = figure.colorbar(drawn, ax=list(axes[1][1:]), label="cut-off [cycles per pixel]", ticks=ticks)
    bar.ax.axhline(CUTOFF_THRESHOLD, color="black", lw=1)
    return figure


def _candidate_colours() -> "ListedColormap":
    """Colours of cut-offs from 0 to `LARGEST_CUTOFF`, which change at the threshold of candidates."""
    from matplotlib.colors import LinearSegmentedColormap, ListedColormap

    n_below = round(N_COLOURS * CUTOFF_THRESHOLD / LARGEST_CUTOFF)
    parts = [
        LinearSegmentedColormap.from_list("", ends)(np.linspace(0, 1, n))
        for ends, n in zip(CANDIDATE_COLOURS, (n_below, N_COLOURS - n_below), strict=True)
    ]
    return ListedColormap(np.concatenate(parts))


def _mark_patches(axis: "Axes", scan: FrcMap, frame: int, turn: Turn, matrix: tuple[int, int]) -> None:
    """Draw the candidates of a frame, found in images of size `matrix` (y, x), on the reoriented image."""
    from matplotlib.patches import Rectangle

    rows, columns = (centres - scan.size // 2 for centres in scan.centres)
    for row, column in scan.candidates[frame].nonzero().tolist():
        top, left = turn.corner((int(rows[row]), int(columns[column])), scan.size, matrix)
        corner = left - 0.5, top - 0.5
        axis.add_patch(Rectangle(corner, scan.size, scan.size, fill=False, color="#ff4040", lw=0.8))


def draw_movies(scores: Sequence[Score], folder: Path) -> list[FigureFile]:
    """Draw a movie of each slice and sampling in ``figures/``: the reference and every method, with labels.

    Raises
    ------
    FileError
        If a movie cannot be written.
    """
    drawn = []
    for case in shown_cases(scores, folder):
        if case.reference.n_frames < 2:
            continue
        cines = [case.reference, *case.images]
        path = figure_file(folder, f"movie {case.name}", ".mp4")
        with moved_into_place(path) as temporary:
            write_mp4(temporary, cines, min(len(cines), IMAGES_PER_ROW))
        drawn.append(FigureFile(path, f"{case.description}. Magnitudes, all with the same window."))
    return drawn
