"""K-space that is stored on its grid: the base class for plain arrays and files of challenges."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.acquisition.checks.array_table import ARRAY_CHECKS, line_warnings
from cinerecon.acquisition.checks.axes_order import (
    COILS_AS_SLICES,
    EXCHANGED_COILS,
    KSPACE_SLICES,
    has_coils_as_slices,
    has_exchanged_coils,
    has_exchanged_frames,
    has_kspace_slices,
)
from cinerecon.acquisition.checks.measured import find_measured
from cinerecon.acquisition.checks.stored_kspace import StoredSlice, refuse_images, require_magnitude
from cinerecon.acquisition.checks.table import run_checks
from cinerecon.acquisition.coil_maps import GriddedSlice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.source import CineSource, SliceSize
from cinerecon.acquisition.zero_filling import crop_zero_filling
from cinerecon.errors import DataError
from cinerecon.io.plausibility import EXCHANGED_SLICES, has_exchanged_slices
from cinerecon.physics.fourier import crop_frames


class StoredKspace(Protocol):
    """An opened file of gridded k-space."""

    @property
    def path(self) -> Path:
        """The path of the file."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """All files from which the data are read."""
        ...

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """Sizes (slices, frames, coils, ky, kx)."""
        ...

    def read_slice(self, number: int, frames: slice = slice(None)) -> NDArray[np.complex64]:
        """K-space of one slice, or of some of its frames, ``(frames, coils, ky, kx)``."""
        ...


@dataclass(frozen=True, eq=False, repr=False)
class GridSource(CineSource):
    """A file of gridded k-space, with the settings of its processing."""

    order_hint: ClassVar[str]
    """Hint on how to correct the order of the axes, for error messages."""
    coils_hint: ClassVar[str]
    """Hint on how to read slices as coils, for a warning."""

    config: AcquisitionConfig
    stored: StoredKspace

    @property
    def path(self) -> Path:
        """The path of the k-space file."""
        return self.stored.path

    @property
    def files(self) -> tuple[Path, ...]:
        """See `CineSource.files`."""
        return self.stored.files

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self.stored.shape[0]

    @property
    @abstractmethod
    def oversampling(self) -> float | None:
        """Number of columns of k-space per column of the image; None if unknown."""

    @property
    @abstractmethod
    def n_copies(self) -> float:
        """See `SliceSize`."""

    @property
    def n_columns(self) -> int:
        """Number of columns of the image, without readout oversampling if it is known and is to be removed."""
        kx = self.stored.shape[-1]
        factor = self.oversampling if self.config.remove_oversampling else None
        return kx if factor is None or factor <= 1 else max(round(kx / factor), 1)

    def size_of(self, number: int) -> SliceSize:  # noqa: ARG002
        """See `CineSource.size_of`."""
        _, n_frames, n_coils, ky, _ = self.stored.shape
        n_virtual = self.config.n_virtual_coils
        return SliceSize(
            n_frames=n_frames,
            n_coils=n_coils,
            ky=ky,
            kx=self.n_columns,
            n_virtual=None if n_virtual == "auto" else n_virtual,
            n_copies=self.n_copies,
        )

    def with_virtual_coils(self, n_virtual: int) -> Self:
        """See `CineSource.with_virtual_coils`."""
        return replace(self, config=self.config.model_copy(update={"n_virtual_coils": n_virtual}))

    def read_stored(self, number: int) -> Tensor:
        """The stored k-space of a slice, ``(frames, coils, ky, kx)``, checked for signal, scale and order of axes."""
        self.require_slice(number)
        kspace = torch.from_numpy(self.stored.read_slice(number))
        where = f"{self.path}, slice {number}"
        require_magnitude(kspace, where)
        if self._misplaced_axes is not None:
            refuse_images(StoredSlice(kspace, kspace != 0, where, self.order_hint))
            what, hint = self._misplaced_axes
            raise DataError(what, where=str(self.path), hint=hint)
        return kspace

    @cached_property
    def _misplaced_axes(self) -> tuple[str, str] | None:
        """What is wrong with the order of the axes, with a hint; None if they are in order."""
        n_slices, n_frames, n_coils, ky, _ = self.stored.shape
        matrix, read = (ky, self.n_columns), self.stored.read_slice
        if has_kspace_slices(n_slices, n_frames, read):
            return KSPACE_SLICES, self.order_hint
        if has_exchanged_slices(n_slices, n_frames, read):
            return EXCHANGED_SLICES, self.order_hint
        if has_exchanged_coils(n_slices, n_coils, matrix, read):
            return EXCHANGED_COILS, self.order_hint
        if not has_exchanged_frames(n_slices, n_frames, matrix, read):
            return None
        if self._has_coils_as_slices:
            return COILS_AS_SLICES.format(n_slices), self.coils_hint
        return EXCHANGED_SLICES, self.order_hint

    @cached_property
    def _has_coils_as_slices(self) -> bool:
        n_slices, _, n_coils, ky, _ = self.stored.shape
        return has_coils_as_slices(n_slices, n_coils, (ky, self.n_columns), self.stored.read_slice)

    def keep_measured(self, kspace: Tensor, claimed: Tensor | None, where: str) -> tuple[GriddedSlice, list[int]]:
        """The measured k-space without readout oversampling, and the indices of its frames.

        Parameters
        ----------
        kspace, claimed
            ``(frames, coils, ky, kx)``, which is modified in place, and the mask in the file, ``(frames, 1, ky, kx or
            1)``; None if all of k-space is treated as measured.
        where
            File and slice, for error messages.

        Raises
        ------
        DataError
            If frames between others are empty or fewer than two remain, the array contains images or is not centred, or
            axes appear to be exchanged.
        """
        points = kspace.new_ones(len(kspace), 1, kspace.shape[-2], 1, dtype=torch.bool) if claimed is None else claimed
        stored = StoredSlice(kspace, points, where, self.order_hint)
        warnings = list(run_checks(ARRAY_CHECKS, stored))
        measured = find_measured(kspace, claimed, where)
        kspace, mask, zero_filling = crop_zero_filling(measured.keep_(kspace), measured.mask)
        all_columns = self.n_columns if mask.shape[-1] == 1 else self.stored.shape[-1]
        n_columns = round(all_columns * kspace.shape[-1] / self.stored.shape[-1])
        warnings += [*measured.warnings, *zero_filling]
        warnings += line_warnings(stored._replace(kspace=kspace, mask=mask), n_columns)
        if self._has_coils_as_slices:
            warnings.append(f"{COILS_AS_SLICES.format(self.n_slices)}; {self.coils_hint}")
        if all_columns != self.n_columns:
            warnings.append("readouts were not measured completely: their oversampling is kept")
        elif n_columns != kspace.shape[-1]:
            kspace = crop_frames(kspace, n_columns, -1).mul_(mask)
        matrix = (self.stored.shape[-2], all_columns) if zero_filling else None
        return GriddedSlice(kspace, mask, warnings=tuple(warnings), interpolated_matrix=matrix), measured.frames
