"""Several scans or methods in one call: each reconstruction is independent, so that one failure stops no other."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cinerecon.acquisition import find_cines
from cinerecon.errors import CineReconError, ConfigError, FileError
from cinerecon.evaluation.scan_names import labels_of
from cinerecon.image import CineImage
from cinerecon.io.atomic import moved_into_place, write_text
from cinerecon.io.export import FOLDER, FORMATS, Target
from cinerecon.io.export.movie import write_gif, write_mp4
from cinerecon.machine import pick_device
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_paths import model_label
from cinerecon.reconstruction.request import DEFAULT_ENDINGS, ReconRequest
from cinerecon.reconstruction.run import Observer, ReconReport, iterate_slices, load_request_method, reconstruct_scan
from cinerecon.reconstruction.slice_cache import checksum_of
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.verdict import worst_status

RECORD = "recon.json"
"""File in the output folder that lists what is finished."""
MOVIES = {".mp4": write_mp4, ".gif": write_gif}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """What is to be reconstructed.

    Attributes
    ----------
    names
        What each scan is called in the output folder.
    requests
        The reconstructions, by scan, then by method.
    folder
        Where their images are written; None for a comparison alone.
    movies
        For each scan where its methods are shown side by side.
    """

    names: Mapping[Path, str]
    requests: tuple[ReconRequest, ...]
    folder: Path | None
    movies: Mapping[Path, tuple[Target, ...]]


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result of one reconstruction of a batch: figures of it, or an error.

    Attributes
    ----------
    name, method
        Scan and method.
    figures
        Numbers of slices and frames, mean acceleration, residual and quality, seconds; empty after an error.
    written
        The files.
    warnings
        Each warning once.
    error
        Why it failed.
    is_earlier
        Whether an earlier run finished it.
    verdict
        The worst verdict of its slices; empty if there is none.
    """

    name: str
    method: str
    figures: Mapping[str, float]
    written: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: CineReconError | None = None
    is_earlier: bool = False
    verdict: str = ""


def is_batch(scans: Sequence[Path], models: Sequence[str], formats: Sequence[str]) -> bool:
    """Whether this is more than one scan by one method."""
    return len(scans) > 1 or len(models) > 1 or bool(formats) or any(path.is_dir() for path in scans)


def plan_batch(
    scans: Sequence[Path], models: Sequence[str], outputs: Sequence[str], formats: Sequence[str], common: ReconRequest
) -> Batch:
    """List the reconstructions of a batch.

    Parameters
    ----------
    scans
        Files, or folders that are searched for scans.
    models
        Names of methods.
    outputs
        A folder for all images; with several methods also movies to compare them in.
    formats
        Endings of the files to write for each scan, or ``dicom``; empty means the default.
    common
        The settings that all reconstructions share.

    Raises
    ------
    ConfigError
        If there is no folder for the images, a format is unknown, or two methods have the same name.
    FileError
        If no scan is found.
    """
    files = _list_files(scans)
    if common.patient is not None and len(files) > 1:
        what = f"one patient is given for {len(files)} scans"
        raise ConfigError(what, where="--patient, --name, --accession, --like", hint="reconstruct each scan by itself")
    labels = [model_label(model) for model in models]
    if len(set(labels)) < len(labels):
        raise ConfigError("two methods have the same name", where="--model", hint="rename one of their folders")
    targets = [Target.parse(output) for output in outputs]
    folders = [target.path for target in targets if target.ending == FOLDER]
    movies = [target for target in targets if target.ending in MOVIES]
    if len(folders) > 1 or len(folders) + len(movies) < len(targets):
        raise ConfigError(
            "several scans or methods are written to one folder", where="-o", hint="-o out/ --format .npz"
        )
    if movies and (len(models) == 1 or len(files) > 1):
        raise ConfigError("a movie compares several methods on one scan", where=f"-o {movies[0].path}", hint="-o out/")
    if not targets:
        hint = "-o out/" + ", or -o compare.mp4" * (len(models) > 1 and len(files) == 1)
        raise ConfigError("there is no folder for several scans or methods", where="-o", hint=hint)
    names, folder = labels_of(files), folders[0] if folders else None
    requests = [
        common.with_values(scan=path, model=model, outputs=_outputs(folder, f"{names[path]}.{label}", formats))
        for path in files
        for model, label in zip(models, labels, strict=True)
    ]
    compared: dict[Path, tuple[Target, ...]] = {}
    if len(models) > 1:
        for path in files:
            own = () if folder is None else (Target(folder / f"{names[path]}.compare.mp4", ".mp4"),)
            compared[path] = (*movies, *own)
    return Batch(names, tuple(requests), folder, compared)


def run_batch(
    batch: Batch, observer: Observer | None = None, report: Callable[[Outcome], None] = lambda _: None
) -> list[Outcome]:
    """Reconstruct all, one after the other; ``report`` is called with each result.

    Raises
    ------
    CineReconError
        If a method or a setting that all share is wrong, before any work.
    """
    observer = observer or Observer()
    device = pick_device(batch.requests[0].device)
    requests = [request.with_values(device=device) for request in batch.requests]
    methods = {request.model: request for request in requests}
    loaded = {model: load_request_method(request) for model, request in methods.items()}
    for request in methods.values():
        request.check_settings(loaded[request.model])
    for targets in batch.movies.values():
        for target in targets:
            target.check(force=requests[0].force or requests[0].resume)
    outcomes: list[Outcome] = []
    for path in dict.fromkeys(request.scan for request in requests):
        images: list[list[CineImage]] = []
        for request in (request for request in requests if request.scan == path):
            outcome, slices = _run_one(batch, request, loaded[request.model], observer)
            outcomes.append(outcome)
            report(outcome)
            if path in batch.movies and slices:
                images.append([part.cine for part in slices])
        n_methods = sum(request.scan == path for request in requests)
        if path in batch.movies and len(images) == n_methods:
            for target in batch.movies[path]:
                write_comparison(images, target, overwrite=requests[0].force or requests[0].resume)
    return outcomes


