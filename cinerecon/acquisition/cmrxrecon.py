"""A CMRxRecon file as a source of slices."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from cinerecon.acquisition.array_parts import require_magnitude
from cinerecon.acquisition.coil_maps import FinishedSlice, finish_slice
from cinerecon.acquisition.measured import find_measured
from cinerecon.acquisition.reference import attach_reference
from cinerecon.acquisition.source import GridSource, TimedSlice
from cinerecon.axes import are_slices_frames, correlation
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError
from cinerecon.io.cmrxrecon import CmrFile, open_cmrxrecon, subject_of
from cinerecon.io.plausibility import UNKNOWN_TIMES, thickness_or_default, with_plausibility_warnings
from cinerecon.physics.coils import transform_coils
from cinerecon.physics.fourier import crop_frames
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import block_of_lines

MIN_CORRELATION = 0.7
"""Correlation of a slice with its fully sampled twin below which the twin belongs to another scan."""


@dataclass(frozen=True, eq=False)
class CmrxreconSource(GridSource):
    """A k-space file of a CMRxRecon challenge; its slices are read one at a time.

    Images are the centred inverse transform of k-space. The files hold neither noise nor position: coils are not
    whitened, and images have no orientation.
    """

    file: CmrFile

    @property
    def subject(self) -> str:
        """The subject number of the archive, with its set and scanner."""
        return subject_of(self.file.path) or ""

    @property
    def files(self) -> tuple[Path, ...]:
        """K-space, and the files of mask, fully sampled twin and table where they exist."""
        return self.file.files

    @property
    def n_slices(self) -> int:
        """Number of slices, or of views in long-axis files."""
        return self.file.shape[1]

    @property
    def path(self) -> Path:
        """The file of k-space."""
        return self.file.path

    @property
    def slice_shape(self) -> tuple[int, int, int, int]:
        """See `GridSource.slice_shape`."""
        n_frames, _, n_coils, ky, kx = self.file.shape
        return n_frames, n_coils, ky, kx

    @property
    def oversampling(self) -> float | None:
        """See `GridSource.oversampling`."""
        return self.file.oversampling

    @property
    def n_copies(self) -> float:
        """See `SliceSize`; the fully sampled twin is read, too."""
        return 1.0 if self._twin is None else 2.0

    def read_timed(self, number: int) -> TimedSlice:
        """Read one slice with coil maps, and with the truth if the archive holds the fully sampled twin.

        Raises
        ------
        FileError
            If a file is damaged, or the mask missing.
        DataError
            If the slice does not exist or is empty, frames between others are empty, samples are outside the mask,
            or the axes of time and slices are exchanged.
        """
        kspace = self._kspace(number)
        where = f"{self.file.path}, slice {number}"
        kspace, mask, frames, warnings = self.keep_measured(kspace, self._claimed(kspace, where), where)
        meta = self._meta(number, (kspace.shape[-2], kspace.shape[-1]), [*self.file.warnings, *warnings])
        finished = finish_slice(kspace, mask, meta, self.config)
        truth, truth_warnings = self._truth(number, frames, finished)
        data = attach_reference(finished.data, truth, "twin").with_warnings(*truth_warnings)
        return TimedSlice(data, finished.csm_seconds)

    def _kspace(self, number: int) -> Tensor:
        """The stored k-space of a slice, ``(frames, coils, ky, kx)``, checked for signal, scale and order of axes."""
        where = f"{self.file.path}, slice {number}"
        self.require_slice(number)
        kspace = torch.from_numpy(self.file.read_slice(number))
        require_magnitude(kspace, where)
        if self._has_exchanged_axes:
            what = "adjacent slices are more alike than adjacent frames: these axes seem to be exchanged"
            hint = "in MATLAB: kspace = permute(kspace, [1 2 3 5 4])"
            raise DataError(what, where=str(self.file.path), hint=hint)
        return kspace

    @cached_property
    def _twin(self) -> CmrFile | None:
        twin = None if self.file.twin is None else open_cmrxrecon(self.file.twin)
        return twin if twin is not None and twin.shape == self.file.shape else None

    def _claimed(self, kspace: Tensor, where: str) -> Tensor | None:
        """The mask of the file, which must cover all samples; None if all of k-space counts as measured."""
        stored = self.file.read_mask()
        if stored is None:
            return None
        mask = torch.from_numpy(stored)
        if any(bool((coil * ~mask[:, 0]).any()) for coil in kspace.unbind(1)):
            what = "the file holds samples where its mask says that nothing was measured"
            raise DataError(what, where=where, hint=f"does the mask {self.file.mask} belong to another file?")
        return mask

    @cached_property
    def _has_exchanged_axes(self) -> bool:
        """Whether adjacent slices are more alike than adjacent frames: then the two axes are exchanged."""
        n_frames, n_slices, *_ = self.file.shape
        if n_frames < 2 or n_slices < 2:
            return False
        middle = (n_slices - 1) // 2
        first, second = self.file.read_slice(middle, slice(0, 2))
        (next_slice,) = self.file.read_slice(middle + 1, slice(0, 1))
        return are_slices_frames(first, second, next_slice)

    def _truth(self, number: int, frames: list[int], finished: FinishedSlice) -> tuple[Tensor | None, list[str]]:
        """The image of the fully sampled twin, combined with the maps of the slice; None if there is none; warnings."""
        if self._twin is None:
            return None, []
        data = finished.data
        kspace = torch.from_numpy(self._twin.read_slice(number))[frames]
        measured = find_measured(kspace, None, f"{self._twin.path}, slice {number}") if kspace.any() else None
        if measured is None or len(measured.frames) < len(frames) or block_of_lines(measured.mask) is None:
            return None, ["the twin in the folder of fully sampled files is not fully sampled: it is not used as truth"]
        kspace = crop_frames(kspace, data.matrix[1], -1)
        kspace = kspace if finished.coil_matrix is None else transform_coils(finished.coil_matrix, kspace)
        if correlation((kspace * data.mask).numpy(), data.kspace.numpy()) < MIN_CORRELATION:
            return None, ["the fully sampled twin is of another scan: it is not used as truth"]
        full = torch.ones(data.n_frames, 1, data.matrix[0], 1, dtype=torch.bool)
        return Encoding(full, data.csm, matrix=data.matrix, coils_at_once=1).adjoint(kspace), []

    def _meta(self, number: int, matrix: tuple[int, int], warnings: list[str]) -> CineMeta:
        fov, factor = self.file.fov_mm, self.file.oversampling
        origin = "file" if self.file.table is None else "table"
        pixel_size_mm = (1.0, 1.0)
        if fov is None or factor is None:
            warnings.append(
                "no table gives field of view and oversampling: pixels count as 1 mm, readouts are not cropped"
            )
        else:
            pixel_size_mm = (fov[0] / matrix[0], fov[1] * factor / self.file.shape[4])
        thickness_mm, no_thickness = thickness_or_default(self.file.slice_thickness_mm, origin)
        meta = CineMeta(
            source=str(self.file.path),
            slice=number,
            pixel_size_mm=pixel_size_mm,
            slice_thickness_mm=thickness_mm,
            protocol=self.file.path.stem,
            warnings=(*warnings, UNKNOWN_TIMES, *no_thickness),
            is_one_beat=self.file.path.stem.startswith("cine"),
        )
        return with_plausibility_warnings(meta, matrix, origin)
