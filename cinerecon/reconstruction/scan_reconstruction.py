"""An open scan with the method and settings that reconstruct its slices, within the memory limit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np

from cinerecon.acquisition.reference import pattern_seed, undersample
from cinerecon.acquisition.scan import PhaseContrastScan
from cinerecon.acquisition.source import CineSource, SliceSize
from cinerecon.cine import CineData, keep_frames
from cinerecon.errors import ConfigError, DataError
from cinerecon.image import MAX_WINDOW_PIXELS
from cinerecon.io.export.movie import TILE_HEIGHT
from cinerecon.io.plausibility import venc_warnings
from cinerecon.memory import limited_to
from cinerecon.methods.base import Progress, Reconstructor
from cinerecon.methods.memory_plan import MemoryPlan, Task, make_plan, out_of_memory
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice, reconstruct_slice, timed, without_own_reference
from cinerecon.reconstruction.trust import calibration_of
from cinerecon.reconstruction.uncertainty import with_uncertainty

READING_SHARE = 0.2
"""Estimated fraction of the time per slice for reading and coil maps, used to display the progress."""

PICTURES, VOLUMES = (".png", ".gif", ".mp4"), (".nii", ".nii.gz", ".dcm")
"""Suffixes of the files for which all slices are drawn or stacked together."""
PICTURE_BYTES = 4 << 20
"""Memory of a slice in a picture with its panels [bytes]."""
N_WINDOW_ARRAYS = 3
"""Number of copies of the pixels from which a display window is determined."""
FLOAT = 4
"""Size of a real number in single precision [bytes]."""

SliceProgress = Callable[[str, float], None]
"""Callback that receives a description of the step and the completed fraction of the slice."""


@dataclass(frozen=True, eq=False)
class ScanReconstruction:
    """The reconstruction of an open scan, slice by slice.

    Attributes
    ----------
    scan
        The scan, with the coils of the memory plan.
    method, request
        The method, and the settings with a resolved device (not ``auto``).
    plan
        The memory plan.
    """

    scan: CineSource
    method: Reconstructor
    request: ReconRequest
    plan: MemoryPlan

    @classmethod
    def of(cls, scan: CineSource, slices: Sequence[int], method: Reconstructor, request: ReconRequest) -> Self:
        """Plan the memory for the largest of the given slices.

        Raises
        ------
        ConfigError
            If no plan meets the memory limit.
        """
        tasks = [task_of(scan, index, request) for index in slices]
        largest = max(tasks, key=lambda task: task.size.n_frames * task.size.n_coils)
        plan = make_plan(largest, method, request.memory_limit)
        compressed = scan.with_virtual_coils(plan.n_coils) if plan.is_compressed else None
        return cls(compressed or scan, method, request, plan)

    def reconstruct(
        self, index: int, report: SliceProgress = lambda *_: None, stage: Callable[[str], None] = lambda _: None
    ) -> ReconstructedSlice:
        """Read a slice, undersample it if requested, and reconstruct it.

        Parameters
        ----------
        index
            Number of the slice.
        report, stage
            Callbacks for the progress and for the stages, see `Observer.stage` of the module `run`.

        Raises
        ------
        CineReconError
            If the slice cannot be read or reconstructed, with a hint if memory was exhausted.
        """
        try:
            with limited_to(self.plan.workspace):
                stage("read")
                report("reading, estimating coil maps", 0.0)
                data, encoded, seconds = self._read(index)
                stage("reconstruct")
                part = self._reconstruct(data, encoded, report)
        except Exception as error:
            reported = out_of_memory(error, task_of(self.scan, index, self.request), self.method, self.plan)
            if reported is None:
                raise
            raise reported from error
        cine = replace(part.cine, header_xml=self.scan.header_xml or "")
        return replace(part, cine=cine, seconds=seconds | part.seconds)

    def _read(self, index: int) -> tuple[CineData, CineData | None, dict[str, float]]:
        """The selected frames on the device, undersampled; those of a second set; durations of reading and maps [s]."""
        request, seconds = self.request, dict[str, float]()
        with timed(seconds, "read"):
            part = self.scan.read_timed(index)
            n_frames, where = part.data.n_frames, f"slice {index}"
            frames, warnings = request.chosen_frames(n_frames, where), request.frame_warnings(n_frames, where)
            data = keep_frames(part.data, frames).to(request.device).with_warnings(*warnings)
            second = None if part.encoded is None else keep_frames(part.encoded, frames).to(request.device)
        seconds = {"read": seconds["read"] - part.csm_seconds, "maps": part.csm_seconds}
        if not request.undersample:
            return without_own_reference(data), second, seconds
        csm = request.preprocessing(self.method).csm
        with timed(seconds, "maps"):
            data = undersample(data, request.undersample, seed=pattern_seed(data, request.seed), csm=csm)
        return data, second, seconds

    def _reconstruct(self, data: CineData, encoded: CineData | None, report: SliceProgress) -> ReconstructedSlice:
        """The slice with its uncertainty and, if there is a second set, the velocity."""
        request, progress = self.request, partial(self._report_runs, report, 0, 1)
        if encoded is None:
            part = reconstruct_slice(data, self.method, request, progress)
        else:
            part = self._reconstruct_pair(data, encoded, progress)
        if not request.uncertainty:
            return part
        progress = partial(self._report_runs, report, 1, request.n_variants)
        return with_uncertainty(part, data, self.method, request, progress)

    def _reconstruct_pair(self, data: CineData, encoded: CineData, progress: Progress) -> ReconstructedSlice:
        """Reconstruct both sets of a phase-contrast scan; a smooth phase is assumed only if the user requests it."""
        assert isinstance(self.scan, PhaseContrastScan)
        request = self.request
        if request.partial_fourier == "auto":
            request = request.model_copy(update={"partial_fourier": "none"})
        first = reconstruct_slice(data, self.method, request, progress)
        mask = data.mask & encoded.mask
        encoded = replace(encoded, csm=data.csm, mask=mask, kspace=encoded.kspace * mask, shading=data.shading)
        second = reconstruct_slice(encoded, self.method, request.model_copy(update={"verdict": False}), progress)
        return with_velocity(first, second, require_velocity_range(self.request, self.scan.venc_cm_s))

    def _report_runs(self, report: SliceProgress, first: int, runs: int, done: int, total: int) -> None:
        """Report the completed steps of ``runs`` reconstructions that follow the ``first`` ones."""
        n_runs = 1 + (self.request.n_variants if self.request.uncertainty else 0)
        report("reconstructing", READING_SHARE + (1 - READING_SHARE) * (first + runs * done / max(total, 1)) / n_runs)


def task_of(scan: CineSource, index: int, request: ReconRequest) -> Task:
    """The memory task for the reconstruction of one slice.

    Raises
    ------
    ConfigError
        If the scan contains none of the requested frames.
    """
    size = scan.size_of(index)
    # the series for the noise map (replicas are real) or the uncertainty, and for their statistics
    n_replicas = request.n_replicas if request.snr else 0
    n_variants = request.n_variants if request.uncertainty else 0
    frames = request.chosen_frames(size.n_frames, f"slice {index}")
    return Task(
        size,
        frames.stop - frames.start,
        is_undersampled=bool(request.undersample),
        n_repeated_series=max(2 * n_replicas, 4 * n_variants),
        written_bytes=written_bytes(request.outputs, len(request.chosen_slices(scan)), size),
        has_verdict=request.verdict and calibration_of(request.label) is not None,
        is_compressible=scan.with_virtual_coils(size.n_coils) is not None,
        device=request.device,
        where=f"{request.scan}, slice {index}: {size}, {request.label}",
    )


def written_bytes(outputs: Sequence[str], n_slices: int, size: SliceSize) -> int:
    """Memory required to write the images of all slices, using the default outputs if none are given [bytes].

    Slices are read one after the other. All slices are in memory for display windows, as a limited number of values,
    and for pictures, movies, NIfTI volumes and multi-frame DICOM files.
    """
    pixels = size.ky * size.kx
    total = N_WINDOW_ARRAYS * FLOAT * min(MAX_WINDOW_PIXELS, 8 * pixels * n_slices)
    if not outputs or any(output.lower().endswith(PICTURES) for output in outputs):
        total += n_slices * (PICTURE_BYTES + 2 * TILE_HEIGHT**2 * size.n_frames)
    if any(output.lower().endswith(VOLUMES) for output in outputs):
        total += n_slices * FLOAT * size.n_frames * pixels
    return total


def check_velocity_options(request: ReconRequest, scan: CineSource) -> None:
    """Check that the request and the scan agree on whether there are two sets, and that the VENC is known.

    Raises
    ------
    ConfigError
        If a VENC is given for a scan that is not reconstructed as phase contrast; see also `require_velocity_range`.
    DataError
        See `require_velocity_range`.
    """
    if isinstance(scan, PhaseContrastScan):
        require_velocity_range(request, scan.venc_cm_s)
    elif request.venc is not None:
        what = "--venc applies only to phase contrast: scans with two sets of which none is selected by --set-index"
        raise ConfigError(what, where="--venc", hint="omit --venc")


def require_velocity_range(request: ReconRequest, header_venc_cm_s: float | None) -> float:
    """VENC [cm/s], from the request or the header.

    Raises
    ------
    DataError
        If neither contains it.
    ConfigError
        If noise or uncertainty maps are requested, which are defined for a single set.
    """
    option = "--snr" if request.snr else "--uncertainty" if request.uncertainty else ""
    if option:
        what = "maps of a phase-contrast scan can be computed only for one set at a time"
        raise ConfigError(what, where=option, hint=f"{option} --set-index 0")
    venc = request.venc or header_venc_cm_s
    if venc is None:
        what = "the scan has two sets (phase contrast), but its header has no velocity encoding (VENC)"
        hint = "--venc 150 sets it in cm/s, --set-index 0 reconstructs only one set"
        raise DataError(what, where=str(request.scan), hint=hint)
    return venc


def with_velocity(first: ReconstructedSlice, second: ReconstructedSlice, venc_cm_s: float) -> ReconstructedSlice:
    """Combine two sets into the mean magnitude with the phase of the first set, and the velocity.

    v = VENC / pi * angle(x_2 conj(x_1)) (Pelc et al. 1991, DOI 10.1002/jmri.1880010404 for the difference of two
    encodings). Velocities beyond VENC wrap around. The phase of static tissue is not corrected.

    Parameters
    ----------
    first, second
        The sets without and with velocity encoding, in the units of the same coil maps.
    venc_cm_s
        Velocity at which the phase difference is pi [cm/s].
    """
    images = first.image, second.image
    magnitude = [np.abs(image) for image in images]
    scale = np.divide(magnitude[0] + magnitude[1], 2 * magnitude[0], out=np.ones_like(magnitude[0]),
                      where=magnitude[0] > 0)  # fmt: skip
    velocity = np.angle(images[1] * images[0].conj()) * np.float32(venc_cm_s / np.pi)
    warnings = dict.fromkeys((*first.warnings, *second.warnings, *venc_warnings(venc_cm_s)))
    meta = replace(first.meta, warnings=tuple(warnings))
    cine = replace(
        first.cine,
        image=(images[0] * scale).astype(np.complex64),
        meta=meta,
        velocity=velocity.astype(np.float32),
        venc_cm_s=venc_cm_s,
    )
    seconds = {name: value + second.seconds.get(name, 0) for name, value in first.seconds.items()}
    return replace(first, cine=cine, seconds=seconds, residual=max(first.residual, second.residual))
