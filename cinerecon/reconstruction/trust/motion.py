"""Motion between heartbeats: displacements of k-space lines, and time courses of lines that contradict each other.

The lines of a frame are measured in several heartbeats. If the body moved between them, a line of one beat belongs to
the displaced body, and its phase changes linearly along kx and from line to line. If the heart contracted differently,
the line changes over the frames in a different way from the other lines.
"""

import math
from collections.abc import Mapping

import torch

from cinerecon.axes import centre_crop
from cinerecon.cine import CineData
from cinerecon.physics.fourier import phasor
from cinerecon.physics.sampling import sampling_kind
from cinerecon.reconstruction.trust.hold_out import power

DISPLACEMENT_EXTENT = 0.3
"""Fraction of k-space around its centre whose lines are examined for displacements."""
MIN_LINE_ENERGY = 1e-3
"""Energy of a line, relative to the strongest line, below which its displacement is not measured."""
MIN_DISPLACEMENT = 0.05
"""Smallest displacement that can be distinguished from zero [pixels]."""
MAX_LINE = 6
"""Distance from the centre up to which time courses of lines are compared."""
N_COMPONENTS = 2
"""Number of temporal principal components that are compared between two lines, which must have more points."""
MIN_SIGNAL = 1.5
"""Largest singular value of the temporal change of a line, relative to that of noise, below which it is not
compared."""

Values = Mapping[str, float]


def displacement_values(data: CineData) -> Values:
    """Displacement of lines around the centre relative to the mean of the same lines in other frames.

    The product of a line and the conjugate of that mean has a phase that is linear along kx, with the displacement
    along x as its slope; the remaining phase is ky times the displacement along y. ``line_displacement`` is the root
    sum of squares of the median displacements along x and y [dB relative to a pixel]. NaN for masks of single points,
    for real-time scans, whose frames may be displaced relative to each other without harm, and if no line was sampled
    twice.
    """
    if sampling_kind(data.mask) == "points" or data.meta.is_real_time:
        return {"line_displacement": math.nan}
    n_y, n_x = data.matrix
    size = max(4, round(DISPLACEMENT_EXTENT * n_y)), max(4, round(DISPLACEMENT_EXTENT * n_x))
    mask = centre_crop(data.mask.any(-1, keepdim=True), (size[0], 1))
    mask = mask & (mask.sum(0) > 1)
    kspace = centre_crop(data.kspace, size) * mask
    others = (kspace.sum(0) - kspace) / (mask.sum(0) - 1).clamp(min=1) * mask
    product = (kspace * others.conj()).sum(1)  # (frames, ky, kx)
    lengths = (power(kspace).sum(1) * power(others).sum(1)).sqrt()
    pairs = lengths[..., 1:] * lengths[..., :-1]
    steps = product[..., 1:] * product[..., :-1].conj() / pairs.sqrt().clamp(min=1e-30)
    slope = steps.sum(-1).angle()  # (frames, ky), per sample along kx
    energy = pairs.sqrt().sum(-1)
    y, x = (torch.arange(n, device=mask.device) - n // 2 for n in size)
    counted = (energy > MIN_LINE_ENERGY * energy.max()) & (y != 0)
    if not counted.any():
        return {"line_displacement": math.nan}
    rest = (product * phasor(-slope)[..., None] ** x).sum(-1).angle()
    along_x = (slope * n_x / (2 * math.pi))[counted].abs().median()
    along_y = (rest * n_y / (2 * math.pi * y))[counted].abs().median()
    distance = max(math.hypot(float(along_x), float(along_y)), MIN_DISPLACEMENT)
    return {"line_displacement": 20 * math.log10(distance)}


def time_course_values(data: CineData, noise_std: float) -> Values:
    """Whether lines around the centre change over the frames in the same way, from points that all frames sampled.

    The temporal principal components of two lines span nearly the same space if all lines show the same heartbeat.
    ``time_course_mismatch`` is 1 minus the mean squared canonical correlation, averaged over pairs of lines and
    weighted by their signal above the noise. NaN if fewer than two such lines exceed the noise.
    """
    common = data.mask.all(0)[0].expand(data.matrix)  # (ky, kx)
    n_points = common.sum(1)
    rows = (n_points > N_COMPONENTS).nonzero().ravel()
    rows = rows[(rows - data.matrix[0] // 2).abs() <= MAX_LINE]
    if len(rows) < 2:
        return {"time_course_mismatch": math.nan}
    lines = (data.kspace[:, :, rows] * common[rows]).movedim(2, 0).flatten(2)  # (lines, frames, samples)
    components, strength, _ = torch.linalg.svd(lines - lines.mean(1, keepdim=True), full_matrices=False)
    noise = noise_std * (math.sqrt(data.n_frames) + (n_points[rows] * data.n_coils).sqrt())
    weight = (strength[:, 0] / noise.clamp(min=1e-30) - MIN_SIGNAL).clamp(min=0, max=1e6)
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    weights = torch.minimum(weight[first], weight[second])
    if not float(weights.sum()) > 0:
        return {"time_course_mismatch": math.nan}
    spaces = components[..., :N_COMPONENTS]
    overlap = spaces[first].mH @ spaces[second]  # (pairs, components, components)
    mismatch = 1 - power(overlap).sum((1, 2)) / N_COMPONENTS
    return {"time_course_mismatch": float((weights * mismatch).sum() / weights.sum())}
