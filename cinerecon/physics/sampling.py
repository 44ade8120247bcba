"""k-t sampling patterns. One line of text names a pattern everywhere: ``gaussian:8,acs=4``, ``radial:16``.

Every pattern is seeded (NumPy's PCG64, the same on every platform) and centred (zero frequency at index n // 2). The
number after the name is the nominal acceleration; for ``radial`` it is the count of spokes, as the literature says it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.config import nearest_name
from cinerecon.errors import ConfigError

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskSpec:
    """A sampling pattern by name, before the sizes are known.

    Attributes
    ----------
    pattern
        Name of the pattern, a key of `PATTERNS`.
    acceleration
        Nominal acceleration; the count of spokes for ``radial``.
    n_acs
        Fully sampled central ky lines; None takes the pattern's own default.
    """

    pattern: str
    acceleration: float
    n_acs: int | None = None

    def __str__(self) -> str:
        """The text that `parse_mask` reads."""
        return f"{self.pattern}:{self.acceleration:g}" + ("" if self.n_acs is None else f",acs={self.n_acs}")

    @property
    def samples_whole_readouts(self) -> bool:
        """Whether the mask is the same for every kx, as a Cartesian scanner acquires it."""
        return PATTERNS[self.pattern].whole_readouts

    def draw(self, n_frames: int, ky: int, kx: int, seed: int | Generator = 0) -> Tensor:
        """Draw a mask ``(frames, 1, ky, kx or 1)`` bool.

        Raises
        ------
        ConfigError
            If the pattern does not fit the matrix, e.g. more central lines than lines.
        """
        pattern = PATTERNS[self.pattern]
        n_acs = pattern.n_acs if self.n_acs is None else self.n_acs
        rng = np.random.default_rng(seed)
        mask = pattern.draw(rng, n_frames, ky, kx, self.acceleration, n_acs)
        return torch.from_numpy(mask)[:, None]


def parse_mask(text: str) -> MaskSpec:
    """Read ``name:acceleration[,acs=lines]``.

    Raises
    ------
    ConfigError
        If the text is not of that form, or the name is unknown.
    """
    head, *options = text.split(",")
    name, _, number = head.strip().partition(":")
    if name not in PATTERNS:
        raise ConfigError(f"unknown sampling pattern '{name}'", hint=nearest_name(name, list(PATTERNS)))
    try:
        values = dict(option.strip().split("=") for option in options)
        n_acs = int(values.pop("acs")) if "acs" in values else None
        acceleration = float(number or 1)
    except ValueError:
        raise ConfigError(f"'{text}' is not a sampling pattern", hint="write e.g. gaussian:8,acs=4") from None
    if values:
        raise ConfigError(f"unknown option '{next(iter(values))}' of a sampling pattern", hint="known: acs")
    if not acceleration >= 1 or (n_acs is not None and n_acs < 0):
        raise ConfigError(f"'{text}': the acceleration must be at least 1 and acs at least 0")
    return MaskSpec(name, acceleration, n_acs)


def net_acceleration(mask: Tensor, *, n_acs: int = 0) -> float:
    """K-space points over sampled points, ``(*batch, frames, 1, ky, kx or 1)``; the n_acs central ky lines left out."""
    ky = mask.shape[-2]
    outer = torch.ones(ky, dtype=torch.bool, device=mask.device)
    if n_acs:
        outer[ky // 2 - n_acs // 2 : ky // 2 - n_acs // 2 + n_acs] = False
    counted = mask[..., outer, :]
    return counted.numel() / max(int(counted.sum()), 1)


def count_acs(mask: Tensor) -> int:
    """The count of central ky lines that every frame samples, around ky // 2."""
    always = mask.flatten(0, -4).all(0).all(0).all(-1).tolist()
    centre = len(always) // 2
    run = lambda lines: next((n for n, sampled in enumerate(lines) if not sampled), len(lines))  # noqa: E731
    above = run(always[centre:])
    return above + run(always[:centre][::-1]) if above else 0


