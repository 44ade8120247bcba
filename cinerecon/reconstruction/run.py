"""Reconstruct a raw scan, slice by slice, and write the images."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cinerecon.acquisition import CineSource, IntakeConfig, open_cine, require_cine
from cinerecon.acquisition.undersample import seed_of, undersample
from cinerecon.cine import CineData, CineMeta, finish_image, keep_frames
from cinerecon.errors import ConfigError, DataError
from cinerecon.image import CineImage, collect_warnings
from cinerecon.io.atomic import would_overwrite
from cinerecon.io.export import Target, export
from cinerecon.io.mask import MaskFile
from cinerecon.machine import peak_memory_mb, pick_device
from cinerecon.methods.base import Convergence, Reconstructor, encoding_of, model_label
from cinerecon.methods.card import card_warnings
from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import SSIM_WINDOW, compare
from cinerecon.physics.sampling import block_of_lines, measured_extent, scan_acceleration

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done so far."""

DEFAULT_ENDINGS = (".h5", ".mp4", ".png")
LARGE_RESIDUAL = 0.5


@dataclass(frozen=True)
class ReconRequest:
    """What to reconstruct, how, and where to.

    Attributes
    ----------
    scan
        ISMRMRD raw file.
    model
        Name of a method or of an imported model, or file or folder of a trained network.
    outputs
        Files or folders, each format by its ending; empty means ``.h5``, ``.mp4`` and ``.png`` beside the scan.
    slices
        Indices of slices; empty means all.
    frames
        ``first:last`` (last not included) or one index; empty means all.
    device
        ``auto``, ``cpu``, ``cuda``.
    csm
        How coil maps are estimated, ``smooth``, ``espirit`` or ``walsh``; None leaves it to the method.
    noise, dataset
        Separate noise scan; group inside the file.
    undersample
        Sampling pattern or mask file, for a fully sampled scan that is to be undersampled after the fact.
    seed
        Of the sampling pattern.
    weights, settings, intake
        Weights in place of the method's own; ``key=value`` texts for the method and for intake.
    force
        Overwrite existing files; never one that is read.
    strict
        Refuse what would be warned of.
    verbose
        Record the convergence of iterative methods, which takes time; ``.npz`` asks for it, too.
    """

    scan: Path
    model: str
    outputs: tuple[str, ...] = ()
    slices: tuple[int, ...] = ()
    frames: str = ""
    device: str = "auto"
    csm: str | None = None
    noise: Path | None = None
    dataset: str | None = None
    undersample: str | None = None
    seed: int = 0
    weights: Path | None = None
    settings: tuple[str, ...] = ()
    intake: tuple[str, ...] = ()
    force: bool = False
    strict: bool = False
    verbose: bool = False

    @property
    def wants_convergence(self) -> bool:
        """Whether somebody will see it."""
        return self.verbose or any(target.ending == ".npz" for target in self.targets)

    @property
    def targets(self) -> list[Target]:
        """The files to write."""
        if self.outputs:
            return [Target.parse(output) for output in self.outputs]
        stem = f"{self.scan.stem}.{model_label(self.model)}"
        return [Target(self.scan.with_name(stem + ending), ending) for ending in DEFAULT_ENDINGS]

    @property
    def sources(self) -> list[Path]:
        """The files that are named to be read."""
        mask = MaskFile.parse(self.undersample) if self.undersample else None
        model = Path(self.model)
        named = (
            self.scan,
            self.noise,
            self.weights,
            None if mask is None else mask.path,
            model if model.is_file() else None,
        )
        return [path for path in named if path is not None]


