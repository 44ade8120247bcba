"""Detection of the measured samples of stored k-space, by comparing the mask or assumed full sampling with the data.

Programs that store complete matrices fill missing lines with zeros, with the same line of another frame (view sharing),
with the mean of adjacent lines, or with the complex conjugate of the other half of k-space. Because of noise, two
measured lines are never equal, and no measured line is the mean of the adjacent lines. Such lines are treated as not
measured, with a warning.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cinerecon.acquisition.checks.headers import describe_incomplete_frames
from cinerecon.acquisition.zero_filling import has_empty_corners
from cinerecon.cine import CineData
from cinerecon.errors import DataError
from cinerecon.io.plausibility import choose_frames
from cinerecon.words import name_frames

SAME_POWER_RATIO = 1e-10
"""Power of the difference of two lines, relative to that of one line, up to which they are equal except for
rounding."""
CENTRE_SAMPLES = 4
"""Number of samples on each side of the centre of a line that are compared first."""
EMPTY_POINT_FRACTION = 0.01
"""Fraction of empty points in lines with signal above which single points were not measured, as in radial masks."""
QUANTISED_RATIO = 10.0
"""Ratio of the median to the smallest amplitude below which samples are integers with noise rounded to zero."""
MISPLACED_FRACTION = 0.2
"""Fraction of empty lines in the mask, and of lines with samples outside it, above which it does not belong to
k-space."""
EMPTY_LINE_RATIO = 1e-12
"""Power of an empty line relative to the mean of all lines; noise is far above it, rounding errors are below."""


@dataclass(frozen=True, eq=False)
class Measured:
    """The measured part of a slice.

    Attributes
    ----------
    frames
        Indices of the frames to keep.
    mask
        ``(kept frames, 1, ky, kx or 1)`` bool.
    warnings
        Warnings about frames and lines that are treated as not measured.
    """

    frames: list[int]
    mask: Tensor
    warnings: tuple[str, ...]

    def keep_(self, kspace: Tensor) -> Tensor:
        """K-space of the frames to keep, zero where it was not measured; in place if all frames are kept."""
        chosen = kspace if len(self.frames) == len(kspace) else kspace[self.frames]
        return chosen.mul_(self.mask)


def find_measured(kspace: Tensor, claimed: Tensor | None, where: str) -> Measured:
    """Determine the measured samples from the mask and the content of k-space.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``, not all zero.
    claimed
        ``(frames, 1, ky, kx or 1)`` mask of the file; None if all of k-space is assumed to be measured.
    where
        File and slice, for error messages.

    Raises
    ------
    DataError
        If frames between others are empty, fewer than two remain, or the mask belongs to another scan.
    """
    n_frames, _, ky, kx = kspace.shape
    claimed_points = torch.ones(n_frames, ky, kx, dtype=torch.bool)
    claimed_points = claimed_points if claimed is None else claimed[:, 0] & claimed_points
    power = _power(kspace)
    has_signal_at = claimed_points & (power > EMPTY_LINE_RATIO * power.mean())
    has_signal = has_signal_at.any(-1)
    redundant = _redundant_lines(kspace, has_signal)
    missing = {"empty": (~has_signal.any(-1)).nonzero().ravel().tolist()}
    frames, warnings = choose_frames(n_frames, missing, _redundant_frames(has_signal, redundant), where)
    claimed_points, has_signal_at = claimed_points[frames], has_signal_at[frames]
    measured = _without_empty(claimed_points, has_signal_at, kspace[frames[:1]])
    warnings += _describe(claimed_points, measured, is_full=claimed is None)
    for what, lines in redundant.items():
        measured = measured & ~lines[frames, :, None]
        if lines[frames].any():
            n = int(lines[frames].sum())
            warnings.append(f"{n} of {has_signal_at.any(-1).sum()} lines are {what}: they are treated as not measured")
    incomplete = describe_incomplete_frames(measured.any(-1).numpy(), ky // 2)
    is_whole = bool((measured == measured.any(-1, keepdim=True)).all())
    mask = measured.any(-1, keepdim=True) if is_whole else measured
    return Measured(frames, mask[:, None], (*warnings, *([incomplete] if incomplete else [])))


def require_own_pattern(claims: Tensor, has_signal: Tensor, where: str) -> None:
    """Refuse a mask that is flipped, shifted or from another scan, or whose frames are in another order.

    Many lines of such a mask are empty, and many other lines contain samples. A mask that only has too few or too many
    lines is not refused here.

    Parameters
    ----------
    claims, has_signal
        ``(frames, ky, kx)`` bool, the mask and the nonzero samples.
    where
        File and slice, for error messages.

    Raises
    ------
    DataError
        If the mask does not belong to k-space.
    """
    claimed, measured = claims.any(-1), has_signal.any(-1)
    n_claimed, n_empty = int(claimed.sum()), int((claimed & ~measured).sum())
    n_other = int((measured & ~claimed).sum())
    if min(n_empty, n_other) > MISPLACED_FRACTION * n_claimed:
        what = f"{n_empty} of {n_claimed} lines of the pattern are empty, and {n_other} other lines contain samples"
        hint = (
            "does it belong to another scan, is it flipped or not centred (,uncentred), or are its frames in a "
            "different order?"
        )
        raise DataError(f"the pattern does not match k-space: {what}", where=where, hint=hint)


def _n_outer(is_measured: Tensor) -> int:
    """Number of lines or columns before the first and after the last measured one."""
    numbers = is_measured.nonzero().ravel()
    return len(is_measured) - (int(numbers[-1]) + 1 - int(numbers[0]))


def own_lines(kspace: Tensor, mask: Tensor) -> tuple[Tensor, list[str]]:
    """The mask of a raw scan without lines derived from other lines, except in frames that consist only of such lines.

    Parameters
    ----------
    kspace, mask
        ``(frames, coils, ky, kx)``, ``(frames, 1, ky, kx or 1)``

    Returns
    -------
    ``(frames, 1, ky, kx or 1)`` bool, and warnings about lines treated as not measured and frames copied from others.
    """
    warnings = []
    sampled = mask[:, 0].any(-1)
    redundant = _redundant_lines(kspace, sampled)
    frames = _redundant_frames(sampled, redundant)
    for what, numbers in frames.items():
        if numbers:
            is_end = numbers == list(range(numbers[0], len(mask)))
            option = f"; --frames 0:{numbers[0]} excludes them" if is_end else ""
            warnings.append(f"{name_frames(numbers)} of {len(mask)} not measured: {what}{option}")
    for what, lines in redundant.items():
        lines[[number for numbers in frames.values() for number in numbers]] = False
        if lines.any():
            n = int(lines.sum())
            warnings.append(f"{n} of {int(sampled.sum())} lines are {what}: they are treated as not measured")
            mask = mask & ~lines[:, None, :, None]
    return mask, warnings


def keep_measured(data: CineData) -> CineData:
    """A slice restricted to its measured samples; a reference from all samples is removed if samples are missing.

    K-space of the given slice may be modified in place.

    Raises
    ------
    DataError
        See `find_measured`.
    """
    measured = find_measured(data.kspace, data.mask, data.where)
    mask, frames, meta = data.mask[measured.frames], measured.frames, data.meta
    is_all = torch.equal(measured.mask.expand_as(data.kspace[frames, :1]), mask.expand_as(data.kspace[frames, :1]))
    times = [meta.frame_times_ms[frame] for frame in frames] if meta.frame_times_ms else []
    reference = None if data.reference is None else data.reference[frames]
    if meta.is_own_reference and not is_all:
        reference, meta = None, replace(meta, reference_is="")
    meta = replace(meta, frame_times_ms=tuple(time - times[0] for time in times))
    mask = mask if is_all else measured.mask
    data = replace(data, kspace=measured.keep_(data.kspace), mask=mask, reference=reference, meta=meta)
    return data.with_warnings(*measured.warnings)


def _power(kspace: Tensor) -> Tensor:
    """Sum of squared magnitudes over coils, ``(frames, ky, kx)``."""
    power = torch.zeros(kspace[:, 0].shape)
    for coil in kspace.unbind(1):
        power += torch.view_as_real(coil).square().sum(-1)
    return power


def _without_empty(claimed_points: Tensor, has_signal_at: Tensor, first_frame: Tensor) -> Tensor:
    """The points of the mask without empty lines and columns, and without empty points if there are many."""
    lines, columns = has_signal_at.any(-1, keepdim=True), has_signal_at.flatten(0, 1).any(0)
    measured = claimed_points & lines & columns
    n_empty = int((measured & ~has_signal_at).sum())
    if n_empty <= EMPTY_POINT_FRACTION * int(measured.sum()) or _is_quantised(first_frame):
        return measured
    return measured if has_empty_corners(has_signal_at) else has_signal_at


def _is_quantised(frame: Tensor) -> bool:
    """Whether the samples are integers so small that noise is rounded to zero."""
    amplitudes = torch.view_as_real(frame).abs()
    amplitudes = amplitudes[amplitudes > 0]
    return float(amplitudes.median()) < QUANTISED_RATIO * float(amplitudes.min())


def _describe(claimed_points: Tensor, measured: Tensor, *, is_full: bool) -> Iterator[str]:
    """Warnings about samples that are in the mask but were not measured."""
    claimed_lines, lines = claimed_points.any(-1), measured.any(-1)
    n_empty = int((claimed_lines & ~lines).sum())
    outer = {"lines": _n_outer(lines.any(0)), "columns": _n_outer(measured.any(0).any(0))}
    if is_full and n_empty > len(lines) * outer["lines"]:
        outer["lines"] = 0  # reported as part of the mask
    for name, n_outer in outer.items() if is_full else ():
        if n_outer:
            n = measured.shape[1 if name == "lines" else 2]
            yield f"the outer {n_outer} of {n} {name} of k-space are empty: they are treated as not measured"
    if n_empty and not (is_full and outer["lines"]):
        claim = (
            "although the file is supposed to be fully sampled"
            if is_full
            else "although its mask marks them as measured"
        )
        yield f"{n_empty} of {claimed_lines.sum()} lines contain only zeros, {claim}: they are treated as not measured"
    n_points = int((claimed_points & lines[..., None] & measured.flatten(0, 1).any(0) & ~measured).sum())
    if n_points:
        claim = "the file is supposed to be fully sampled" if is_full else "its mask marks them as measured"
        yield f"{n_points} points of k-space contain only zeros, although {claim}: they are treated as not measured"


def _redundant_lines(kspace: Tensor, has_signal: Tensor) -> dict[str, Tensor]:
    """Lines ``(frames, ky)`` with signal that are derived from other lines, judged by the coil with the most signal.

    Their centres are compared first, and whole lines only if some centres are equal.
    """
    centre = kspace.shape[-1] // 2
    middle = kspace[..., max(centre - CENTRE_SAMPLES, 0) : centre + CENTRE_SAMPLES + 1]
    coil = int(torch.linalg.vector_norm(middle, dim=(0, 2, 3)).argmax())
    redundant = _compare_lines(middle[:, coil], has_signal)
    if any(bool(lines.any()) for lines in redundant.values()):
        redundant = _compare_lines(kspace[:, coil], has_signal)
    return redundant


def _compare_lines(coil: Tensor, has_signal: Tensor) -> dict[str, Tensor]:
    """Lines of ``(frames, ky, kx)`` that are derived from other lines, by kind."""
    energy = _energy(coil)
    copied = torch.zeros_like(has_signal)
    for lag in range(1, 1 if _is_symmetric_motion(coil, energy) else len(coil)):
        copied[lag:] |= _energy(coil[lag:] - coil[:-lag]) <= SAME_POWER_RATIO * energy[lag:]
    copied[:, 1:] |= _energy(coil[:, 1:] - coil[:, :-1]) <= SAME_POWER_RATIO * energy[:, 1:]
    copied &= has_signal
    interpolated = torch.zeros_like(has_signal)
    interpolated[1:-1] |= _is_mean(coil, energy, 0)
    interpolated[:, 1:-1] |= _is_mean(coil, energy, 1)
    interpolated &= has_signal & ~copied
    conjugate = _is_conjugate(coil, energy, has_signal) & ~copied & ~interpolated
    return {
        "copies of other lines": copied,
        "averages of adjacent lines": interpolated,
        "complex conjugates of other lines": conjugate,
    }


def _is_conjugate(coil: Tensor, energy: Tensor, has_signal: Tensor) -> Tensor:
    """Lines after the centre that are complex conjugates of those before it (partial Fourier).

    If this includes the lines next to the centre, the image is real, and k-space does not show which lines were
    measured.
    """
    ky, kx = coil.shape[1:]
    centre = ky // 2
    n = ky - 1 - centre
    symmetric = coil[..., 1 - kx % 2 :] if kx % 2 == 0 else coil
    after, before = symmetric[:, centre + 1 :], symmetric[:, centre - n : centre].flip(1, 2).conj()
    is_conjugate = torch.zeros_like(has_signal)
    is_pair = (energy[:, centre + 1 :] > 0) & has_signal[:, centre + 1 :] & has_signal[:, centre - n : centre].flip(1)
    is_equal = _energy((after - before).resolve_conj()) <= SAME_POWER_RATIO * _energy(after)
    if not bool((is_equal | ~is_pair)[:, :2].all()):
        is_conjugate[:, centre + 1 :] = is_equal & is_pair
    return is_conjugate


def _is_symmetric_motion(coil: Tensor, energy: Tensor) -> bool:
    """Whether frame n equals frame -n, as in noise-free simulations whose motion is a cosine in time."""
    is_static = bool((_energy(coil[1:] - coil[:-1]) <= SAME_POWER_RATIO * energy[1:]).all())
    is_both = (energy[1:] > 0) & (energy[1:].flip(0) > 0)
    is_equal = _energy(coil[1:] - coil[1:].flip(0)) <= SAME_POWER_RATIO * energy[1:]
    return not is_static and bool(is_both.any()) and bool((is_equal | ~is_both).all())


def _is_mean(coil: Tensor, energy: Tensor, axis: int) -> Tensor:
    """Whether inner lines are the mean of the two adjacent lines along frames or ky."""
    n = max(coil.shape[axis] - 2, 0)
    before, middle, after = (coil.narrow(axis, min(start, coil.shape[axis]), n) for start in (0, 1, 2))
    previous, own, following = (energy.narrow(axis, min(start, coil.shape[axis]), n) for start in (0, 1, 2))
    return (_energy(2 * middle - before - after) <= 4 * SAME_POWER_RATIO * own) & (previous > 0) & (following > 0)


def _redundant_frames(has_signal: Tensor, redundant: dict[str, Tensor]) -> dict[str, list[int]]:
    """Frames without independent lines, by the kind of most of their lines."""
    follows = torch.stack([*redundant.values()]).any(0)
    frames = (has_signal.any(-1) & (follows | ~has_signal).all(-1)).nonzero().ravel().tolist()
    by_kind: dict[str, list[int]] = {what: [] for what in redundant}
    for frame in frames:
        by_kind[max(redundant, key=lambda what: int(redundant[what][frame].sum()))].append(frame)
    return by_kind


def _energy(lines: Tensor) -> Tensor:
    """Sum of squared magnitudes along kx."""
    return torch.view_as_real(lines).square().sum((-1, -2))


def lines_with_signal(kspace: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``(ky,)`` and columns ``(kx,)`` that contain signal, bool.

    Parameters
    ----------
    kspace
        ``(frames, coils, ky, kx)``
    """
    power = torch.view_as_real(kspace).square().sum((0, 1, 4))
    return _has_power(power.sum(1)), _has_power(power.sum(0))


def _has_power(power: Tensor) -> Tensor:
    return power > EMPTY_LINE_RATIO * power.mean()
