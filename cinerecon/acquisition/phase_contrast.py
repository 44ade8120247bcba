"""Phase-contrast scans: two sets of readouts, one of them velocity-encoded, which share coil maps."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from cinerecon.acquisition.checks.table import checked
from cinerecon.acquisition.coil_maps import FinishedSlice, GriddedSlice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.layout import lay_out
from cinerecon.acquisition.scan import Scan
from cinerecon.acquisition.select import is_image_line
from cinerecon.acquisition.source import SliceSize
from cinerecon.cine import CineData
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan


@dataclass(frozen=True, eq=False, repr=False)
class PhaseContrastScan(Scan):
    """A scan with two sets, which represents the set with the lower number; both sets share coil maps."""

    encoded: Scan

    @property
    def venc_cm_s(self) -> float | None:
        """Velocity at which the phase difference is pi [cm/s]; None if it is not in the header."""
        return self._layout.raw.header.venc_cm_s

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of both sets, without duplicates."""
        return tuple(dict.fromkeys((*super().warnings, *self.encoded.warnings)))

    @property
    def is_gated_by_time(self) -> bool:
        """See `Scan.is_gated_by_time`."""
        return super().is_gated_by_time or self.encoded.is_gated_by_time

    def is_same_slice(self, number: int, other: Scan, other_number: int, rows: Index) -> bool:
        """See `Scan.is_same_slice`."""
        return (
            isinstance(other, PhaseContrastScan)
            and super().is_same_slice(number, other, other_number, rows)
            and self.encoded.is_same_slice(number, other.encoded, other_number, rows)
        )

    def size_of(self, number: int) -> SliceSize:
        """See `CineSource.size_of`; both sets are in memory and are joined before the coils are compressed."""
        size = super().size_of(number)
        return replace(size, n_frames=2 * size.n_frames, is_compressed_in_reading=False, n_copies=1 + size.n_copies)

    def with_virtual_coils(self, n_virtual: int) -> Self:
        """See `CineSource.with_virtual_coils`."""
        return replace(super().with_virtual_coils(n_virtual), encoded=self.encoded.with_virtual_coils(n_virtual))

    def read_timed(self, number: int) -> FinishedSlice:
        """Read the set without velocity encoding."""
        return self.read_pair(number)[0]

    def read_pair(self, number: int) -> tuple[FinishedSlice, CineData]:
        """Read both sets of a slice, with coil maps and virtual coils determined from both sets together.

        Raises
        ------
        DataError
            If the sets differ in frames or matrix size.
        """
        parts = [scan.grid_slice(number) for scan in (self, self.encoded)]
        sizes = [tuple(part.kspace.shape) for part in parts]
        if sizes[0] != sizes[1]:
            what = f"slice {number}: the two sets differ in (frames, coils, ky, kx): {sizes[0]} and {sizes[1]}"
            raise DataError(what, where=str(self.files[0]), hint="--set-index 0 reconstructs only the first set")
        n_frames = sizes[0][0]
        columns = max(part.mask.shape[-1] for part in parts)
        masks = [part.mask.expand(*part.mask.shape[:-1], columns) for part in parts]
        both = GriddedSlice(torch.cat([part.kspace for part in parts]), torch.cat(masks))
        finished = self.finish(number, both)
        n_different = int((masks[0] != masks[1]).flatten(1).any(1).sum())
        text = f"the sets sample different lines in {n_different} of {n_frames} frames: their aliasing does not cancel"
        warnings = (*parts[0].warnings, *parts[1].warnings, *([text] if n_different else []))
        first, second = (
            replace(
                finished.data,
                kspace=finished.data.kspace[frames],
                mask=finished.data.mask[frames],
            ).with_warnings(*warnings)
            for frames in (slice(n_frames), slice(n_frames, None))
        )
        return replace(finished, data=self.with_reference(first, finished.coil_matrix)), second


def phase_contrast_of(
    raw: RawScan, config: AcquisitionConfig, noise: str | Path | None = None
) -> PhaseContrastScan | None:
    """A raw scan with two sets; None if it has another number of sets, or the settings determine their use.

    Raises
    ------
    DataError
        If the sets differ in the number of slices; other errors are those of `scan_of`.
    """
    if _uses_sets(config):
        return None
    sets = _sets(raw)
    if len(sets) != 2:
        return None
    configs = [config.model_copy(update={"select": config.select | {"set": number}}) for number in sets]
    layouts = [checked(lay_out(raw, config_of_set, noise)) for config_of_set in configs]
    n_slices = [len(layout.meta) for layout in layouts]
    if n_slices[0] != n_slices[1]:
        what = f"the two sets have {n_slices[0]} and {n_slices[1]} slices"
        raise DataError(what, where=str(raw.path), hint="--set-index 0 reconstructs only the first set")
    return PhaseContrastScan(layouts[0], configs[0], Scan(layouts[1], configs[1]))


def _uses_sets(config: AcquisitionConfig) -> bool:
    """Whether the settings already determine the use of several sets."""
    return "set" in config.select or "set" in config.combine or config.time_counter == "set"


def _sets(raw: RawScan) -> list[int]:
    """The values of the counter ``set`` in the image readouts."""
    return [int(value) for value in np.unique(raw.heads["idx"]["set"][is_image_line(raw.heads)])]
