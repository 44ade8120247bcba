"""Patterns of whole readouts, as a Cartesian scanner acquires them: the ky lines of each frame, ``(frames, ky)``."""

import numpy as np
from numpy.random import Generator

from cinerecon.axes import centre_slice
from cinerecon.errors import ConfigError
from cinerecon.physics.sampling.drawing import (
    Flags,
    MaskRequest,
    choose_weighted,
    gaussian_density,
    sample_by_density,
    uniform_numbers,
    vds_density,
    wide_gaussian_density,
    with_centre,
)


def full(_: Generator, request: MaskRequest) -> Flags:
    """Every line."""
    return np.ones((request.n_frames, request.ky), dtype=bool)


def gaussian(rng: Generator, request: MaskRequest) -> Flags:
    """Gaussian variable density, see `gaussian_density`; int(ky / R) lines, the centre among them."""
    n_drawn = request.n_lines_outside_centre(int(request.ky / request.acceleration))
    density = gaussian_density(request.ky, request.acceleration, request.n_acs)
    return with_centre(choose_weighted(rng, density, request.n_frames, n_drawn), request.n_acs)


def kt_gaussian(rng: Generator, request: MaskRequest) -> Flags:
    """The k-t Gaussian pattern of CMRxRecon 2024: round(ky / R) lines in addition to the centre.

    Wang et al., 10.1148/ryai.240443. Departs from the paper in: lines are drawn without repetition instead of moving
    repeated lines to free lines.
    """
    mask = choose_weighted(rng, wide_gaussian_density(request.ky), request.n_frames, request.n_lines)
    return with_centre(mask, request.n_acs)


def uniform(rng: Generator, request: MaskRequest) -> Flags:
    """Uniform random lines: int(ky / R) lines, including the centre."""
    n_drawn = request.n_lines_outside_centre(int(request.ky / request.acceleration))
    weights = np.ones(request.ky)
    weights[centre_slice(request.ky, request.n_acs)] = 0
    return with_centre(choose_weighted(rng, weights, request.n_frames, n_drawn), request.n_acs)


def vds(rng: Generator, request: MaskRequest) -> Flags:
    """Variable-density random lines, see `vds_density`."""
    density = vds_density((request.ky,), request.acceleration)
    return sample_by_density(rng, density, request.n_frames, request.acceleration)


def equispaced(rng: Generator, request: MaskRequest) -> Flags:
    """The pattern of fastMRI: every R-th line starting from a random line, in addition to the centre.

    Zbontar et al., arXiv 1811.08839. ``adjusted`` increases the distance of the lines such that their number including
    the centre is ky / R. ``shifted`` starts from another line in each frame.

    Raises
    ------
    ConfigError
        If the centre alone has as many lines as an adjusted mask may have.
    """
    distance, stop = request.acceleration, request.ky
    if "adjusted" in request.flags:
        if request.n_acs * request.acceleration >= request.ky:
            net = request.ky / request.n_acs
            what = f"{request.n_acs} central lines alone give {net:.3g}x, so the adjusted mask cannot be"
            raise ConfigError(f"{what} {request.acceleration:g}x", hint="a smaller acs or acceleration")
        n_outer, n_left = request.ky - request.n_acs, request.ky - request.n_acs * request.acceleration
        distance = request.acceleration * n_outer / n_left
        stop = request.ky - 1  # fastMRI omits the last line only in this case
    n_draws = request.n_frames if "shifted" in request.flags else 1
    offsets = np.floor(uniform_numbers(rng, n_draws) * round(distance)).astype(int)
    lines = [equispaced_lines(request.ky, distance, request.n_acs, int(offset), stop) for offset in offsets]
    return np.broadcast_to(lines, (request.n_frames, request.ky))


def equispaced_lines(ky: int, distance: float, n_acs: int, offset: int, stop: int) -> Flags:
    """Equidistant lines before `stop`, rounded if the distance is not a whole number, and the centre; ``(ky,)``."""
    mask = np.zeros(ky, dtype=bool)
    lines = np.round(np.arange(offset, stop, distance)).astype(int)
    mask[lines[lines < ky]] = True  # the last one may be rounded up
    # for odd ky the centre of fastMRI begins one line later than `centre`
    start = (ky - n_acs + 1) // 2
    mask[start : start + n_acs] = True
    return mask


def kt_equispaced(rng: Generator, request: MaskRequest) -> Flags:
    """Equispaced lines that are shifted by one line from frame to frame, in addition to the centre.

    This is the pattern of k-t BLAST and TSENSE; with ``acs=16`` it is the k-t uniform pattern of CMRxRecon 2024.
    """
    start = np.floor(uniform_numbers(rng, 1) * round(request.acceleration)) + np.arange(request.n_frames)
    offset = (np.arange(request.ky) - start[:, None]) % request.acceleration
    return with_centre(offset < 1, request.n_acs)
