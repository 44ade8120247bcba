"""Phase-contrast scans: two sets of readouts, one of them velocity-encoded, which share coil maps."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from cinerecon.acquisition.coil_maps import FinishedSlice, GriddedSlice
from cinerecon.acquisition.config import AcquisitionConfig
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

    @classmethod
    def of_sets(cls, first: Scan, encoded: Scan) -> Self:
        """The scan with the two given sets.

        Raises
        ------
        DataError
            If the sets differ in the number of slices.
        """
        if first.n_slices != encoded.n_slices:
            what = f"the two sets have {first.n_slices} and {encoded.n_slices} slices"
            hint = "--set-index 0 reconstructs only the first set"
            raise DataError(what, where=str(first.files[0]), hint=hint)
        return cls(first._layout, encoded)

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


def velocity_sets(raw: RawScan, config: AcquisitionConfig) -> tuple[int, ...]:
    """The values of the counter ``set`` of a phase-contrast scan, without and with velocity encoding.

    Empty if the scan does not have two sets, or the settings determine the use of its sets.
    """
    if "set" in config.select or "set" in config.combine or config.time_counter == "set":
        return ()
    sets = np.unique(raw.heads["idx"]["set"][is_image_line(raw.heads)])
    return tuple(map(int, sets)) if len(sets) == 2 else ()
