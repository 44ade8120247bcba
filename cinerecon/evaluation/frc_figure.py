"""Figure of the candidates for hallucinations: where an image does not follow its reference."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cinerecon.evaluation.charts import new_figure
from cinerecon.evaluation.score import Score
from cinerecon.evaluation.stored_images import TRUTH, read_image
from cinerecon.metrics.frc import CUTOFF_THRESHOLD, FrcMap, scan_correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CANDIDATES_CAPTION = (
    "Above: the frame with most candidates for hallucinations (rectangles: patches whose Fourier ring correlation with "
    "the truth falls too early), in the truth and in each reconstruction. Below: the lowest cut-off over all frames "
    f"[cycles per pixel]; candidates are below {CUTOFF_THRESHOLD}, patches without structure are black."
)
WIDTH = 2.6
"""Width of a panel [inches]."""


def draw_candidates(scores: Sequence[Score], folder: Path) -> "Figure | None":
    """Candidates of one slice, one column for each method; None if the images are too small.

    Parameters
    ----------
    scores
        Scores of one slice and sampling pattern.
    folder
        Folder of their images.
    """
    pairs = [read_image(folder, score.task, score.method, score.slice) for score in scores]
    reference = pairs[0][1].magnitude
    truth = torch.from_numpy(reference)
    maps = [scan_correlation(torch.from_numpy(image.magnitude), truth) for image, _ in pairs]
    scans = [scan for scan in maps if scan is not None]
    if len(scans) < len(maps):
        return None
    frame = int(torch.stack([scan.candidates.sum((1, 2)) for scan in scans]).sum(0).argmax())
    y, x = reference.shape[1:]
    figure = new_figure(WIDTH * (len(scans) + 1) + 0.5, 2 * WIDTH * y / x + 0.6)
    axes = figure.subplots(2, len(scans) + 1, squeeze=False)
    white = float(np.percentile(reference, 99.7))
    axes[0][0].imshow(reference[frame], cmap="gray", vmin=0, vmax=white)
    axes[0][0].set_title(f"{TRUTH}\nframe {frame}", fontsize=9)
    for (above, below), score, (image, _), scan in zip(axes.T[1:], scores, pairs, scans, strict=True):
        above.imshow(image.magnitude[frame], cmap="gray", vmin=0, vmax=white)
        above.set_title(f"{score.method}\n{scan.rate():.2f} % candidates", fontsize=9)
        _mark_patches(above, scan, frame)
        lowest = np.nan_to_num(scan.at_pixels((y, x)).numpy(), nan=np.inf).min(0)
        colours = below.imshow(np.where(np.isinf(lowest), np.nan, lowest), cmap="magma_r", vmin=0, vmax=0.5)
        below.set_facecolor("black")
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    axes[1][0].set_visible(False)
    figure.colorbar(colours, ax=list(axes[1][1:]), label="cut-off [cycles per pixel]")
    return figure


def _mark_patches(axis: "Axes", scan: FrcMap, frame: int) -> None:
    from matplotlib.patches import Rectangle

    for row, column in scan.candidates[frame].nonzero().tolist():
        top, left = (
            int(centres[i]) - scan.size // 2 - 0.5 for centres, i in zip(scan.centres, (row, column), strict=True)
        )
        axis.add_patch(Rectangle((left, top), scan.size, scan.size, fill=False, color="#ff4040", lw=0.8))
