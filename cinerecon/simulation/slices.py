"""The slices of a simulated scan before they are measured: image, coil maps, sampling mask and metadata."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import as_tensor
from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import ConfigError, DataError
from cinerecon.io.magnitude import MagnitudeImages, cut_out
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.phantom import PhantomConfig, PhaseConfig, add_phase, draw_coil_maps, draw_phase, draw_slice
from cinerecon.simulation.phantom.motion import add_vessel


@dataclass(frozen=True, eq=False)
class SimulatedSlice:
    """A slice before it is measured.

    Attributes
    ----------
    reference
        ``(frames, y, x)`` complex64, the image without noise.
    csm
        ``(coils, y, x)`` complex64, the coil maps.
    mask
        ``(frames, 1, ky, kx or 1)`` bool.
    meta
        Times and geometry.
    velocity
        ``(frames, y, x)`` [cm/s], for a phase-contrast scan.
    """

    reference: Tensor
    csm: Tensor
    mask: Tensor
    meta: CineMeta
    velocity: Tensor | None = None


def complete_settings(config: SimulateConfig | None, images: MagnitudeImages | None) -> SimulateConfig:
    """The settings with all sizes; those that are not given are the sizes of the measured images, if there are any.

    Raises
    ------
    ConfigError
        If a view is requested for measured images, or more slices than they have.
    """
    config = SimulateConfig.or_default(config)
    if images is not None and config.view is not None:
        what = "the view is determined by the measured cine"
        raise ConfigError(what, where="--view, --from", hint="leave out --view")
    return config if images is None else sizes_of(images, config)


def draw_slices(config: SimulateConfig, images: MagnitudeImages | None) -> Iterator[SimulatedSlice]:
    """Draw the images, coil maps and masks of all slices.

    Raises
    ------
    ConfigError
        If the sampling pattern is unknown, or does not sample whole readouts.
    DataError
        If the measured images are smaller than requested, or have no times or no position.
    """
    spec = parse_mask(config.undersample) if config.undersample else None
    if spec is not None and not spec.samples_whole_readouts:
        hint = "a pattern of whole lines, e.g. gaussian:8"
        raise ConfigError(f"'{config.undersample}' does not sample whole readouts", where="--undersample", hint=hint)
    csm = draw_coil_maps(config.seed, config.n_coils, config.matrix)
    chosen = range(config.n_slices) if images is None else chosen_slices(images, config.n_slices)
    for number, source_number in enumerate(chosen):
        mask = torch.ones(config.n_frames, 1, config.ky, 1, dtype=torch.bool)
        if spec is not None:
            rng = np.random.default_rng([config.seed, 4, number])
            mask = as_tensor(spec.draw(config.n_frames, config.ky, config.kx, rng))
        mask[..., : n_omitted(config.ky, config.partial_fourier), :] = False
        reference, meta = (
            _draw_phantom_slice(config, number) if images is None else read_image(images, source_number, config)
        )
        if config.phase == "measured":
            rng = np.random.default_rng([config.seed, 10, number])
            reference = add_phase(reference.abs(), rng, PhaseConfig(spread=0.0, fat=0.0, bands=0.0))
        velocity = None
        if config.venc is not None:
            reference, velocity = add_vessel(reference, config.seed, config.venc)
        yield SimulatedSlice(reference, csm, mask, replace(meta, slice=number), velocity)


def _draw_phantom_slice(config: SimulateConfig, number: int) -> tuple[Tensor, CineMeta]:
    """A slice of the phantom ``(frames, y, x)`` complex64, and its metadata."""
    view, position = (config.view, None) if config.n_slices == 1 else (config.view or "short", 0.45)
    phantom = PhantomConfig(n_frames=config.n_frames, matrix=config.matrix, view=view, position=position)
    reference, plane = draw_slice(config.seed, phantom, 10.0 * (number - (config.n_slices - 1) / 2))
    beat_ms = np.random.default_rng([config.seed, 5]).uniform(700, 1100)
    meta = CineMeta(
        source=f"phantom, seed {config.seed}",
        slice=number,
        frame_times_ms=tuple(beat_ms * frame / config.n_frames for frame in range(config.n_frames)),
        is_one_beat=True,
        pixel_size_mm=(plane.pixel_mm, plane.pixel_mm),
        slice_thickness_mm=8.0,
        geometry=Geometry.of(plane.origin, plane.x_dir, plane.y_dir, plane.normal, "HFS"),
    )
    return reference, meta


def n_omitted(n: int, fraction: float) -> int:
    """Number of lines or samples omitted at the start of k-space if a fraction of n is measured."""
    return n - round(fraction * n)


def sizes_of(source: MagnitudeImages, config: SimulateConfig) -> SimulateConfig:
    """The settings, completed with the sizes of the source where they are not given.

    Raises
    ------
    ConfigError
        If the source has fewer slices than requested.
    FileError, DataError
        If the source cannot be read.
    """
    n_frames, ky, kx = source.read_slice(source.n_slices // 2)[0].shape
    own = {"n_frames": n_frames, "ky": ky, "kx": kx, "n_slices": source.n_slices}
    config = config.model_copy(update={n: size for n, size in own.items() if n not in config.model_fields_set})
    if config.n_slices > source.n_slices:
        has = "one" if source.n_slices == 1 else str(source.n_slices)
        raise ConfigError(f"{config.n_slices} slices requested from a cine that has {has}", where="--slices")
    return config


def chosen_slices(source: MagnitudeImages, n_slices: int) -> Sequence[int]:
    """The numbers of the slices in the middle of the source."""
    first = (source.n_slices - n_slices) // 2
    return range(first, first + n_slices)


def read_image(source: MagnitudeImages, number: int, config: SimulateConfig) -> tuple[Tensor, CineMeta]:
    """One slice with a simulated phase, ``(frames, y, x)`` complex, with the sizes in the settings.

    Raises
    ------
    DataError
        If it is smaller than specified in the settings, or has no times or no position.
    """
    magnitude, meta = cut_out(*source.read_slice(number), config.n_frames, config.matrix)
    where = f"{source.path}, slice {number}"
    if len(meta.frame_times_ms) != config.n_frames:
        hint = "add them to the file: the time step and its unit in NIfTI, TriggerTime in DICOM"
        raise DataError("the times of the frames are unknown", where=where, hint=hint)
    if meta.geometry is None:
        hint = "add them to the file: qform or sform in NIfTI"
        raise DataError("position and directions of the slice are unknown", where=where, hint=hint)
    seed = config.seed if source.n_slices == 1 else np.random.default_rng([config.seed, 6, number])
    phase = draw_phase(seed, config.n_frames, config.matrix)
    return torch.polar(torch.from_numpy(magnitude), phase), replace(meta, source=source.path.name)