@dataclass(frozen=True, eq=False)
class SliceReport:
    """One reconstructed slice and how it went.

    Attributes
    ----------
    cine
        The images.
    n_coils
        Coils that were reconstructed from.
    acceleration, acceleration_without_acs
        K-space points over sampled points, within the extent that was measured; the same outside the lines that every
        frame samples.
    seconds
        Time per stage: ``read``, ``maps``, ``reconstruct``.
    residual
        ||mask (A x) - y|| / ||y||: the part of the measured data that the image does not explain.
    quality
        ``psnr`` [dB] and ``ssim`` of the magnitude against the reference; empty where comparing says nothing.
    """

    cine: CineImage
    n_coils: int
    acceleration: float
    acceleration_without_acs: float
    seconds: dict[str, float]
    residual: float
    quality: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ReconReport:
    """All slices, the files written with the seconds each took, and what a reader of the images should know."""

    slices: tuple[SliceReport, ...]
    written: dict[Path, float]
    peak_memory_mb: float
    device: str
    warnings: tuple[str, ...]


def reconstruct_scan(request: ReconRequest, progress: Progress | None = None) -> ReconReport:
    """Read a raw scan, reconstruct it slice by slice, write the images. Besides these, one slice is held in memory.

    Raises
    ------
    CineReconError
        For anything in the request or the file that does not fit; before any work where it can be known before.
    """
    require_cine(request.scan)
    targets = _checked_targets(request)
    device = pick_device(request.device)
    method = load_method(request.model, request.settings, device=device, weights=request.weights)
    config = _intake_config(request, method)
    scan = open_cine(request.scan, config, noise=request.noise, dataset=request.dataset)
    reports = []
    chosen = _chosen_slices(request.slices, scan)
    for number, index in enumerate(chosen):

        def report(text: str, fraction: float, number: int = number, index: int = index) -> None:
            if progress:
                progress(f"slice {index}: {text}", (number + fraction) / len(chosen))

        reports.append(_reconstruct_slice(request, scan, index, method, device, config.csm, report))
    cines = [replace(report.cine, header_xml=scan.header_xml or "") for report in reports]
    written: dict[Path, float] = {}
    for target in targets:
        if progress:
            progress(f"writing {target.path.name}", 1.0)
        written |= export(cines, target)
    return ReconReport(tuple(reports), written, peak_memory_mb(device), device, collect_warnings(cines))


def _checked_targets(request: ReconRequest) -> list[Target]:
    """Where to write, without what would be lost: files that exist, that are read, or that are written twice."""
    targets = request.targets
    for number, target in enumerate(targets):
        for source in request.sources:
            if target.may_write(source):
                raise would_overwrite(source, target.path)
        for other in targets[:number]:
            if target.may_write(other.path) or other.may_write(target.path):
                raise ConfigError("two outputs would be written to the same file", where=f"-o {target.path}")
        target.check(force=request.force)
    return targets


def _intake_config(request: ReconRequest, method: Reconstructor) -> IntakeConfig:
    """The settings a network was trained with, or the defaults; then what the user asks for."""
    config = IntakeConfig.parse(method.preprocessing, where=request.model)
    config = config.with_settings(request.intake, where="--intake")
    return config if request.csm is None else config.with_settings([f"csm={request.csm}"], where="--csm")


def _chosen_slices(wanted: tuple[int, ...], scan: CineSource) -> tuple[int, ...]:
    for index in wanted:
        if not 0 <= index < scan.n_slices:
            known = f"0 to {scan.n_slices - 1}" if scan.n_slices > 1 else "0 alone"
            raise ConfigError(f"there is no slice {index}", where="--slice", hint=f"the scan has {known}")
    return tuple(dict.fromkeys(wanted)) or tuple(range(scan.n_slices))