def write_comparison(methods: Sequence[Sequence[CineImage]], target: Target, *, overwrite: bool = False) -> None:
    """Write a movie with a row for each slice, and a column for each method and the reference.

    Raises
    ------
    FileError
        If the file system refuses, or the file exists and is not to be replaced.
    """
    rows = []
    for images in zip(*methods, strict=True):
        reference = images[0].reference
        rows.append(
            [*images, *([] if reference is None else [replace(images[0], image=reference, method="reference")])]
        )
    with moved_into_place(target.path, overwrite=overwrite) as temporary:
        MOVIES[target.ending](temporary, [image for row in rows for image in row], max(map(len, rows)))
    logger.info("wrote %s", target.path)


def _list_files(scans: Sequence[Path]) -> list[Path]:
    files = dict.fromkeys(file for path in scans for file in (find_cines(path) if path.is_dir() else [path]))
    if not files:
        raise FileError("no scan found", where=", ".join(map(str, scans)), hint="scans are .h5, .mrd or .mat files")
    return list(files)


def _outputs(folder: Path | None, stem: str, formats: Sequence[str]) -> tuple[str, ...]:
    """The files of one reconstruction.

    Raises
    ------
    ConfigError
        If a format is unknown.
    """
    if folder is None:
        return ()
    outputs = []
    for ending in formats or DEFAULT_ENDINGS:
        known = ending if ending.startswith(".") else f".{ending}"
        if known not in FORMATS and ending.rstrip("/") != FOLDER.rstrip("/"):
            hint = f"known: {', '.join([*FORMATS, FOLDER.rstrip('/')])}"
            raise ConfigError(f"no image format '{ending}'", where="--format", hint=hint)
        outputs.append(f"{folder / stem}{known if known in FORMATS else f'.{FOLDER}'}")
    return tuple(outputs)


def _run_one(
    batch: Batch, request: ReconRequest, method: Reconstructor, observer: Observer
) -> tuple[Outcome, Sequence[ReconstructedSlice]]:
    """One reconstruction; an error is part of its result."""
    name, compares = batch.names[request.scan], request.scan in batch.movies
    try:
        request.check_sources()
        identity = hashlib.sha256(repr(request.patient).encode()).hexdigest()[:8]
        checksum = f"{checksum_of(request, method)}-{identity}"
        earlier = _read_record(batch.folder).get(f"{name}.{request.label}", {})
        is_finished = earlier.get("checksum") == checksum and all(Path(file).exists() for file in earlier["written"])
        if request.resume and is_finished:
            slices = list(iterate_slices(request, method, observer)) if compares else []
            written = tuple(earlier["written"])
            texts, verdict = tuple(earlier["warnings"]), earlier.get("verdict", "")
            return Outcome(name, request.label, earlier["figures"], written, texts, None, True, verdict), slices
        if batch.folder is None:
            slices = list(iterate_slices(request, method, observer))
            texts = tuple(dict.fromkeys(text for part in slices for text in part.warnings))
            verdict = worst_status([part.verdict for part in slices])
            return Outcome(name, request.label, _figures(slices), (), texts, verdict=verdict), slices
        done: ReconReport = reconstruct_scan(request, observer, method)
    except CineReconError as error:
        logger.error("%s, %s: %s", name, request.label, error.what)
        return Outcome(name, request.label, {}, error=error), ()
    except Exception as error:  # a bug on one scan must not stop the others
        logger.exception("%s, %s", name, request.label)
        what = f"unexpected {type(error).__name__}: {error}"
        return Outcome(name, request.label, {}, error=CineReconError(what, where=str(request.scan))), ()
    written = tuple(map(str, done.written))
    verdict = worst_status([part.verdict for part in done.slices])
    outcome = Outcome(name, request.label, _figures(done.slices), written, done.warnings, verdict=verdict)
    _add_to_record(batch.folder, outcome, checksum)
    return outcome, done.slices if compares else ()


def _figures(slices: Sequence[ReconstructedSlice]) -> dict[str, float]:
    """Figures of a scan: sums over its slices, or means."""
    n = len(slices)
    figures: dict[str, float] = {
        "slices": n,
        "frames": max(part.cine.n_frames for part in slices),
        "acceleration": sum(part.acceleration for part in slices) / n,
        "seconds": sum(sum(part.seconds.values()) for part in slices),
        "residual": sum(part.residual for part in slices) / n,
    }
    medians = [part.snr["median"] for part in slices if part.snr]
    figures |= {"snr": sum(medians) / n} if len(medians) == n else {}
    for measure in ("psnr", "ssim"):
        values = [part.quality[measure] for part in slices if measure in part.quality]
        figures |= {measure: sum(values) / n} if len(values) == n else {}
    return figures


def _read_record(folder: Path | None) -> dict[str, Any]:
    """What earlier runs finished, by scan and method."""
    try:
        record = {} if folder is None else json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _add_to_record(folder: Path, outcome: Outcome, checksum: str) -> None:
    entry = {"checksum": checksum} | {
        name: getattr(outcome, name) for name in ("written", "warnings", "figures", "verdict")
    }
    record = _read_record(folder) | {f"{outcome.name}.{outcome.method}": entry}
    write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")
