"""Magnitude images as a scan with simulated phase, coils and k-space, which is recorded in the marks."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cinerecon.acquisition.coil_maps import FinishedSlice, GriddedSlice, finish_slice
from cinerecon.acquisition.reference import attach_reference, combine_reference
from cinerecon.acquisition.source import CineSource, SliceSize
from cinerecon.io.magnitude import MagnitudeImages
from cinerecon.physics.fourier import fft2c
from cinerecon.preparation.config import PrepareConfig
from cinerecon.simulation.phantom import draw_coil_maps, draw_phase


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedScan(CineSource):
    """A scan simulated from magnitude images, whose noise is not increased.

    Attributes
    ----------
    images
        The magnitude images.
    config
        Settings, including the number of coils and the seed.
    content
        Hash of the images, so that equal images receive the same phase and coils regardless of their name.
    """

    images: MagnitudeImages
    config: PrepareConfig
    content: str = "0"

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self.images.n_slices

    @property
    def subject(self) -> str:
        """A hash of the patient ID; empty if unknown."""
        return self.images.subject

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the images."""
        return self.images.files

    @property
    def marks(self) -> tuple[str, ...]:
        """Properties of the images and of the simulation."""
        interpolated = ("interpolated",) if self.images.is_interpolated else ()
        return ("magnitude only", "simulated phase and coils", *interpolated)

    def size_of(self, number: int) -> SliceSize:
        """See `CineSource.size_of`; the images of the slice are read to determine it."""
        (n_frames, y, x), n_coils = self.images.read_pixels(number)[0].shape, self.config.simulated_coils
        return SliceSize(n_frames, n_coils, y, x, n_copies=2.0)

    def read_timed(self, number: int) -> FinishedSlice:
        """Simulate a slice with a separate smooth phase and the coils of the whole scan."""
        magnitude, meta = self.images.read_slice(number)
        frames, y, x = magnitude.shape
        seeds = [self.config.seed, int(self.content[:12], 16)]
        phase = draw_phase(np.random.default_rng([*seeds, 1, number]), frames, (y, x))
        image = torch.polar(torch.from_numpy(magnitude), phase)
        csm = torch.ones(1, y, x, dtype=torch.complex64)
        if self.config.simulated_coils > 1:
            csm = draw_coil_maps(np.random.default_rng([*seeds, 2]), self.config.simulated_coils, (y, x))
        kspace = fft2c(image[:, None] * csm)
        mask = torch.ones(frames, 1, y, 1, dtype=torch.bool)
        finished = finish_slice(GriddedSlice(kspace, mask), meta, self.config.maps)
        reference = combine_reference(image, csm, finished.data, finished.coil_matrix)
        return replace(finished, data=attach_reference(finished.data, reference))
