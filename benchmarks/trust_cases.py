"""Cases with known reference, to fit and test the verdict: intact scans, and scans with one kind of failure.

Phantoms, and measured magnitude cines with simulated phase, coils and noise. Each case with a failure has an intact
twin with the same anatomy, phase, coils and noise, and with the same pattern unless the acceleration is wrong.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from cinerecon.axes import centre_slice
from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.io.magnitude import find_magnitudes, stem_of
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.noise import white_noise
from cinerecon.physics.sampling import parse_mask
from cinerecon.reconstruction.trust.calibration import NEEDS_COILS
from cinerecon.simulation.phantom import PhaseConfig, add_phase, draw_coil_maps
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

SIZES = (*((96, 12),) * 8, (80, 10), (96, 20), (112, 16), (128, 16))
"""Number of rows and columns, and number of frames, drawn with equal probability."""
PATTERNS = (
    *("gaussian:4,acs=4", "gaussian:6,acs=4", "gaussian:8,acs=4", "gaussian:8,acs=4", "gaussian:10,acs=4"),
    *("gaussian:12,acs=4", "gaussian:3,acs=6", "vista:6", "vds:8", "equispaced:6,acs=8", "radial:16", "radial:24"),
)
"""Patterns of intact scans, drawn with equal probability."""
NOISE = (0.003, 0.025)
"""Range of the noise of intact scans, relative to the maximum of the image."""
COILS = (1, 1, 1, 1, 4, 4, 8, 12)


PHASE = PhaseConfig(fat=0.2, bands=0.1)
"""Phase that changes as fast as in measured cines. Fewer have fat and bands of their own than the training data of
networks, as the magnitudes of measured cines show theirs already."""


@dataclass(frozen=True)
class Ranges:
    """The values from which scans are drawn, each with equal probability, and the range of the noise.

    The phase of a share of the scans changes as fast as in measured cines; that of the others is smooth. Images are
    square, or cropped to one of the numbers of columns: a shorter field of view along the readout saves time.
    """

    sizes: tuple[tuple[int, int], ...] = SIZES
    patterns: tuple[str, ...] = PATTERNS
    coils: tuple[int, ...] = COILS
    noise: tuple[float, float] = NOISE
    fast_phase: float = 0.0
    columns: tuple[int, ...] = ()


USUAL = Ranges()
"""Smooth phase, and in most scans 12 frames."""
VARIED = Ranges(
    (
        *((96, 8), (96, 9), (96, 10), (96, 12), (96, 14), (96, 16), (96, 20), (96, 24), (96, 30)),
        *((80, 8), (80, 20), (112, 10), (128, 12)),
    ),
    (*PATTERNS, "gaussian:5,acs=8", "equispaced:4,acs=24", "poisson:6"),
    (1, 1, 1, 1, 2, 4, 4, 8, 12),
    (0.002, 0.03),
    fast_phase=0.8,
)
"""Phase that changes fast in most scans, and between 8 and 30 frames."""
CLINICAL = Ranges(
    (
        *((144, 25), (160, 20), (160, 25), (176, 24), (192, 24), (192, 30), (208, 20), (208, 25), (128, 25), (144, 12)),
        *((64, 80), (64, 48), (64, 24), (80, 60), (96, 40), (64, 12)),
    ),
    (
        *("gaussian:4,acs=8", "gaussian:6,acs=2", "gaussian:8,acs=4", "gaussian:8,acs=8", "gaussian:12,acs=4"),
        *("gaussian:16,acs=4", "gaussian:16,acs=2", "gaussian:10,acs=6", "vista:4", "vista:8", "vds:6", "vds:10"),
        *("equispaced:2,acs=16", "equispaced:4,acs=16", "equispaced:6,acs=8", "radial:24", "radial:48", "poisson:8"),
    ),
    (1, 1, 1, 2, 4, 8, 8, 12, 16),
    (0.002, 0.03),
    fast_phase=0.6,
    columns=(72, 80, 80, 96, 112),
)
"""Numbers of lines and frames of clinical scans, and small images with many frames."""
LOW_ACCELERATION = Ranges(
    (*((96, 12),) * 4, (96, 8), (96, 20), (96, 24), (80, 10), (112, 16), (128, 12), (160, 12)),
    (
        *("gaussian:1.6,acs=8", "gaussian:2,acs=4", "gaussian:2,acs=8", "gaussian:2.5,acs=4", "gaussian:3,acs=6"),
        *("equispaced:2,acs=8", "equispaced:2,acs=24", "equispaced:3,acs=8", "vds:2", "vista:2", "radial:72"),
        *("poisson:2", "poisson:3"),
    ),
    (1, 1, 1, 1, 2, 4, 8, 12),
    (0.002, 0.03),
    fast_phase=0.5,
)
"""Acceleration below that of most scans of the other ranges."""
WIDE = Ranges(
    (*((96, 12),) * 4, (96, 8), (80, 10), (96, 20), (96, 32), (112, 16), (128, 12), (128, 24), (160, 12)),
    (*PATTERNS, "gaussian:5,acs=8", "equispaced:4,acs=24", "vista:8", "poisson:6", "poisson:8"),
    (1, 1, 1, 2, 4, 6, 8, 12, 20),
    (0.0003, 0.05),
)
"""Wider ranges of noise, coils and lines, for the limits of the checks."""
WRAP_RATIO = (1.1, 1.6)
"""Range of the length of the body along y, relative to the field of view, in scans with wrap-around."""
CLIPPING = (0.05, 0.4)
"""Range of the limit of a saturated receiver, relative to the largest sample."""
BREATHING = (3, 12)
"""Range of the displacement by breathing [pixels]."""
DISPLACED_MAPS = (2, 8)
"""Range of the displacement of coil maps [pixels]."""
N_BEATS = 6
"""Number of heart beats over which the lines of a frame are spread in scans with motion between beats."""


@dataclass(frozen=True)
class Anatomy:
    """A subject: the phantom of a seed, or a measured cine."""

    subject: str
    path: Path | None = None
    seed: int = 0

    @property
    def has_margin(self) -> bool:
        """Whether the image shows the whole body, so that a shorter field of view causes wrap-around."""
        return self.path is None or not self.path.stem.startswith("acdc")


@dataclass(frozen=True)
class Plan:
    """The description of a case; equal plans give equal data."""

    anatomy: Anatomy
    kind: str
    seed: int
    ranges: Ranges = USUAL

    @property
    def name(self) -> str:
        """Unique name."""
        stem = self.anatomy.path.stem if self.anatomy.path else f"phantom{self.anatomy.seed}"
        return f"{stem} {self.kind} {self.seed}"


@dataclass
class Scan:
    """A scan before it becomes a case; failures change its attributes."""

    image: Tensor
    csm: Tensor | None
    pattern: str
    noise: float
    meta: CineMeta
    rng: np.random.Generator
    seed: int
    mask: Tensor | None = None
    kspace: Tensor | None = None
    reference: Tensor | None = None
    maps: Tensor | None = None

    def sample(self) -> None:
        """Draw the mask, compute k-space, and use the image as the reference, each unless it is already set."""
        if self.mask is None:
            self.mask = draw_mask(self.pattern, len(self.image), self.image, self.seed)
        self.reference = self.image if self.reference is None else self.reference
        if self.kspace is None:
            self.kspace = self.transform(self.image)

    def transform(self, image: Tensor) -> Tensor:
        """Complete k-space of an image, ``(frames, coils, ky, kx)``."""
        return fft2c(self.coil_images(image))

    def coil_images(self, image: Tensor) -> Tensor:
        """An image as the coils receive it, ``(frames, coils, y, x)``."""
        return image.unsqueeze(1) if self.csm is None else image.unsqueeze(1) * self.csm

    def finish(self) -> CineData:
        """Add noise, apply the mask, and estimate coil maps from the samples unless they are given."""
        assert self.kspace is not None and self.mask is not None
        noise = white_noise(np.random.default_rng([self.seed, 5]), self.kspace.shape)
        kspace = (self.kspace + self.noise * noise) * self.mask
        maps = self.maps if self.maps is not None else estimate_csm(kspace, self.mask)
        return CineData(kspace, self.mask, maps, self.reference, self.meta)


def make_case(plan: Plan) -> CineData:
    """The data of a plan, with the reference."""
    rng = np.random.default_rng([plan.seed, 1])
    ranges = plan.ranges
    n_coils = int(rng.choice(ranges.coils))
    side, n_frames = ranges.sizes[np.random.default_rng([plan.seed, 2]).integers(len(ranges.sizes))]
    is_longer = plan.kind == "wrap-around" and plan.anatomy.path is not None  # phantoms show the whole body
    rows = round(wrap_ratio_of(plan.seed) * side) if is_longer else side
    has_fast_phase = np.random.default_rng([plan.seed, 4]).random() < ranges.fast_phase
    image, meta = draw_image(plan.anatomy, n_frames, (rows, side), plan.seed, has_fast_phase=has_fast_phase)
    if ranges.columns:
        n_columns = int(np.random.default_rng([plan.seed, 7]).choice(ranges.columns))
        image = image[..., centre_slice(image.shape[-1], min(n_columns, image.shape[-1]))].contiguous()
        image = image / image.abs().max()
    csm = draw_coil_maps(plan.seed, n_coils, image.shape[-2:]) if n_coils > 1 else None
    noise = float(np.exp(rng.uniform(*np.log(ranges.noise))))
    scan = Scan(image, csm, str(rng.choice(ranges.patterns)), noise, meta, rng, plan.seed)
    FAILURES.get(plan.kind, intact)(scan)
    scan.sample()
    return scan.finish()


def wrap_ratio_of(seed: int) -> float:
    """Length of the body along y, relative to the field of view."""
    return float(np.random.default_rng([seed, 3]).uniform(*WRAP_RATIO))


def draw_image(
    anatomy: Anatomy, n_frames: int, size: tuple[int, int], seed: int, *, has_fast_phase: bool = False
) -> tuple[Tensor, CineMeta]:
    """The complex reference ``(frames, y, x)`` of peak 1, with fewer frames, rows or columns if the cine is smaller."""
    y, x = size
    if anatomy.path is not None:
        shape = np.load(anatomy.path)["magnitude"].shape
        n_frames, y, x = (min(n, m) for n, m in zip((n_frames, y, x), shape, strict=True))
    own = anatomy.seed if anatomy.path is None else seed
    config = SimulateConfig(n_frames=n_frames, ky=y, kx=x, n_coils=1, noise=0, seed=own)
    (data,) = simulate_cine(config, source=anatomy.path)
    assert data.reference is not None
    image = data.reference
    if has_fast_phase:
        image = add_phase(image.abs(), np.random.default_rng([seed, 6]), PHASE)
    return image / image.abs().max(), data.meta


def draw_mask(pattern: str, n_frames: int, image: Tensor, seed: int) -> Tensor:
    """A mask ``(frames, 1, ky, kx or 1)`` for the matrix of an image."""
    return torch.from_numpy(parse_mask(pattern).draw(n_frames, *image.shape[-2:], seed))


def intact(scan: Scan) -> None:
    """No failure."""


def wrong_acceleration(scan: Scan) -> None:
    """1.7 to 2.7 times the highest acceleration of intact scans."""
    scan.pattern = str(scan.rng.choice(["gaussian:24,acs=2", "gaussian:32,acs=2", "vds:32", "gaussian:20,acs=2"]))


def wrong_pattern(scan: Scan) -> None:
    """Lines at positions of another pattern, lines shifted in half of the frames, or the same lines in all frames."""
    choice = scan.rng.integers(3)
    if choice == 2:
        mask = draw_mask(scan.pattern, 1, scan.image, scan.seed)
        scan.mask = mask.expand(len(scan.image), -1, -1, -1).contiguous()
        return
    scan.sample()
    assert scan.kspace is not None and scan.mask is not None
    mask, kspace = scan.mask, scan.kspace
    if choice == 1:
        is_shifted = torch.from_numpy(scan.rng.random(len(mask)) < 0.5)[:, None, None, None]
        step = int(scan.rng.choice([-3, -2, 2, 3]))
        scan.kspace = torch.where(is_shifted, kspace.roll(step, 2), kspace)
        scan.mask = torch.where(is_shifted, mask.roll(step, 2), mask)
        return
    other = draw_mask(scan.pattern, len(mask), scan.image, scan.seed + 1)
    new_kspace, new_mask = torch.zeros_like(kspace), torch.zeros_like(mask)
    for frame in range(len(mask)):
        rows, wrong = (m[frame, 0, :, 0].nonzero().ravel() for m in (mask, other))
        n = min(len(rows), len(wrong))
        new_kspace[frame][:, wrong[:n]] = kspace[frame][:, rows[:n]]
        new_mask[frame, 0, wrong[:n]] = True
    scan.kspace, scan.mask = new_kspace, new_mask


def high_noise(scan: Scan) -> None:
    """Ten times the noise."""
    scan.noise *= 10


def wrong_maps(scan: Scan) -> None:
    """Maps in another order, or of other coils."""
    assert scan.csm is not None
    n_coils = len(scan.csm)
    if scan.rng.random() < 0.5:
        scan.maps = scan.csm.roll(int(scan.rng.integers(1, n_coils)), 0)
    else:
        scan.maps = draw_coil_maps(scan.seed + 1, n_coils, scan.image.shape[-2:])


def displaced_maps(scan: Scan) -> None:
    """Maps displaced by 2 to 8 pixels."""
    assert scan.csm is not None
    size, angle = scan.rng.uniform(*DISPLACED_MAPS), scan.rng.uniform(0, 2 * np.pi)
    shift = (round(size * np.sin(angle)), round(size * np.cos(angle)))
    scan.maps = scan.csm.roll(shift, (-2, -1))


def missing_coil(scan: Scan) -> None:
    """The coil with the strongest signal receives only noise; the maps are those of all coils."""
    scan.sample()
    assert scan.kspace is not None and scan.csm is not None
    scan.maps = scan.csm
    strongest = int(scan.kspace.abs().square().sum((0, 2, 3)).argmax())
    scan.kspace = scan.kspace.clone()
    scan.kspace[:, strongest] = 0


def breathing(scan: Scan) -> None:
    """The body moves from beat to beat, while the lines of each frame are measured."""
    size = scan.rng.uniform(*BREATHING)
    angle = scan.rng.uniform(0, 2 * np.pi)
    course = np.linspace(-0.5, 0.5, N_BEATS) if scan.rng.random() < 0.5 else 0.5 * np.sin(np.arange(N_BEATS) * 2.1)
    images = [displace(scan.image, size * s * np.sin(angle), size * s * np.cos(angle)) for s in course]
    _measure_beats(scan, images)


def arrhythmia(scan: Scan) -> None:
    """In a third to two thirds of the beats the heart contracts earlier or later than the frames assume."""
    images = []
    n_frames = len(scan.image)
    irregular = set(scan.rng.permutation(N_BEATS)[: scan.rng.integers(2, 5)].tolist())
    for beat in range(N_BEATS):
        if beat not in irregular:
            images.append(scan.image)
            continue
        time = (np.arange(n_frames) * scan.rng.uniform(0.5, 1.6) + scan.rng.uniform(-0.4, 0.4) * n_frames) % n_frames
        first = torch.from_numpy(np.floor(time).astype(int)) % n_frames
        weight = torch.from_numpy((time % 1).astype(np.float32))[:, None, None]
        images.append(torch.lerp(scan.image[first], scan.image[(first + 1) % n_frames], weight.to(scan.image.dtype)))
    _measure_beats(scan, images)


def wrap_around(scan: Scan) -> None:
    """The field of view is shorter than the body along y, both ends of which appear on the opposite side."""
    n = round(scan.image.shape[1] / wrap_ratio_of(scan.seed))
    first = (scan.image.shape[1] - n) // 2

    def wrap(values: Tensor) -> Tensor:
        parts = values[..., first : first + n, :].clone()
        before, after = values[..., :first, :], values[..., first + n :, :]
        parts[..., n - first :, :] += before
        parts[..., : after.shape[-2], :] += after
        return parts

    scan.kspace = fft2c(wrap(scan.coil_images(scan.image)))
    scan.reference = scan.image[:, first : first + n]
    scan.image = scan.reference
    scan.csm = None if scan.csm is None else scan.csm[:, first : first + n]


def phase_errors(scan: Scan) -> None:
    """A random phase of each line, or of each heart beat."""
    scan.sample()
    assert scan.kspace is not None
    frames, _, ky, kx = scan.kspace.shape
    if scan.rng.random() < 0.5:
        phase = torch.from_numpy(scan.rng.normal(0, scan.rng.uniform(0.4, 1.2), (frames, 1, ky, 1)))
    else:
        offsets = torch.from_numpy(scan.rng.uniform(-2.5, 2.5, N_BEATS))[torch.arange(ky) % N_BEATS]
        phase = offsets[None, None, :, None].expand(frames, 1, ky, kx)
    scan.kspace = scan.kspace * torch.exp(1j * phase).to(scan.kspace.dtype)


def corrupted_frames(scan: Scan) -> None:
    """One to four frames have another gain, random phases or spikes, or are noise."""
    scan.sample()
    assert scan.kspace is not None
    kspace = scan.kspace.clone()
    for frame in scan.rng.permutation(len(kspace))[: scan.rng.integers(1, 5)].tolist():
        choice, values = scan.rng.integers(4), kspace[frame]
        level = values.abs().max() / 4
        if choice == 0:
            kspace[frame] = values * float(scan.rng.choice([0.2, 0.3, 3, 4]))
        elif choice == 1:
            phase = torch.from_numpy(scan.rng.uniform(0, 2 * np.pi, (1, values.shape[1], 1)))
            kspace[frame] = values * torch.exp(1j * phase).to(values.dtype)
        elif choice == 2:
            spikes = torch.from_numpy(scan.rng.random(values.shape) < 0.004)
            kspace[frame] = values + spikes * level
        else:
            power = values.abs().square().mean().sqrt()
            kspace[frame] = power * white_noise(scan.rng, values.shape)
    scan.kspace = kspace


def saturation(scan: Scan) -> None:
    """Real and imaginary part of samples are cut off at the limit of the receiver."""
    scan.sample()
    assert scan.kspace is not None and scan.mask is not None
    limit = float((scan.kspace * scan.mask).abs().max()) * scan.rng.uniform(*CLIPPING)
    scan.kspace = torch.view_as_complex(torch.view_as_real(scan.kspace).clamp(-limit, limit))


def spikes(scan: Scan) -> None:
    """One to eight samples of all coils are as large as the centre of k-space."""
    scan.sample()
    assert scan.kspace is not None and scan.mask is not None
    kspace, sampled = scan.kspace.clone(), scan.mask[:, 0].expand(-1, *scan.image.shape[1:]).nonzero()
    for frame, y, x in sampled[scan.rng.permutation(len(sampled))[: scan.rng.integers(1, 9)]].tolist():
        kspace[frame, :, y, x] += kspace.abs().max() * float(scan.rng.uniform(0.3, 1))
    scan.kspace = kspace


def frame_order(scan: Scan) -> None:
    """All frames in random order, two to a third of them exchanged, or a frame in the place of others."""
    scan.sample()
    assert scan.kspace is not None and scan.mask is not None
    n_frames, choice = len(scan.kspace), scan.rng.integers(3)
    order, chosen = np.arange(n_frames), scan.rng.permutation(n_frames)
    if choice == 0:
        order = chosen
    else:
        chosen = chosen[: scan.rng.integers(2, max(3, n_frames // 3))]
        order[chosen] = np.roll(chosen, 1) if choice == 1 else chosen[0]
    scan.kspace, scan.mask = scan.kspace[order], scan.mask[order]


def displace(image: Tensor, dy: float, dx: float) -> Tensor:
    """Move an image by a distance [pixels], which is a linear phase in k-space."""
    y, x = (torch.arange(n) - n // 2 for n in image.shape[-2:])
    ramp = dy * y[:, None] / len(y) + dx * x / len(x)
    return ifft2c(fft2c(image) * torch.exp(-2j * np.pi * ramp).to(image.dtype))


def _measure_beats(scan: Scan, images: Sequence[Tensor]) -> None:
    """Take the lines of k-space from the images of different beats, in blocks or interleaved."""
    scan.sample()
    assert scan.mask is not None
    sampled = scan.mask[:, 0].any(-1)  # (frames, ky)
    order = sampled.cumsum(1) - 1
    n_lines = sampled.sum(1, keepdim=True)
    if scan.rng.random() < 0.5:
        beat = order % N_BEATS
    else:
        beat = (order * N_BEATS / n_lines).long().clamp(0, N_BEATS - 1)
    kspace = torch.stack([scan.transform(image) for image in images])  # (beats, frames, coils, ky, kx)
    index = beat.clamp(min=0)[None, :, None, :, None].expand(1, *kspace.shape[1:])
    scan.kspace = kspace.gather(0, index)[0]


FAILURES: dict[str, Callable[[Scan], None]] = {
    "intact": intact,
    "acceleration": wrong_acceleration,
    "pattern": wrong_pattern,
    "noise": high_noise,
    "coil maps": wrong_maps,
    "missing coil": missing_coil,
    "breathing": breathing,
    "arrhythmia": arrhythmia,
    "wrap-around": wrap_around,
    "phase": phase_errors,
    "corrupted frames": corrupted_frames,
    "network": intact,
    "saturation": saturation,
    "spikes": spikes,
    "frame order": frame_order,
    "displaced maps": displaced_maps,
}
"""How each kind of failure changes a scan; in the kind *network*, the weights are damaged instead."""
CHECKED = ("saturation", "spikes", "frame order")
"""Kinds that are recognised by checks alone, and thus not in the fit."""
NEEDS_LINES = ("pattern", "breathing", "arrhythmia", "phase")


def phantoms(seeds: range) -> list[Anatomy]:
    """Phantoms of these seeds."""
    return [Anatomy(f"phantom {seed}", None, seed) for seed in seeds]


def measured_cines(folder: Path, *patterns: str) -> list[Anatomy]:
    """Measured cines of a folder by their names, which give the subjects."""
    paths = [path for path in find_magnitudes(folder) if any(fnmatch(stem_of(path), pattern) for pattern in patterns)]
    names = {path: stem_of(path) for path in paths}
    return [Anatomy(name if "acdc" in name else name.partition("_")[0], path) for path, name in names.items()]


def plan_cases(
    anatomies: Sequence[Anatomy],
    n_intact: int,
    n_failures: int,
    seed: int,
    *,
    without: Collection[str] = (),
    more: Mapping[str, int] = MappingProxyType({}),
    ranges: Ranges = USUAL,
) -> list[Plan]:
    """Plan intact scans of the anatomies in turn, and for each kind of failure, except some, some twins of them.

    Parameters
    ----------
    anatomies
        The subjects.
    n_intact, n_failures
        Numbers of intact scans, and of scans with each kind of failure.
    seed
        Seed of the choice, and a thousandth of the seed of the first scan.
    without
        Kinds of failures that are left out.
    more
        Numbers of scans of some kinds of failures in place of `n_failures`.
    ranges
        The values from which the scans are drawn.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(anatomies))
    plans = [Plan(anatomies[order[n % len(order)]], "intact", 1000 * seed + n, ranges) for n in range(n_intact)]
    failures = []
    for kind in (kind for kind in FAILURES if kind not in without):
        usable = [plan for plan in plans if is_applicable(replace(plan, kind=kind))] if kind != "intact" else []
        chosen = rng.permutation(len(usable))[: more.get(kind, n_failures)]
        failures += [replace(usable[number], kind=kind) for number in chosen]
    return [*plans, *failures]


def is_applicable(plan: Plan) -> bool:
    """Whether a kind of failure is possible with the anatomy, the coils and the pattern of a plan."""
    rng = np.random.default_rng([plan.seed, 1])
    n_coils, _, pattern = int(rng.choice(plan.ranges.coils)), rng.uniform(), str(rng.choice(plan.ranges.patterns))
    has_lines = not pattern.startswith(("radial", "poisson"))
    return (
        (n_coils > 1 or plan.kind not in NEEDS_COILS)
        and (has_lines or plan.kind not in NEEDS_LINES)
        and (plan.anatomy.has_margin or plan.kind != "wrap-around")
    )


def twin_of(plan: Plan) -> Plan:
    """The same case without its failure."""
    return replace(plan, kind="intact")
