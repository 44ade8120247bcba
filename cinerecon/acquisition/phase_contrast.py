"""Phase-contrast scans: two sets of readouts, one with velocity encoding, read with one set of coil maps."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.scan import Scan, scan_of
from cinerecon.acquisition.select import NOISE, NOT_IMAGE, is_calibration_only
from cinerecon.acquisition.source import CineSource, SliceSize, TimedSlice
from cinerecon.cine import CineData
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan, has_flag
from cinerecon.io.raw_file import read_raw_scan


@dataclass(frozen=True, eq=False)
class PhaseContrastScan(CineSource):
    """A scan of two sets, opened as two scans.

    Attributes
    ----------
    compensated, encoded
        The set with the lower number, and the set whose phase has the velocity in addition.
    venc_cm_s
        Velocity at which the phase difference is pi, by the header [cm/s]; None if the header has none.
    """

    compensated: Scan
    encoded: Scan
    venc_cm_s: float | None

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self.compensated.n_slices

    @property
    def files(self) -> tuple[Path, ...]:
        """See `CineSource.files`."""
        return self.compensated.files

    @property
    def header_xml(self) -> str:
        """See `CineSource.header_xml`."""
        return self.compensated.header_xml

    @property
    def subject(self) -> str:
        """See `CineSource.subject`."""
        return self.compensated.subject

    @property
    def study(self) -> str:
        """See `CineSource.study`."""
        return self.compensated.study

    @property
    def frame_of_reference(self) -> str:
        """See `CineSource.frame_of_reference`."""
        return self.compensated.frame_of_reference

    @property
    def marks(self) -> tuple[str, ...]:
        """See `CineSource.marks`."""
        return self.compensated.marks

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `Scan.warnings`."""
        return tuple(dict.fromkeys((*self.compensated.warnings, *self.encoded.warnings)))

    def slice_counter(self, number: int) -> int:
        """See `Scan.slice_counter`."""
        return self.compensated.slice_counter(number)

    def first_row(self, number: int) -> int:
        """See `Scan.first_row`."""
        return self.compensated.first_row(number)

    @property
    def is_gated_by_time(self) -> bool:
        """See `Scan.is_gated_by_time`."""
        return self.compensated.is_gated_by_time or self.encoded.is_gated_by_time

    def is_same_slice(self, number: int, other: "PhaseContrastScan", other_number: int, rows: Index) -> bool:
        """See `Scan.is_same_slice`."""
        return self.compensated.is_same_slice(
            number, other.compensated, other_number, rows
        ) and self.encoded.is_same_slice(number, other.encoded, other_number, rows)

    def size_of(self, number: int) -> SliceSize:
        """See `CineSource.size_of`; coils are compressed when both sets are in memory, whose copies are joined."""
        one = self.compensated.size_of(number)
        return replace(one, n_frames=2 * one.n_frames, is_compressed_in_reading=False, n_copies=1 + one.n_copies)

    def with_virtual_coils(self, n_virtual: int) -> "PhaseContrastScan":
        """See `CineSource.with_virtual_coils`."""
        compensated, encoded = (scan.with_virtual_coils(n_virtual) for scan in (self.compensated, self.encoded))
        return replace(self, compensated=compensated, encoded=encoded)

    def read_timed(self, number: int) -> TimedSlice:
        """Read the set without velocity encoding."""
        return self.read_pair(number)[0]

    def read_pair(self, number: int) -> tuple[TimedSlice, CineData]:
        """Read both sets of a slice, with coil maps and virtual coils of both together.

        Raises
        ------
        DataError
            If the sets differ in frames or matrix.
        """
        parts = [scan.grid_slice(number) for scan in (self.compensated, self.encoded)]
        sizes = [tuple(part.kspace.shape) for part in parts]
        if sizes[0] != sizes[1]:
            what = f"slice {number}: the two sets differ in (frames, coils, ky, kx): {sizes[0]} and {sizes[1]}"
            raise DataError(what, where=str(self.files[0]), hint="--set-index 0 reconstructs the first set alone")
        n_frames = sizes[0][0]
        kspace = torch.cat([part.kspace for part in parts])
        columns = max(part.mask.shape[-1] for part in parts)
        masks = [part.mask.expand(*part.mask.shape[:-1], columns) for part in parts]
        finished = self.compensated.finish(number, kspace, torch.cat(masks))
        unlike = int((masks[0] != masks[1]).flatten(1).any(1).sum())
        text = f"the sets sample different lines in {unlike} of {n_frames} frames: their aliasing does not cancel"
        warnings = (*parts[0].warnings, *parts[1].warnings, *([text] if unlike else []))
        first, second = (
            replace(
                finished.data,
                kspace=finished.data.kspace[frames],
                mask=finished.data.mask[frames],
            ).with_warnings(*warnings)
            for frames in (slice(n_frames), slice(n_frames, None))
        )
        first = self.compensated.with_truth(first, finished.coil_matrix)
        return TimedSlice(first, finished.csm_seconds), second


def open_phase_contrast(
    path: Path,
    config: AcquisitionConfig,
    *,
    noise: Path | None = None,
    dataset: str | None = None,
    measurement: int | None = None,
) -> PhaseContrastScan | None:
    """Open a raw scan of two sets; None if it has another number of sets, or the settings say how to use them."""
    if _uses_sets(config):
        return None
    return phase_contrast_of(read_raw_scan(path, dataset, measurement), config, noise)


def phase_contrast_of(raw: RawScan, config: AcquisitionConfig, noise: Path | None = None) -> PhaseContrastScan | None:
    """As `open_phase_contrast`, for a raw scan that is open."""
    if _uses_sets(config):
        return None
    sets = _sets(raw)
    if len(sets) != 2:
        return None
    scans = []
    for number in sets:
        chosen = config.model_copy(update={"select": config.select | {"set": number}})
        scans.append(scan_of(raw, chosen, noise))
    if scans[0].n_slices != scans[1].n_slices:
        what = f"the two sets have {scans[0].n_slices} and {scans[1].n_slices} slices"
        raise DataError(what, where=str(raw.path), hint="--set-index 0 reconstructs the first set alone")
    return PhaseContrastScan(scans[0], scans[1], raw.header.venc_cm_s)


def _uses_sets(config: AcquisitionConfig) -> bool:
    """Whether the settings say how several sets are used."""
    return "set" in config.select or "set" in config.combine or config.time_counter == "set"


def _sets(raw: RawScan) -> list[int]:
    """The values of the counter ``set`` of image readouts."""
    is_other = is_calibration_only(raw.heads)
    for flag in (NOISE, *NOT_IMAGE):
        is_other = is_other | has_flag(raw.heads, flag)
    return [int(value) for value in np.unique(raw.heads["idx"]["set"][~is_other])]
