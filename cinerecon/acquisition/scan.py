"""An opened raw scan, whose slices are converted to `CineData` one at a time, and phase contrast with its two sets."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from cinerecon.acquisition.assemble import BLOCK, Assembly, assemble, averaged_noise_std, with_virtual_coils
from cinerecon.acquisition.checks.measured import own_lines
from cinerecon.acquisition.checks.noise_level import noise_level_warnings
from cinerecon.acquisition.coil_maps import FinishedSlice, GriddedSlice, finish_slice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.gating.clock import SIMULATED
from cinerecon.acquisition.inspection import ScanPlan, describe
from cinerecon.acquisition.layout import ScanLayout, determine_coil_matrix, require_signal
from cinerecon.acquisition.readouts.select import is_image_line
from cinerecon.acquisition.reference import attach_reference, read_reference
from cinerecon.acquisition.source import CineSource, SliceSize
from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import PILOT_TONE_SAMPLES, Index, RawScan
from cinerecon.physics.fourier import crop_frames, crop_sampled
from cinerecon.physics.sampling import block_of_lines


@dataclass(frozen=True, eq=False, repr=False)
class Scan(CineSource):
    """A raw scan with checked headers, whose slices are read one at a time."""

    _layout: ScanLayout

    @cached_property
    def plan(self) -> ScanPlan:
        """The content of the scan and its processing, for a report."""
        return describe(self._layout)

    @property
    def header_xml(self) -> str:
        """The de-identified XML header of the scan, which is stored with its images."""
        return self._layout.raw.xml

    @property
    def study(self) -> str:
        """A hash that is the same for all scans of one study; empty if unknown."""
        return self._layout.raw.header.study

    @property
    def frame_of_reference(self) -> str:
        """A hash of the frame of reference of the positions; empty if unknown."""
        return self._layout.raw.header.frame_of_reference

    @property
    def subject(self) -> str:
        """A hash of the patient ID in the header; empty if there is none."""
        return self._layout.raw.header.subject

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the scan and of a separate noise scan."""
        return tuple(dict.fromkeys((self._layout.raw.path, self._layout.noise.raw.path)))

    @property
    def marks(self) -> tuple[str, ...]:
        """``simulated`` for scans simulated by this package."""
        return ("simulated",) if self._layout.raw.header.vendor == SIMULATED else ()

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self._layout.n_slices

    def size_of(self, number: int) -> SliceSize:
        """See `CineSource.size_of`."""
        layout, grid, config = self._layout, self._layout.grid, self._layout.config
        widest = BLOCK * int(layout.raw.heads["active_channels"].max()) * grid.kx
        n_virtual = config.n_virtual_coils
        return SliceSize(
            n_frames=layout.counters.n_frames[number],
            n_coils=len(layout.coils),
            ky=grid.ky,
            kx=grid.x,
            n_virtual=None if n_virtual == "auto" else n_virtual,
            is_compressed_in_reading=config.compression == "pca",
            n_copies=grid.y / grid.ky if grid.y < grid.ky else 0.0,
            block_bytes=8 * widest,
        )

    def with_virtual_coils(self, n_virtual: int) -> Self:
        """See `CineSource.with_virtual_coils`."""
        config = self._layout.config.model_copy(update={"n_virtual_coils": n_virtual})
        return replace(self, _layout=replace(self._layout, config=config))

    def read_timed(self, number: int) -> FinishedSlice:
        """Read one slice: whitened, on the image grid, with coil maps, and with the reference of a simulated scan.

        Raises
        ------
        DataError
            If the slice does not exist, or its samples are not finite, are all zero, or do not have the number stated
            in the header.
        """
        self.require_slice(number)
        assembly = self._compressing(number)
        part = self.grid_slice(number, assembly)
        finished = self.finish(number, part, assembly)
        data = self.with_reference(finished.data, finished.coil_matrix).with_warnings(*part.warnings)
        if self._assembly.has_unit_noise:
            data = replace(data, noise_std=averaged_noise_std(part))
            is_compressed = part.kspace.shape[-3] < len(self._layout.coils)
            coils = self._layout.coils[:0] if is_compressed else self._layout.coils
            data = data.with_warnings(*noise_level_warnings(part, coils))
        return replace(finished, data=data)

    def grid_slice(self, number: int, assembly: Assembly | None = None) -> GriddedSlice:
        """Whitened k-space of one slice on the image grid, without coil maps. Errors are those of `read_timed`."""
        self.require_slice(number)
        layout, assembly = self._layout, assembly or self._assembly
        part = assemble(assembly, layout.lines.of_slice(number), layout.counters.n_frames[number])
        kspace, mask = part.kspace, part.mask
        require_signal(bool(kspace.any()), layout, number)
        own_mask, warnings = (mask, []) if layout.gating.is_retro else own_lines(kspace, mask)
        kspace, mask = self._crop_y(kspace if own_mask is mask else kspace.mul_(own_mask), own_mask)
        return GriddedSlice(kspace, mask, part.n_averages, tuple(warnings))

    def finish(self, number: int, part: GriddedSlice, assembly: Assembly | None = None) -> FinishedSlice:
        """Compress the coils of a slice and estimate their maps; the frames may belong to several sets.

        The coils are not compressed if the assembly has already done so.
        """
        config, assembly = self._layout.config, assembly or self._assembly
        if assembly.compression:
            config = config.model_copy(update={"n_virtual_coils": None})
        calibration = self._layout.calibration.of_slice(number)
        return finish_slice(
            part,
            replace(self._meta(number, part.mask.shape[-2]), compression=assembly.compression),
            config,
            coil_matrix=assembly.coil_matrix,
            whitening=self._assembly.coil_matrix,
            calibration=assemble(assembly, calibration, 1) if calibration.row.size else None,
        )

    def with_reference(self, data: CineData, coil_matrix: Tensor | None) -> CineData:
        """The slice with a reference: the true image of a simulated scan, or the image of its own samples."""
        reference, warnings = read_reference(self._layout.raw, self.n_slices, data, coil_matrix)
        return attach_reference(data, reference).with_warnings(*warnings)

    def slice_counter(self, number: int) -> int:
        """The value of the counter ``slice`` in the file, unlike the slice number, which is sorted by position."""
        return int(self._layout.raw.heads["idx"]["slice"][self.first_row(number)])

    def first_row(self, number: int) -> int:
        """Row number of the first readout of a slice."""
        return int(self._layout.lines.of_slice(number).row[0])

    @property
    def is_gated_by_time(self) -> bool:
        """Whether frames are determined from times, and therefore depend on the readouts of other slices."""
        return self._layout.gating.mode != "counter"

    def is_same_slice(self, number: int, other: "Scan", other_number: int, rows: Index) -> bool:
        """Whether a slice has the same image as a slice of another scan that contains the readouts of this scan.

        Parameters
        ----------
        number, other_number
            Indices of the slices.
        other
            The other scan, opened with the same settings.
        rows
            ``(readouts,)`` row numbers of the readouts of this scan in the other scan.
        """
        own, their = self._layout, other._layout
        matrix, their_matrix = self._assembly.coil_matrix, other._assembly.coil_matrix
        if matrix is None or their_matrix is None:
            is_same_noise = matrix is their_matrix
        else:
            is_same_noise = torch.equal(matrix, their_matrix)
        return (
            is_same_noise
            and own.grid == their.grid
            and own.gating.mode == their.gating.mode
            and own.meta[number].is_same_slice(their.meta[other_number])
            and own.lines.of_slice(number).renumbered(rows).equals(their.lines.of_slice(other_number))
            and own.calibration.of_slice(number).renumbered(rows).equals(their.calibration.of_slice(other_number))
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about headers and noise; the noise readouts are read to determine them."""
        return tuple(dict.fromkeys((*self._layout.all_warnings, *self._assembly.warnings)))

    def _compressing(self, number: int) -> Assembly:
        """The assembly of a slice, including coil compression if all positions share one compression matrix."""
        config = self._layout.config
        n_virtual = config.fewer_coils(len(self._layout.coils))
        if n_virtual is None or config.compression != "pca":
            return self._assembly
        return with_virtual_coils(self._assembly, self._layout.lines.of_slice(number), n_virtual)

    @cached_property
    def _assembly(self) -> Assembly:
        layout, coils = self._layout, determine_coil_matrix(self._layout)
        return Assembly(
            raw=layout.raw,
            grid=layout.grid,
            mirrored=layout.uses_fft,
            spoiled=PILOT_TONE_SAMPLES if layout.raw.header.has_pilot_tone else (0, 0),
            coils=layout.coils,
            coil_matrix=None if coils.matrix is None else torch.from_numpy(coils.matrix),
            warnings=coils.warnings,
            has_unit_noise=coils.has_unit_noise,
        )

    def _crop_y(self, kspace: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Remove phase oversampling if all frames measure the same block of lines; otherwise the image is cropped."""
        y = self._layout.grid.y
        if y == kspace.shape[-2] or block_of_lines(mask) is None:
            return kspace, mask
        rows = torch.from_numpy(crop_sampled(mask[0, 0].any(-1).numpy(), y))
        columns = mask[0, 0].any(-2)
        mask = (rows[:, None] & columns).expand(len(mask), 1, -1, -1).contiguous()
        return crop_frames(kspace, y, -2).mul_(mask), mask

    def _meta(self, number: int, n_rows: int) -> CineMeta:
        """Metadata of a slice with the warnings of the whole scan, and the rows to which the image is cropped."""
        meta, y = self._layout.meta[number], self._layout.grid.y
        warnings = dict.fromkeys((*self._layout.warnings, *self._assembly.warnings, *meta.warnings))
        return replace(meta, warnings=tuple(warnings), crop_y=y if y < n_rows else None)


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
        return replace(finished, data=self.with_reference(first, finished.coil_matrix), encoded=second)


def velocity_sets(raw: RawScan, config: AcquisitionConfig) -> tuple[int, ...]:
    """The values of the counter ``set`` of a phase-contrast scan, without and with velocity encoding.

    Empty if the scan does not have two sets, or the settings determine the use of its sets.
    """
    if "set" in config.select or "set" in config.combine or config.time_counter == "set":
        return ()
    sets = np.unique(raw.heads["idx"]["set"][is_image_line(raw.heads)])
    return tuple(map(int, sets)) if len(sets) == 2 else ()
