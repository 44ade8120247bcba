"""Simulation from a measured magnitude cine instead of the phantom: sizes, images and metadata of its slices."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine_meta import CineMeta
from cinerecon.errors import ConfigError, DataError
from cinerecon.io.magnitude import MagnitudeImages, cut_out
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.phantom import draw_phase


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
