"""K-space in a plain array as a source of slices."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cinerecon.acquisition.checks.measured import require_own_pattern
from cinerecon.acquisition.checks.stored_kspace import require_magnitude
from cinerecon.acquisition.coil_maps import FinishedSlice, finish_slice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.formats.array_parts import (
    read_maps,
    read_pattern,
)
from cinerecon.acquisition.formats.gridded import GridSource
from cinerecon.acquisition.reference import attach_reference
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import ConfigError, DataError
from cinerecon.io.kspace_array import KspaceArray, open_kspace_array
from cinerecon.io.mask import files_of
from cinerecon.io.plausibility import (
    UNKNOWN_TIMES,
    require_memory,
    thickness_or_default,
    with_plausibility_warnings,
)
from cinerecon.io.recognise import first_bytes
from cinerecon.physics.fourier import mirror


@dataclass(frozen=True, eq=False)
class ArrayMeta:
    """Metadata of a scan from its array file or from the user; None if unknown.

    Attributes
    ----------
    pixel_size_mm
        Size of the pixels along (y, x) [mm].
    slice_thickness_mm
        Thickness of the slices [mm].
    frame_times_ms
        Time of each frame relative to the first [ms].
    oversampling
        Number of columns of k-space per column of the image.
    """

    pixel_size_mm: tuple[float, float] | None = None
    slice_thickness_mm: float | None = None
    frame_times_ms: tuple[float, ...] | None = None
    oversampling: float | None = None

    def missing(self) -> Iterator[str]:
        """Warnings about unknown metadata."""
        if self.pixel_size_mm is None:
            yield "the array has no pixel size: 1 mm is assumed (--pixel-size)"
        if self.frame_times_ms is None:
            yield f"{UNKNOWN_TIMES} (--frame-time)"
        if self.oversampling is None:
            yield "the readout oversampling is unknown: readouts are not cropped (--oversampling)"
        yield "the array has no geometry: images have no orientation"


@dataclass(frozen=True, eq=False, repr=False)
class ArraySource(GridSource):
    """K-space of an array file, whose slices are read one at a time.

    The image is the centred inverse Fourier transform of k-space or, with ``transform=fft``, the forward transform. The
    file contains neither noise readouts nor positions: coils are not whitened, and images have no orientation.
    """

    order_hint = "use --axes to name the axes in order"
    coils_hint = 'if they are coils: --axes "frames coils ky kx"'

    stored: KspaceArray
    meta: ArrayMeta = field(default_factory=ArrayMeta)

    @property
    def files(self) -> tuple[Path, ...]:
        """The array file, and the files of its maps and its sampling mask."""
        options = self.config.arrays
        return (*super().files, *files_of(options.maps), *files_of(options.pattern))

    @property
    def oversampling(self) -> float | None:
        """See `GridSource.oversampling`."""
        return self.meta.oversampling

    @property
    def n_copies(self) -> float:
        """See `SliceSize`; the samples are memory-mapped."""
        kx = self.stored.shape[-1]
        return 0.25 if self.n_columns == kx else kx / self.n_columns

    def read_timed(self, number: int) -> FinishedSlice:
        """Read one slice with coil maps.

        Raises
        ------
        DataError
            If the slice does not exist, its samples are zero or not finite, k-space is not centred, or its axes appear
            to be exchanged.
        """
        kspace, where = self.read_stored(number), f"{self.path}, slice {number}"
        claimed, warnings = read_pattern(self.stored, self.config.arrays.pattern, kspace, number)
        require_own_pattern(claimed.expand(-1, 1, *kspace.shape[-2:])[:, 0], (kspace != 0).any(1), where)
        kspace.mul_(claimed)  # in place: the array was read for this slice
        require_magnitude(kspace, where)
        if self.config.transform == "fft":
            kspace, claimed = mirror(kspace), mirror(claimed)
        part, frames = self.keep_measured(kspace, claimed, where)
        maps, maps_warnings = read_maps(self.stored, self.config.arrays.maps, part, number)
        meta = self._meta_of(number, frames, [*self.stored.warnings, *warnings, *part.warnings, *maps_warnings])
        finished = finish_slice(part, meta, self.config, csm=maps)
        return replace(finished, data=attach_reference(finished.data))

    def _meta_of(self, number: int, frames: list[int], warnings: list[str]) -> CineMeta:
        """Metadata of a slice, with warnings about unknown values."""
        meta = self.meta
        times = () if meta.frame_times_ms is None else tuple(meta.frame_times_ms[frame] for frame in frames)
        noise = ["no noise readouts: coils are not whitened"] if self.config.whiten else []
        thickness_mm, no_thickness = thickness_or_default(meta.slice_thickness_mm, "array")
        cine_meta = CineMeta(
            source=str(self.path),
            slice=number,
            frame_times_ms=tuple(time - times[0] for time in times),
            pixel_size_mm=meta.pixel_size_mm or (1.0, 1.0),
            slice_thickness_mm=thickness_mm,
            protocol=self.path.stem,
            warnings=tuple(dict.fromkeys((*warnings, *meta.missing(), *no_thickness, *noise))),
        )
        return with_plausibility_warnings(cine_meta, (self.stored.shape[-2], self.n_columns), "array")


def open_array(path: Path, config: AcquisitionConfig) -> ArraySource:
    """Open k-space in a plain array: BART, ``.npy`` or ``.npz``.

    Raises
    ------
    FileError, DataError
        If the file cannot be read, does not contain k-space, or exceeds the memory limit.
    ConfigError
        If its axes are not specified, or another description is invalid.
    """
    for file in (*files_of(config.arrays.maps), *files_of(config.arrays.pattern)):
        first_bytes(file)
    array = open_kspace_array(path, config.arrays.axes, config.memory_limit_gb)
    _, frames, coils, ky, kx = array.shape
    require_memory((frames, coils, ky, kx), config.memory_limit_gb, str(path))
    return ArraySource(config, array, _describe(array, config))


def _describe(array: KspaceArray, config: AcquisitionConfig) -> ArrayMeta:
    """The metadata from the options, completed with the metadata in the file."""
    options, n_frames = config.arrays, array.shape[1]
    thickness = _numbers(array, "slice_thickness_mm", (1,))
    factor = _as_tuple(options.oversampling) or _numbers(array, "oversampling", (1,))
    size = options.pixel_size or _numbers(array, "pixel_size_mm", (1, 2))
    if size is not None and not all(0 < length < np.inf for length in size):
        raise ConfigError(f"the pixel size is {' x '.join(map(str, size))} mm", where="--pixel-size")
    step = _as_tuple(options.frame_time) or _numbers(array, "frame_time_ms", (1,))
    times = None if options.frame_time is not None else _numbers(array, "frame_times_ms", (n_frames,))
    if times is not None and not all(np.diff(times) > 0):
        raise DataError("the times in 'frame_times_ms' do not increase", where=str(array.path))
    if times is None and step is not None:
        times = tuple(round(frame * step[0], 6) for frame in range(n_frames))
    return ArrayMeta(
        pixel_size_mm=None if size is None else (size[0], size[-1]),
        slice_thickness_mm=None if thickness is None else thickness[0],
        frame_times_ms=times,
        oversampling=None if factor is None else max(factor[0], 1.0),
    )


def _as_tuple(value: float | None) -> tuple[float, ...] | None:
    return None if value is None else (value,)


def _numbers(array: KspaceArray, name: str, lengths: tuple[int, ...]) -> tuple[float, ...] | None:
    """Positive finite numbers, or times from 0, from an archive; None if it does not contain them."""
    stored = array.extras.get(name)
    if stored is None:
        return None
    values = np.atleast_1d(stored)
    is_number = values.dtype.kind in "iuf" and values.ndim == 1 and len(values) in lengths
    smallest = 0.0 if name == "frame_times_ms" else np.finfo(float).tiny
    if not is_number or not np.isfinite(values).all() or values.min() < smallest:
        expected = " or ".join(f"{n}" for n in lengths)
        what = f"'{name}' is {np.array2string(values, threshold=4)}, expected {expected} positive number(s)"
        raise DataError(what, where=str(array.path))
    return tuple(float(value) for value in values)
