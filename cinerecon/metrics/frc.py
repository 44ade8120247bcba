"""Candidates for hallucinations: scanning Fourier ring correlation (sFRC) of an image with its reference.

Kc, Zeng, Soni, Badano, sFRC for assessing hallucinations in medical image restoration (2026), arXiv:2603.04673, compare
an image with its reference patch by patch. The Fourier ring correlation of two patches with transforms F and G is

    FRC(r) = Re sum_(ring r) F conj(G) / (sum_(ring r) |F|^2  sum_(ring r) |G|^2)^(1/2).

The cut-off of a patch is the frequency at which it first falls below a constant. A patch whose cut-off is below a
threshold has structures of low frequency that do not follow the reference: it is a candidate for a hallucination, which
the authors define to include structures that are missing or distorted. The rate is the fraction of such patches.

The abstract of the paper and the description of the authors' program (DIDSR/sfrc) specify patches, a Hann window, rings
inside the inscribed circle, a constant such as 0.5 or 0.75, a threshold on the cut-off, and the exclusion of air. The
equations of the paper, its patch size for MRI and its thresholds were not available and could not be verified.

Departs from it in: patches of 24 pixels and the constant 0.75, which detect implanted structures best among those tried
(`benchmarks/frc.py`); patches overlap by half; their mean is subtracted before the window; a patch is included if image
or reference has structure (`MIN_STRUCTURE`), so that artificial detail in a flat region is detected as well; the
threshold is not based on annotated features, but is chosen such that noise alone rarely produces a candidate.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from cinerecon.metrics.measures import Array, as_pair

PATCH_SIZE = 24
"""Side of a patch [pixels]; in small images, a third of the side of the image."""
MIN_PATCH_SIZE = 12
"""Smallest side of a patch [pixels]; the rings of smaller patches have too few points."""
CORRELATION = 0.75
"""Correlation below which a ring does not agree with the reference."""
CUTOFF_THRESHOLD = 0.175
"""Cut-off below which a patch is a candidate [cycles per pixel]: 1 % of patches where an image differs from its
reference by noise of 4 % of the maximum (PSNR 31 dB), nearly none at 2 %; see `benchmarks/frc.py`."""
MIN_STRUCTURE = 0.03
"""Smallest standard deviation of a windowed patch that is evaluated, relative to the maximum of the reference."""


@dataclass(frozen=True, eq=False)
class FrcMap:
    """Result of scanning an image series.

    Attributes
    ----------
    cutoff
        ``(frames, rows, columns)`` cut-off of each patch [cycles per pixel], at most 0.5; NaN for patches without
        structure.
    centres
        Pixel rows ``(rows,)`` and columns ``(columns,)`` of the centres of the patches.
    size
        Side of a patch [pixels].
    """

    cutoff: Tensor
    centres: tuple[Tensor, Tensor]
    size: int

    @property
    def candidates(self) -> Tensor:
        """The patches with a cut-off below `CUTOFF_THRESHOLD`, ``(frames, rows, columns)`` bool."""
        return self.cutoff < CUTOFF_THRESHOLD

    def rate(self, box: tuple[int, int, int, int] | None = None) -> float:
        """Percentage of candidates among the patches with structure; NaN if there are none.

        Parameters
        ----------
        box
            (first y, last y, first x, last x), last not included; only patches with their centre in the box are
            counted. None means all patches.
        """
        inside = ~self.cutoff.isnan()
        if box is not None:
            rows, columns = self.centres
            in_y = (rows >= box[0]) & (rows < box[1])
            in_x = (columns >= box[2]) & (columns < box[3])
            inside = inside & in_y[:, None] & in_x
        n = int(inside.sum())
        return 100 * float((self.candidates & inside).sum()) / n if n else float("nan")

    def at_pixels(self, matrix: tuple[int, int]) -> Tensor:
        """The lowest cut-off of the patches that contain a pixel, ``(frames, y, x)``; NaN without structure."""
        lowest = self.cutoff.new_full((len(self.cutoff), *matrix), torch.inf)
        known = self.cutoff.nan_to_num(torch.inf)
        for i, row in enumerate(self.centres[0].tolist()):
            for j, column in enumerate(self.centres[1].tolist()):
                top, left = row - self.size // 2, column - self.size // 2
                part = lowest[:, top : top + self.size, left : left + self.size]
                torch.minimum(part, known[:, i, j, None, None], out=part)
        return torch.where(lowest.isinf(), torch.nan, lowest)


def scan_correlation(image: Array, reference: Array) -> FrcMap | None:
    """Scan an image series for patches that do not agree with the reference.

    Parameters
    ----------
    image, reference
        ``(frames, y, x)``; magnitudes are compared.

    Returns
    -------
    FrcMap or None
        None if the image is too small for patches.
    """
    a, b = (x.float() for x in as_pair(image, reference, magnitude=True))
    y, x = a.shape[-2:]
    size = min(PATCH_SIZE, min(y, x) // 3 // 2 * 2)
    peak = float(b.max())
    if size < MIN_PATCH_SIZE or not peak > 0:
        return None
    tops, lefts = _starts(y, size, a.device), _starts(x, size, a.device)
    cutoffs = []
    for frame, reference_frame in zip(a / peak, b / peak, strict=True):
        patches = [_patches(x, tops, lefts, size) for x in (frame, reference_frame)]
        has_structure = torch.stack([patch.std((-2, -1)) >= MIN_STRUCTURE for patch in patches]).any(0)
        cutoff = _cutoff(_ring_correlation(*patches), size)
        cutoffs.append(torch.where(has_structure, cutoff, torch.nan))
    return FrcMap(torch.stack(cutoffs), (tops + size // 2, lefts + size // 2), size)


def _starts(n: int, size: int, device: torch.device) -> Tensor:
    """First pixels of patches that overlap by half and are evenly distributed, so that they cover all pixels."""
    count = max(2, -(-(n - size) // (size // 2)) + 1)
    return torch.linspace(0, n - size, count, device=device).round().long()


def _patches(frame: Tensor, tops: Tensor, lefts: Tensor, size: int) -> Tensor:
    """Windowed patches ``(rows, columns, size, size)`` of ``(y, x)``, their weighted mean subtracted."""
    span = torch.arange(size, device=frame.device)
    rows, columns = tops[:, None] + span, lefts[:, None] + span
    patches = frame[rows[:, None, :, None], columns[None, :, None, :]]
    hann = torch.hann_window(size, periodic=False, device=frame.device)
    window = hann[:, None] * hann
    mean = (patches * window).sum((-2, -1), keepdim=True) / window.sum()
    return (patches - mean) * window


@lru_cache(maxsize=8)
def _rings(size: int) -> Tensor:
    """Number of the ring of each frequency of a half-plane transform, ``(size, size // 2 + 1)``."""
    y, x = torch.fft.fftfreq(size), torch.fft.rfftfreq(size)
    return (torch.hypot(y[:, None], x) * size).round().long()


def _ring_correlation(a: Tensor, b: Tensor) -> Tensor:
    """FRC of patches ``(..., size, size)`` for the rings 1 to size // 2, ``(..., rings)``."""
    size = a.shape[-1]
    rings = _rings(size).to(a.device).flatten()
    f, g = (torch.fft.rfft2(x).flatten(-2) for x in (a, b))
    doubled = torch.full((size, size // 2 + 1), 2.0, device=a.device)  # the other half-plane is conjugate
    doubled[:, 0] = 1
    doubled[:, -1] = 1
    weights = doubled.flatten()

    def total(values: Tensor) -> Tensor:
        sums = values.new_zeros(*values.shape[:-1], int(rings.max()) + 1)
        return sums.index_add(-1, rings, values * weights)[..., 1 : size // 2 + 1]

    power = total(f.abs().square()) * total(g.abs().square())
    return total((f * g.conj()).real) / power.clamp(min=torch.finfo(power.dtype).tiny).sqrt()


def _cutoff(correlation: Tensor, size: int) -> Tensor:
    """Frequency at which ``(..., rings)`` first falls below `CORRELATION` [cycles per pixel], interpolated."""
    below = correlation < CORRELATION
    first = torch.where(below.any(-1), below.int().argmax(-1), correlation.shape[-1] - 1)
    ring = first.clamp(min=1)[..., None]
    before, after = (correlation.gather(-1, index)[..., 0] for index in (ring - 1, ring))
    fraction = ((before - CORRELATION) / (before - after).clamp(min=1e-6)).clamp(0, 1)
    crossing = torch.where(first == 0, 1.0, first + fraction)  # the first element is ring 1
    return torch.where(below.any(-1), crossing / size, 0.5)
