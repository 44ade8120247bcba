"""A CMRxRecon file as a source of slices."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from cinerecon.acquisition.array_parts import are_slices_frames, correlation, require_magnitude
from cinerecon.acquisition.coil_maps import FinishedSlice, finish_slice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.measured import find_measured
from cinerecon.acquisition.reference import attach_reference
from cinerecon.acquisition.source import CineSource, SliceSize, TimedSlice
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError
from cinerecon.io.cmrxrecon import CmrFile, open_cmrxrecon, subject_of
from cinerecon.physics.coils import transform_coils
from cinerecon.physics.fourier import crop_frames
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import block_of_lines

MIN_CORRELATION = 0.7
"""Correlation of a slice with its fully sampled twin below which the twin belongs to another scan."""


@dataclass(frozen=True, eq=False)
class CmrxreconSource(CineSource):
    """A k-space file of a CMRxRecon challenge; its slices are read one at a time.

    Images are the centred inverse transform of k-space. The files hold neither noise nor position: coils are not
    whitened, and images carry no orientation.
    """

    file: CmrFile
    config: AcquisitionConfig

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
        """Number of slices; of long-axis files, of views."""
        return self.file.shape[1]

    def size_of(self, number: int) -> SliceSize:  # noqa: ARG002
        """See `CineSource.size_of`."""
        n_frames, _, n_coils, ky, _ = self.file.shape
        n_virtual = self.config.n_virtual_coils
        return SliceSize(
            n_frames=n_frames,
            n_coils=n_coils,
            ky=ky,
            kx=self._n_columns,
            n_virtual=None if n_virtual == "auto" else n_virtual,
            n_copies=1.0 if self._twin is None else 2.0,
        )

    def with_virtual_coils(self, n_virtual: int) -> "CmrxreconSource":
        """See `CineSource.with_virtual_coils`."""
        return replace(self, config=self.config.model_copy(update={"n_virtual_coils": n_virtual}))

    def read_timed(self, number: int) -> TimedSlice:
        """Read one slice with coil maps, and with the truth where the archive holds the fully sampled twin.

        Raises
        ------
        FileError
            If a file is damaged, or the mask missing.
        DataError
            If the slice does not exist or is empty, frames between others are empty, samples are outside of the mask,
            or the axes of time and slices are exchanged.
        """
        kspace = self._kspace(number)
        where = f"{self.file.path}, slice {number}"
        measured = find_measured(kspace, self._claimed(kspace, where), where)
        kspace, mask = measured.keep_(kspace), measured.mask
        warnings = [*self.file.warnings, *measured.warnings]
        x = self._n_columns
        if x != kspace.shape[-1] and mask.shape[-1] != 1:
            warnings.append("readouts were not measured whole: their oversampling stays")
        elif x != kspace.shape[-1]:
            kspace = crop_frames(kspace, x, -1).mul_(mask)
        meta = self._meta(number, (kspace.shape[-2], kspace.shape[-1]), warnings)
        finished = finish_slice(kspace, mask, meta, self.config)
        truth, truth_warnings = self._truth(number, measured.frames, finished)
        data = attach_reference(finished.data, truth, "twin").with_warnings(*truth_warnings)
        return TimedSlice(data, finished.csm_seconds)

    def _kspace(self, number: int) -> Tensor:
        """The stored k-space of a slice, ``(frames, coils, ky, kx)``, checked for signal, scale and order of axes."""
        where = f"{self.file.path}, slice {number}"
        if not 0 <= number < self.n_slices:
            raise DataError(f"slice {number}, the file has slices 0 to {self.n_slices - 1}", where=str(self.file.path))
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
            raise DataError(what, where=where, hint=f"the mask is {self.file.mask}: is it of another file?")
        return mask

    @cached_property
    def _has_exchanged_axes(self) -> bool:
        """Whether adjacent slices are more alike than adjacent frames: then the two axes are exchanged."""
        n_frames, n_slices, *_ = self.file.shape
        if n_frames < 2 or n_slices < 2:
            return False
        middle = (n_slices - 1) // 2
        first, second = torch.from_numpy(self.file.read_slice(middle, slice(0, 2)))
        (next_slice,) = torch.from_numpy(self.file.read_slice(middle + 1, slice(0, 1)))
        return are_slices_frames(first, second, next_slice)

    @property
    def _n_columns(self) -> int:
        """Columns of the image, without readout oversampling where it is known and to be removed."""
        kx = self.file.shape[4]
        factor = self.file.oversampling if self.config.remove_oversampling else None
        return kx if factor is None or factor <= 1 else max(round(kx / factor), 1)

    def _truth(self, number: int, frames: list[int], finished: FinishedSlice) -> tuple[Tensor | None, list[str]]:
        """The image of the fully sampled twin, combined with the maps of the slice; None if there is none; warnings."""
        if self._twin is None:
            return None, []
        data = finished.data
        kspace = torch.from_numpy(self._twin.read_slice(number))[frames]
        measured = find_measured(kspace, None, f"{self._twin.path}, slice {number}") if kspace.any() else None
        if measured is None or len(measured.frames) < len(frames) or block_of_lines(measured.mask) is None:
            return None, ["the twin in the folder of fully sampled files is not fully sampled: it is no truth"]
        kspace = crop_frames(kspace, data.matrix[1], -1)
        kspace = kspace if finished.coil_matrix is None else transform_coils(finished.coil_matrix, kspace)
        if correlation(kspace * data.mask, data.kspace) < MIN_CORRELATION:
            return None, ["the fully sampled twin is of another scan: it is no truth"]
        full = torch.ones(data.n_frames, 1, data.matrix[0], 1, dtype=torch.bool)
        return Encoding(full, data.csm, matrix=data.matrix, coils_at_once=1).adjoint(kspace), []

    def _meta(self, number: int, matrix: tuple[int, int], warnings: list[str]) -> CineMeta:
        fov, factor = self.file.fov_mm, self.file.oversampling
        pixel_size_mm = (1.0, 1.0)
        if fov is None or factor is None:
            warnings.append(
                "no table gives field of view and oversampling: pixels count as 1 mm, readouts are not cropped"
            )
        else:
            pixel_size_mm = (fov[0] / matrix[0], fov[1] * factor / self.file.shape[4])
        return CineMeta(
            source=str(self.file.path),
            slice=number,
            pixel_size_mm=pixel_size_mm,
            slice_thickness_mm=self.file.slice_thickness_mm or 1.0,
            protocol=self.file.path.stem,
            warnings=tuple(warnings),
            is_one_beat=self.file.path.stem.startswith("cine"),
        )
