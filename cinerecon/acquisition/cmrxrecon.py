"""A CMRxRecon file as a source of slices."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from cinerecon.acquisition.coil_maps import finish_slice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.measured import find_measured
from cinerecon.cine import CineData, CineMeta
from cinerecon.errors import DataError
from cinerecon.io.cmrxrecon import CmrFile, open_cmrxrecon, person_of
from cinerecon.io.ismrmrd.raw import LARGEST_SAMPLE, RESCALE, SMALLEST_SAMPLE
from cinerecon.physics.coils import mix_coils
from cinerecon.physics.fourier import cropped
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import block_of_lines

MIN_CORRELATION = 0.7
"""Correlation of a slice with its fully sampled twin below which that is of another scan."""
EXCHANGED_CORRELATION, CORRELATION_MARGIN = 0.9, 0.03
"""Correlation of neighbouring frames, and by how much that of neighbouring slices is lower."""


@dataclass(frozen=True, eq=False)
class CmrxreconSource:
    """A k-space file of a CMRxRecon challenge; its slices are read one at a time.

    Images are the centred inverse transform of k-space. The files tell neither noise nor position: coils stay as they
    are, and images carry no orientation.
    """

    file: CmrFile
    config: AcquisitionConfig

    header_xml = None
    study = ""
    frame_of_reference = ""
    marks: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The archive's number of the person, with its set and scanner."""
        return person_of(self.file.path) or ""

    @property
    def files(self) -> tuple[Path, ...]:
        """K-space, and where they exist mask, fully sampled twin and table."""
        return self.file.files

    @property
    def n_slices(self) -> int:
        """Number of slices; of long-axis files, of views."""
        return self.file.shape[1]

    def read_slice(self, number: int, seconds: dict[str, float] | None = None) -> CineData:
        """Read one slice, with coil maps, and with the truth where the archive holds the fully sampled twin.

        Raises
        ------
        FileError
            If a file is damaged, or the mask missing.
        DataError
            If the slice does not exist or is empty, frames between others are empty, samples are outside of the mask,
            or the axes of time and slices are exchanged.
        """
        where = f"{self.file.path}, slice {number}"
        if not 0 <= number < self.n_slices:
            raise DataError(f"slice {number}, the file has slices 0 to {self.n_slices - 1}", where=str(self.file.path))
        kspace = torch.from_numpy(self.file.read_slice(number))
        largest = float(kspace.abs().max())
        if largest == 0:
            raise DataError("all samples are zero", where=where)
        if not SMALLEST_SAMPLE <= largest <= LARGEST_SAMPLE:
            what = f"the largest sample is {largest:.1g}, expected {SMALLEST_SAMPLE:g} to {LARGEST_SAMPLE:g}"
            raise DataError(what, where=where, hint=RESCALE)
        if self._has_exchanged_axes:
            what = "neighbouring slices are more alike than neighbouring frames: these axes seem to be exchanged"
            hint = "in MATLAB: kspace = permute(kspace, [1 2 3 5 4])"
            raise DataError(what, where=str(self.file.path), hint=hint)
        found = find_measured(kspace, self._claimed(kspace, where), where)
        warnings = [*self.file.warnings, *found.warnings]
        kspace, mask = kspace[found.frames] * found.mask, found.mask
        kspace, mask = self._crop_readout(kspace, mask, warnings)
        meta = self._meta(number, (kspace.shape[-2], kspace.shape[-1]), warnings)
        remarks: list[str] = []
        truth = partial(self._truth, number, found.frames, remarks.append)
        data = finish_slice(kspace, mask, meta, self.config, read_truth=truth, truth_is="twin", seconds=seconds)
        return data.with_warnings(*remarks)

    @cached_property
    def _twin(self) -> CmrFile | None:
        twin = None if self.file.twin is None else open_cmrxrecon(self.file.twin)
        return twin if twin is not None and twin.shape == self.file.shape else None

    def _claimed(self, kspace: Tensor, where: str) -> Tensor | None:
        """The mask of the file, which covers all that it holds; None where all of k-space counts as measured."""
        stored = self.file.read_mask()
        if stored is None:
            return None
        mask = torch.from_numpy(stored)
        if bool((kspace * ~mask).any()):
            what = "the file holds samples where its mask says that nothing was measured"
            raise DataError(what, where=where, hint=f"the mask is {self.file.mask}: is it of another file?")
        return mask

    @cached_property
    def _has_exchanged_axes(self) -> bool:
        """Whether neighbouring slices are more alike than neighbouring frames: then the two axes are exchanged."""
        n_frames, n_slices, *_ = self.file.shape
        if n_frames < 2 or n_slices < 2:
            return False
        middle = (n_slices - 1) // 2
        first, second = torch.from_numpy(self.file.read_slice(middle, slice(0, 2)))
        (neighbour,) = torch.from_numpy(self.file.read_slice(middle + 1, slice(0, 1)))
        between_slices = _correlation(first, neighbour)
        return (
            between_slices > EXCHANGED_CORRELATION and _correlation(first, second) < between_slices - CORRELATION_MARGIN
        )

    def _crop_readout(self, kspace: Tensor, mask: Tensor, warnings: list[str]) -> tuple[Tensor, Tensor]:
        """Cut the image along the readout, where the archive tells its oversampling and readouts are whole."""
        x = self._columns()
        if x == kspace.shape[-1]:
            return kspace, mask
        if mask.shape[-1] != 1:
            warnings.append("readouts were not measured whole: their oversampling stays")
            return kspace, mask
        return cropped(kspace, x, -1) * mask, mask

    def _columns(self) -> int:
        kx = self.file.shape[4]
        factor = self.file.oversampling if self.config.remove_oversampling else None
        return kx if factor is None or factor <= 1 else max(round(kx / factor), 1)

    def _truth(
        self, number: int, frames: list[int], warn: Callable[[str], None], data: CineData, mixing: Tensor | None
    ) -> Tensor | None:
        """The image of the fully sampled twin, combined by the maps of the slice; None if the twin is none."""
        if self._twin is None:
            return None
        kspace = torch.from_numpy(self._twin.read_slice(number))[frames]
        whole = find_measured(kspace, None, f"{self._twin.path}, slice {number}") if kspace.any() else None
        if whole is None or len(whole.frames) < len(frames) or block_of_lines(whole.mask) is None:
            warn("the twin in the folder of fully sampled files is not fully sampled: it is no truth")
            return None
        kspace = cropped(kspace, data.matrix[1], -1)
        kspace = kspace if mixing is None else mix_coils(mixing, kspace)
        if _correlation(kspace * data.mask, data.kspace) < MIN_CORRELATION:
            warn("the fully sampled twin is of another scan: it is no truth")
            return None
        full = torch.ones(data.n_frames, 1, data.matrix[0], 1, dtype=torch.bool)
        return Encoding(full, data.csm, matrix=data.matrix).adjoint(kspace)

    def _meta(self, number: int, matrix: tuple[int, int], warnings: list[str]) -> CineMeta:
        fov, factor = self.file.fov_mm, self.file.oversampling
        pixel_size_mm = (1.0, 1.0)
        if fov is None or factor is None:
            warnings.append("no table tells field of view and oversampling: pixels count as 1 mm, no readout is cut")
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


def _correlation(one: Tensor, other: Tensor) -> float:
    """Correlation of two parts of k-space where both were measured; 1 where nothing was."""
    common = (one != 0) & (other != 0)
    one, other = (one * common).ravel(), (other * common).ravel()
    norm = torch.linalg.vector_norm(one) * torch.linalg.vector_norm(other)
    return float(torch.vdot(one, other).abs() / norm) if norm > 0 else 1.0
