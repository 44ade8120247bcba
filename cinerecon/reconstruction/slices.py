"""Reconstruction of one slice: the steps that the command `recon` and `cinerecon.reconstruct` share."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.cine_meta import CineMeta
from cinerecon.errors import DataError
from cinerecon.image import CineImage
from cinerecon.methods.base import Convergence, Progress, Reconstructor, make_encoding
from cinerecon.methods.card_warnings import card_warnings
from cinerecon.metrics.measures import SSIM_WINDOW, compare
from cinerecon.physics.final_image import finish_image
from cinerecon.physics.partial_fourier import fill_partial_fourier
from cinerecon.physics.sampling import acceleration_of, block_of_lines
from cinerecon.physics.views import frame_phases
from cinerecon.reconstruction.noise_maps import map_noise, snr_figures, with_known_noise, with_noise
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.trust import calibration_of, judge_slice, method_without_verdict, slice_without_verdict
from cinerecon.verdict import Verdict

LARGE_RESIDUAL = 0.5
"""Fraction of the measured data that an image may leave unexplained without a warning."""

MAX_FRAME_PHASE = 0.5
"""Root mean square of the phases of frames, relative to their mean, above which they are removed [rad]; at most 0.1 in
intact scans."""


@dataclass(frozen=True, eq=False)
class ReconstructedSlice:
    """One reconstructed slice, and figures that describe its reconstruction.

    Attributes
    ----------
    cine
        The image with its metadata, as written to files.
    n_coils
        Number of coils used in the reconstruction.
    acceleration, acceleration_without_acs
        Ratio of k-space points to sampled points within the measured extent; the second value excludes the lines that
        every frame samples.
    seconds
        Duration of each stage: ``read``, ``maps``, ``reconstruct``, ``verdict`` [s].
    residual
        ||mask (A x) - y|| / ||y||, the fraction of the measured data that the image does not explain.
    quality
        ``psnr`` [dB] and ``ssim`` of the magnitude with respect to the reference, see `with_quality`.
    snr
        ``median`` SNR in the support and relative ``standard_error`` of the noise; for a method with a noise formula,
        also the median ``g_factor`` in the support. Empty if the noise was not mapped.
    uncertainty
        Root mean square of the uncertainty relative to that of the image, in the ``support`` and, if the heart was
        located, around the ``heart``. Empty if the uncertainty was not mapped.
    no_verdict
        Reason why there is no verdict, if one was requested and the method has one; empty otherwise.
    partial_fourier
        Part of k-space that was filled in, see `fill_partial_fourier`; empty if none was.
    """

    cine: CineImage
    n_coils: int
    acceleration: float
    acceleration_without_acs: float
    seconds: dict[str, float]
    residual: float
    quality: dict[str, float] = field(default_factory=dict)
    snr: dict[str, float] = field(default_factory=dict)
    partial_fourier: str = ""
    uncertainty: dict[str, float] = field(default_factory=dict)
    no_verdict: str = ""

    def __repr__(self) -> str:
        """The image without its values, and the main figures."""
        figures = f"acceleration={self.acceleration:.3g}, residual={self.residual:.3g}, quality={self.quality}"
        return f"ReconstructedSlice({self.cine}, {figures}, warnings={self.warnings})"

    @property
    def image(self) -> NDArray[np.complex64]:
        """``(frames, y, x)`` complex64, as written to files."""
        return self.cine.image

    @property
    def reference(self) -> NDArray[np.complex64] | None:
        """``(frames, y, x)`` complex64 reference; None if there is none."""
        return self.cine.reference

    @property
    def meta(self) -> CineMeta:
        """Source, slice number, frame times, geometry, and warnings."""
        return self.cine.meta

    @property
    def verdict(self) -> Verdict | None:
        """Expected error of the image, and whether it can be used; None if no verdict was estimated."""
        return self.cine.verdict

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings to display with the image."""
        return self.cine.meta.warnings


def reconstruct_slice(
    data: CineData, method: Reconstructor, request: ReconRequest, progress: Progress | None = None
) -> ReconstructedSlice:
    """Reconstruct one slice, scale its image, and compute residual, noise map and verdict.

    Parameters
    ----------
    data
        One cine without batch axes, on the device of the method.
    method
        The reconstruction method.
    request
        Settings for partial Fourier, convergence, noise map and verdict, and whether warnings are errors.
    progress
        Called with (number of completed steps, total number of steps); the replicas of a noise map follow the image.

    Raises
    ------
    DataError
        If the image is not finite, a noise map is requested for unknown noise, or there is a warning and ``strict`` is
        set.
    """
    n_replicas = request.n_replicas if request.snr else 0
    data = data.with_warnings(*card_warnings(method.card, data, request.undersample or ""))
    data = with_known_noise(data) if request.snr else data
    _refuse_warnings(data, is_strict=request.strict)
    seconds: dict[str, float] = {}
    with timed(seconds, "reconstruct"), torch.inference_mode():
        report = None if progress is None else lambda done, total: progress(done, total * (1 + n_replicas))
        phases = _frame_phases(data)
        in_phase = data if phases is None else replace(data, kspace=data.kspace / phases)
        result = method.reconstruct(in_phase, report, record=request.keeps_convergence)
        measured_image = _finite(result.image.cpu(), data, request.label)
    verdict, no_verdict = _judge(in_phase, measured_image, method, request, seconds)
    measured_image = measured_image if phases is None else measured_image * phases[:, 0].cpu()
    filled = fill_partial_fourier(measured_image, data, request.partial_fourier)
    residual = make_encoding(data).relative_residual(filled.image.to(data.kspace.device), data.kspace)
    noise_warnings = _noise_warnings(measured_image, filled.image, n_replicas)
    verdict_warnings = verdict.warnings if verdict else ()
    data = data.with_warnings(*filled.warnings, *noise_warnings, *_residual_warnings(residual), *verdict_warnings)
    _refuse_warnings(data, is_strict=request.strict)
    cine, snr = _finished_cine(filled.image, data, request.label, result.convergence, verdict), dict[str, float]()
    if request.snr:
        with timed(seconds, "noise"), torch.inference_mode():
            noise = map_noise(
                data, method, measured_image, n_replicas=n_replicas, seed=request.seed, progress=_after(progress)
            )
        cine = with_noise(cine, noise, data)
        snr = snr_figures(cine, noise, data)
    acceleration, without_acs = acceleration_of(data)
    return ReconstructedSlice(
        cine,
        n_coils=data.n_coils,
        acceleration=acceleration,
        acceleration_without_acs=without_acs,
        seconds=seconds,
        residual=residual,
        snr=snr,
        partial_fourier=filled.record,
        no_verdict=no_verdict,
    )