def view_share(kspace: Tensor, mask: Tensor) -> Tensor:
    """Fill each point that a frame did not sample from the frames that did, linearly in time.

    Parameters
    ----------
    kspace
        ``(*batch, frames, coils, ky, kx)``, zero where not sampled.
    mask
        ``(*batch, frames, 1, ky, kx or 1)`` bool.

    Returns
    -------
    Tensor
        ``(*batch, frames, coils, ky, kx)``; before the first and after the last sampled frame the nearest one is
        taken, a point that no frame samples stays zero.
    """
    n_frames = mask.shape[-4]
    time = torch.arange(n_frames, device=mask.device).view(-1, 1, 1, 1)
    before = torch.where(mask, time, -1).cummax(-4).values
    after = torch.where(mask, time, n_frames).flip(-4).cummin(-4).values.flip(-4)
    has_before, has_after = before >= 0, after < n_frames
    first = torch.where(has_before, before, after).clamp(0, n_frames - 1)
    second = torch.where(has_after, after, before).clamp(0, n_frames - 1)
    weight = (time - first).to(kspace.real.dtype) / (second - first).clamp(min=1)
    take = lambda index: kspace.gather(-4, index.expand(kspace.shape))  # noqa: E731
    return torch.lerp(take(first), take(second), weight.to(kspace.dtype).expand(kspace.shape))


def _full(_: Generator, n_frames: int, ky: int, __: int, ___: float, ____: int) -> BoolArray:
    return np.ones((n_frames, ky, 1), dtype=bool)


def gaussian_density(ky: int, acceleration: float, n_acs: int) -> NDArray[np.float64]:
    """Probability of each ky line outside the centre: a Gaussian of std ky / 10 over a uniform floor, ``(ky,)``.

    Jung et al., k-t FOCUSS, 10.1002/mrm.21757, in the form of Schlemper et al., 10.1109/TMI.2017.2760978.
    """
    line = np.arange(ky)
    density = np.exp(-0.5 / (ky / 10) ** 2 * (line - ky / 2) ** 2) + 0.5 / acceleration
    density[_centre(ky, n_acs)] = 0
    return density / density.sum()


def _gaussian(rng: Generator, n_frames: int, ky: int, _: int, acceleration: float, n_acs: int) -> BoolArray:
    n_lines = int(ky / acceleration)
    _require_lines(n_lines, n_acs, ky, acceleration)
    density = gaussian_density(ky, acceleration, n_acs)
    mask = np.zeros((n_frames, ky, 1), dtype=bool)
    for frame in mask:
        frame[rng.choice(ky, n_lines - n_acs, replace=False, p=density)] = True
    mask[:, _centre(ky, n_acs)] = True
    return mask


def _uniform(rng: Generator, n_frames: int, ky: int, _: int, acceleration: float, n_acs: int) -> BoolArray:
    n_lines = int(ky / acceleration)
    _require_lines(n_lines, n_acs, ky, acceleration)
    outside = np.setdiff1d(np.arange(ky), np.arange(ky)[_centre(ky, n_acs)])
    mask = np.zeros((n_frames, ky, 1), dtype=bool)
    for frame in mask:
        frame[rng.choice(outside, n_lines - n_acs, replace=False)] = True
    mask[:, _centre(ky, n_acs)] = True
    return mask


def _equispaced(rng: Generator, n_frames: int, ky: int, _: int, acceleration: float, n_acs: int) -> BoolArray:
    """FastMRI's definition (Zbontar et al., arXiv 1811.08839): the same lines in every frame, the centre extra."""
    mask = np.zeros((n_frames, ky, 1), dtype=bool)
    step = round(acceleration)
    mask[:, int(rng.integers(step)) :: step] = True
    pad = (ky - n_acs + 1) // 2
    mask[:, pad : pad + n_acs] = True
    return mask


def _kt_equispaced(rng: Generator, n_frames: int, ky: int, _: int, acceleration: float, n_acs: int) -> BoolArray:
    """Equispaced lines that move on by one line from frame to frame (k-t GRAPPA, TSENSE)."""
    mask = np.zeros((n_frames, ky, 1), dtype=bool)
    step = round(acceleration)
    start = int(rng.integers(step))
    for t, frame in enumerate(mask):
        frame[(start + t) % step :: step] = True
    mask[:, _centre(ky, n_acs)] = True
    return mask


