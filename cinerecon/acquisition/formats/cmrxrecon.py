"""A CMRxRecon file as a source of slices."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from cinerecon.acquisition.checks.measured import find_measured
from cinerecon.acquisition.coil_maps import FinishedSlice, finish_slice
from cinerecon.acquisition.formats.gridded import GridSource
from cinerecon.acquisition.reference import attach_reference
from cinerecon.axes import centre_crop
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError
from cinerecon.io.cmrxrecon import CmrFile, open_cmrxrecon, subject_of
from cinerecon.io.plausibility import UNKNOWN_TIMES, correlation, thickness_or_default, with_plausibility_warnings
from cinerecon.physics.coils import transform_coils
from cinerecon.physics.fourier import crop_frames
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import block_of_lines

MIN_CORRELATION = 0.7
"""Correlation of a slice with its fully sampled counterpart below which the two belong to different scans."""


@dataclass(frozen=True, eq=False, repr=False)
class CmrxreconSource(GridSource):
    """A k-space file of a CMRxRecon challenge, whose slices are read one at a time.

    Images are the centred inverse transform of k-space. The files contain neither noise readouts nor positions: coils
    are not whitened, and images have no orientation.
    """

    order_hint = "the order in MATLAB is (kx, ky, coils, slices, frames): see permute"
    coils_hint = "k-space of several coils needs five axes and another name than SingleCoil"

    stored: CmrFile

    @property
    def subject(self) -> str:
        """The subject number of the archive, with its subset and scanner."""
        return subject_of(self.path) or ""

    @property
    def oversampling(self) -> float | None:
        """See `GridSource.oversampling`."""
        return self.stored.oversampling

    @property
    def n_copies(self) -> float:
        """See `SliceSize`; the fully sampled counterpart is read as well."""
        return 1.0 if self._twin is None else 2.0

    def read_timed(self, number: int) -> FinishedSlice:
        """Read one slice with coil maps, and with a reference if the archive contains the fully sampled counterpart.

        Raises
        ------
        FileError
            If a file is damaged, or the mask is missing.
        DataError
            If the slice does not exist or is empty, frames between others are empty, samples are outside the mask, or
            the axes of time and slices are exchanged.
        """
        kspace, where = self.read_stored(number), f"{self.path}, slice {number}"
        part, frames = self.keep_measured(kspace, self._claimed(kspace, where), where)
        matrix = part.interpolated_matrix or (part.kspace.shape[-2], part.kspace.shape[-1])
        finished = finish_slice(part, self._meta(number, matrix, part.warnings), self.config)
        reference, warnings = self._reference(number, frames, finished)
        return replace(finished, data=attach_reference(finished.data, reference, "twin").with_warnings(*warnings))

    @cached_property
    def _twin(self) -> CmrFile | None:
        twin = None if self.stored.twin is None else open_cmrxrecon(self.stored.twin)
        return twin if twin is not None and twin.shape == self.stored.shape else None

    def _claimed(self, kspace: Tensor, where: str) -> Tensor | None:
        """The mask of the file, which must contain all samples; None if all of k-space is treated as measured."""
        stored = self.stored.read_mask()
        if stored is None:
            return None
        mask = torch.from_numpy(stored)
        if any(bool((coil * ~mask[:, 0]).any()) for coil in kspace.unbind(1)):
            what = "the file contains samples where its mask marks nothing as measured"
            raise DataError(what, where=where, hint=f"does the mask {self.stored.mask} belong to another file?")
        return mask

    def _reference(self, number: int, frames: list[int], finished: FinishedSlice) -> tuple[Tensor | None, list[str]]:
        """The reference from the fully sampled counterpart, combined with the maps of the slice; and warnings."""
        if self._twin is None:
            return None, []
        data = finished.data
        kspace = torch.from_numpy(self._twin.read_slice(number))[frames]
        measured = find_measured(kspace, None, f"{self._twin.path}, slice {number}") if kspace.any() else None
        if measured is None or len(measured.frames) < len(frames) or block_of_lines(measured.mask) is None:
            return None, [
                "the corresponding file in the folder of fully sampled files is not fully sampled: it is not used as "
                "reference"
            ]
        if data.meta.interpolated_matrix is not None:
            n_columns = round(kspace.shape[-1] * data.matrix[1] / data.meta.interpolated_matrix[1])
            kspace = centre_crop(kspace, (data.matrix[0], n_columns)).contiguous()
        kspace = crop_frames(kspace, data.matrix[1], -1)
        kspace = kspace if finished.coil_matrix is None else transform_coils(finished.coil_matrix, kspace)
        if correlation((kspace * data.mask).numpy(), data.kspace.numpy()) < MIN_CORRELATION:
            return None, ["the corresponding fully sampled file belongs to another scan: it is not used as reference"]
        full = torch.ones(data.n_frames, 1, data.matrix[0], 1, dtype=torch.bool)
        return Encoding(full, data.csm, matrix=data.matrix, coils_at_once=1).adjoint(kspace), []

    def _meta(self, number: int, matrix: tuple[int, int], warnings: tuple[str, ...]) -> CineMeta:
        file = self.stored
        origin = "file" if file.table is None else "table"
        pixel_size_mm, no_size = (1.0, 1.0), list[str]()
        if file.fov_mm is None or file.oversampling is None:
            no_size = [
                "the parameter table (..._info.csv) with field of view and oversampling is missing: a pixel size of "
                "1 mm is assumed, and readouts are not cropped"
            ]
        else:
            pixel_size_mm = (file.fov_mm[0] / matrix[0], file.fov_mm[1] * file.oversampling / file.shape[-1])
        thickness_mm, no_thickness = thickness_or_default(file.slice_thickness_mm, origin)
        meta = CineMeta(
            source=str(self.path),
            slice=number,
            pixel_size_mm=pixel_size_mm,
            slice_thickness_mm=thickness_mm,
            protocol=self.path.stem,
            warnings=(*file.warnings, *warnings, *no_size, UNKNOWN_TIMES, *no_thickness),
            is_one_beat=file.is_one_beat,
        )
        return with_plausibility_warnings(meta, matrix, origin)