def _reconstruct_slice(
    request: ReconRequest,
    scan: CineSource,
    index: int,
    method: Reconstructor,
    device: str,
    csm: str,
    report: Progress,
) -> SliceReport:
    seconds: dict[str, float] = {}
    report("reading, estimating coil maps", 0.0)
    with _timed(seconds, "read"):
        data = _chosen_frames(scan.read_slice(index, seconds), request.frames).to(device)
    seconds["read"] -= seconds["maps"]
    extent = measured_extent(data.mask)
    if request.undersample:
        with _timed(seconds, "maps"):
            data = undersample(data, request.undersample, seed=seed_of(data, request.seed), csm=csm)
    elif not _is_comparable(data):
        data = replace(data, reference=None, meta=replace(data.meta, reference_is=""))
    doubts = card_warnings(method.card, data, request.undersample or "")
    data = replace(data, meta=replace(data.meta, warnings=(*data.meta.warnings, *doubts)))
    if request.strict:
        _refuse_warnings(data.meta)
    report("reconstructing", 0.2)
    with _timed(seconds, "reconstruct"), torch.inference_mode():
        made = method.reconstruct(
            data,
            lambda done, total: report("reconstructing", 0.2 + 0.8 * done / max(total, 1)),
            record=request.wants_convergence,
        )
        image = made.image.cpu()
    judged = _judge(data, image, extent, seconds, model_label(request.model), made.convergence)
    if request.strict:
        _refuse_warnings(judged.cine.meta)
    return judged


def _is_comparable(data: CineData) -> bool:
    """Whether the reference says something of a scan taken as it is: its own samples do not."""
    if not data.meta.reference_is:
        return block_of_lines(data.mask) is None
    return not data.meta.is_own_reference


def _refuse_warnings(meta: CineMeta) -> None:
    if meta.warnings:
        hint = "without --strict the images are written, and carry the warning"
        raise DataError(meta.warnings[0], where=f"{meta.source}, slice {meta.slice}", hint=hint)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def _chosen_frames(data: CineData, text: str) -> CineData:
    """Keep the frames of ``first:last`` (last not included) or of one index.

    Raises
    ------
    ConfigError
        If the text is neither, or no frame remains.
    """
    if not text:
        return data
    first, colon, last = text.partition(":")
    try:
        start = int(first or 0)
        stop = (int(last) if last else data.n_frames) if colon else start + 1
    except ValueError:
        raise ConfigError(f"'{text}' is not first:last", where="--frames", hint="e.g. 0:12") from None
    if not 0 <= start < min(stop, data.n_frames):
        what = f"no frame in {text}, slice {data.meta.slice} has {data.n_frames} frames"
        raise ConfigError(what, where="--frames")
    return keep_frames(data, slice(start, stop))


def _judge(
    data: CineData,
    image: Tensor,
    extent: tuple[slice, slice],
    seconds: dict[str, float],
    method_name: str,
    convergence: Convergence | None,
) -> SliceReport:
    """Measure what can be measured without trust in the method: the residual, and the error where that is known."""
    where = f"{data.meta.source}, slice {data.meta.slice}"
    if not image.isfinite().all():
        raise DataError(f"{method_name} gave an image that is not finite", where=where)
    expected = encoding_of(data).forward(image.to(data.kspace.device))
    residual = float(torch.linalg.vector_norm(expected - data.kspace) / torch.linalg.vector_norm(data.kspace))
    image = finish_image(image, data)
    reference = None if data.reference is None else finish_image(data.reference.cpu(), data)
    quality: dict[str, float] = {}
    if reference is not None and min(image.shape[-2:]) >= SSIM_WINDOW and not torch.equal(image, reference):
        quality = compare(image, reference)
    meta = data.meta
    if residual > LARGE_RESIDUAL:
        warning = f"the image leaves {residual:.0%} of the measured data unexplained: do not trust it"
        meta = replace(meta, warnings=(*meta.warnings, warning))
    acceleration, without_acs = scan_acceleration(data.mask, extent)
    curves = {} if convergence is None else {name: np.array(curve) for name, curve in asdict(convergence).items()}
    return SliceReport(
        CineImage(image.numpy(), None if reference is None else reference.numpy(), meta, method_name, curves),
        n_coils=data.n_coils,
        acceleration=acceleration,
        acceleration_without_acs=without_acs,
        seconds=seconds,
        residual=residual,
        quality=quality,
    )