def _frame_phases(data: CineData) -> Tensor | None:
    """Phases of the frames, ``(frames, 1, 1, 1)``, that are removed before the reconstruction and restored afterwards.

    A phase that all samples of a frame share does not change magnitudes, but methods that compare frames would take it
    for motion. None if the phases hardly differ.
    """
    phases = frame_phases(data.kspace, data.mask)
    is_varying = float(phases.angle().square().mean().sqrt()) > MAX_FRAME_PHASE
    return phases if is_varying else None


def _judge(
    data: CineData, image: Tensor, method: Reconstructor, request: ReconRequest, seconds: dict[str, float]
) -> tuple[Verdict | None, str]:
    """The verdict on an image, or the reason why there is none, if one was requested and the method has one.

    Its duration [s] is added to ``seconds``.
    """
    calibration = calibration_of(request.label)
    if not request.verdict or calibration is None:
        return None, ""
    reason = method_without_verdict(method, request.label) or slice_without_verdict(data)
    if reason:
        return None, reason
    with timed(seconds, "verdict"):
        return judge_slice(data, image, method, calibration, request.undersample or ""), ""


def _after(progress: Progress | None) -> Progress | None:
    """The progress of steps that follow the first step."""
    return None if progress is None else lambda done, total: progress(1 + done, 1 + total)


def _finite(image: Tensor, data: CineData, label: str) -> Tensor:
    """The image, checked for finite values."""
    if not image.isfinite().all():
        raise DataError(f"{label} returned an image with NaN or infinite values", where=data.where)
    return image


def _finished_cine(
    image: Tensor, data: CineData, label: str, convergence: Convergence | None, verdict: Verdict | None
) -> CineImage:
    """The image ``(frames, y, x)`` and the reference as written to files."""
    reference = None if data.reference is None else finish_image(data.reference.cpu(), data).numpy()
    image_array, curves = finish_image(image, data).numpy(), _curves(convergence)
    return CineImage(image_array, reference, data.meta, label, curves, verdict=verdict)


def _curves(convergence: Convergence | None) -> dict[str, NDArray[np.float64]]:
    """The convergence as named arrays."""
    curves = {} if convergence is None else asdict(convergence)
    return {name: np.array(curve) for name, curve in curves.items()}


def _residual_warnings(residual: float) -> list[str]:
    text = f"the image leaves {residual:.0%} of the measured data unexplained: do not trust it"
    return [text] if residual > LARGE_RESIDUAL else []


def _noise_warnings(before: Tensor, after: Tensor, n_replicas: int) -> list[str]:
    """A warning if the noise map belongs to the image without the partial Fourier step."""
    text = (
        "the noise map refers to the image before the partial Fourier step: --partial-fourier none makes them "
        "consistent"
    )
    return [text] if n_replicas and after is not before else []


def with_quality(part: ReconstructedSlice) -> ReconstructedSlice:
    """The slice with PSNR and SSIM, if a comparison with its reference is meaningful.

    The comparison needs as much memory as k-space of several coils and is therefore done after k-space has been freed.
    """
    image, reference = part.image, part.reference
    if reference is None or min(part.cine.matrix) < SSIM_WINDOW or np.array_equal(image, reference):
        return part
    return replace(part, quality=compare(torch.from_numpy(image), torch.from_numpy(reference)))


def without_own_reference(data: CineData) -> CineData:
    """The data without a reference that is the image of its own samples, for a scan that is not undersampled."""
    is_meaningful = not data.meta.is_own_reference if data.meta.reference_is else block_of_lines(data.mask) is None
    return data if is_meaningful else replace(data, reference=None, meta=replace(data.meta, reference_is=""))


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Context manager that measures the duration of the enclosed code [s]."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _refuse_warnings(data: CineData, *, is_strict: bool) -> None:
    if is_strict and data.meta.warnings:
        hint = "without --strict, the images are written and contain the warning"
        raise DataError(data.meta.warnings[0], where=data.where, hint=hint)