def radial_spokes(shape: tuple[int, int], n_spokes: int, rotation: float) -> BoolArray:
    """Pseudo-radial sampling of one frame ``(ky, kx)``: full-diameter spokes on the nearest grid points.

    Lingala et al., k-t SLR, 10.1109/TMI.2010.2100850; the rounding of the JotlasNet program.

    Parameters
    ----------
    shape
        (ky, kx).
    n_spokes
        Spokes at equal angles.
    rotation
        Shift of all angles, as a fraction of their distance, in [0, 1).
    """
    ky, kx = shape
    angle = np.arange(n_spokes)[:, None] * (np.pi / n_spokes) + np.pi / n_spokes * rotation
    along_y = np.ceil(np.arange(-ky / 2, ky / 2))
    along_x = np.ceil(np.linspace(-kx / 2, kx / 2, ky + 1))[:-1]
    rows = np.floor(along_y * np.cos(angle)).astype(int) + ky // 2
    columns = np.floor(along_x * np.sin(angle)).astype(int) + kx // 2
    mask = np.zeros(shape, dtype=bool)
    mask[rows % ky, columns % kx] = True
    return mask


def _radial(rng: Generator, n_frames: int, ky: int, kx: int, n_spokes: float, _: int) -> BoolArray:
    return np.stack([radial_spokes((ky, kx), round(n_spokes), rng.random()) for _ in range(n_frames)])


def vds_density(shape: tuple[int, int], acceleration: float) -> NDArray[np.float64]:
    """Probability of each point, ``(ky, kx)``: min(1, (1 - r)^9 + v), where v makes the sum fit the acceleration."""
    r = np.hypot(*np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    profile = (1 - r / r.max()) ** 9
    target, low, high = int(r.size / acceleration), 0.0, 1.0
    for _ in range(60):
        level = (low + high) / 2
        total = int(np.floor(np.minimum(1, profile + level).sum()))
        if total == target:
            break
        low, high = (level, high) if total < target else (low, level)
    return np.minimum(1, profile + level)


def _vds(rng: Generator, n_frames: int, ky: int, kx: int, acceleration: float, _: int) -> BoolArray:
    density = vds_density((ky, kx), acceleration)
    n_points = round(ky * kx / acceleration) + 1
    score = rng.random((n_frames, ky * kx)) * density.ravel()
    mask = np.zeros((n_frames, ky * kx), dtype=bool)
    np.put_along_axis(mask, np.argpartition(score, -n_points, axis=1)[:, -n_points:], True, axis=1)
    return mask.reshape(n_frames, ky, kx)


def _centre(ky: int, n_acs: int) -> slice:
    return slice(ky // 2 - n_acs // 2, ky // 2 - n_acs // 2 + n_acs)


def _require_lines(n_lines: int, n_acs: int, ky: int, acceleration: float) -> None:
    if not 0 <= n_acs <= n_lines or n_lines < 1:
        raise ConfigError(
            f"{n_lines} lines per frame ({ky} at {acceleration:g}x) cannot hold {n_acs} central ones",
            hint="a smaller acs or acceleration",
        )


Draw = Callable[[Generator, int, int, int, float, int], BoolArray]


@dataclass(frozen=True)
class Pattern:
    """How to draw a pattern, its default count of central lines, and whether it samples whole readouts."""

    draw: Draw
    n_acs: int = 0
    whole_readouts: bool = True


PATTERNS: dict[str, Pattern] = {
    "full": Pattern(_full),
    "gaussian": Pattern(_gaussian, n_acs=4),
    "uniform": Pattern(_uniform, n_acs=4),
    "equispaced": Pattern(_equispaced, n_acs=24),
    "kt-equispaced": Pattern(_kt_equispaced, n_acs=0),
    "radial": Pattern(_radial, whole_readouts=False),
    "vds": Pattern(_vds, whole_readouts=False),
}
