"""Judge methods alike: the same scans, the same undersampling, the same coil maps, the same measures."""

import csv
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from cinerecon.data.case_index import INDEX, list_cases
from cinerecon.data.cine import CineData, finish_image
from cinerecon.data.cmrxrecon import is_kspace_name
from cinerecon.errors import DataError, FileError
from cinerecon.methods.base import Reconstructor, model_label
from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import compare
from cinerecon.workflows.intake import open_cine
from cinerecon.workflows.machine import pick_device
from cinerecon.workflows.undersample import undersample

SCAN_ENDINGS = (".h5", ".mrd")


@dataclass(frozen=True)
class Score:
    """One method on one slice under one sampling pattern.

    Attributes
    ----------
    scan, slice, n_coils
        What was reconstructed.
    sampling, method
        How.
    psnr
        Of the magnitude, peak from the reference [dB].
    ssim
        Of the magnitude, data range from the reference.
    nmse
        Of the magnitude.
    seconds
        Wall time of the reconstruction alone [s].
    marks
        What makes it look other than on a measured scan, e.g. simulated phase, separated by semicolons.
    """

    scan: str
    slice: int
    n_coils: int
    sampling: str
    method: str
    psnr: float
    ssim: float
    nmse: float
    seconds: float
    marks: str = ""


def evaluate(
    scans: Iterable[Path],
    models: Iterable[str],
    patterns: Iterable[str],
    *,
    seed: int = 0,
    device: str = "auto",
    settings: tuple[str, ...] = (),
    report: Callable[[Score], None] = lambda _: None,
) -> list[Score]:
    """Undersample fully sampled scans and reconstruct them with every method.

    Parameters
    ----------
    scans
        Raw scans, prepared cases, CMRxRecon files, or folders of them.
    models
        Names of methods or folders of trained networks.
    patterns
        Sampling patterns, see `physics.sampling`.
    seed
        Of the patterns; each slice has a mask of its own.
    device
        Where to run.
    settings
        ``key=value`` texts for every method.
    report
        Called with each score as it is known.

    Raises
    ------
    FileError
        If there is no scan.
    DataError
        If a scan is undersampled and carries no truth.
    ConfigError
        If a name, a pattern or a setting is wrong.
    """
    device = pick_device(device)
    methods = {name: load_method(name, settings, device=device) for name in models}
    patterns = list(patterns)
    scores = []
    for path in list_scans(scans):
        source = open_cine(path)
        for number in range(source.n_slices):
            data = source.read_slice(number).to(device)
            for pattern in patterns:
                for score in _judge_slice(path, data, pattern, methods, seed, "; ".join(source.marks)):
                    scores.append(score)
                    report(score)
    return scores


def list_scans(paths: Iterable[Path]) -> list[Path]:
    """The scans among files and folders: of a folder of prepared cases those for testing, of others all that lie in it.

    Raises
    ------
    FileError
        If there are none.
    """
    found: list[Path] = []
    for path in paths:
        if (path / INDEX).exists():
            found += list_cases(path, "test")
        elif path.is_dir():
            visible = (p for p in path.rglob("*") if not p.name.startswith("."))
            found += sorted(p for p in visible if p.suffix in SCAN_ENDINGS or is_kspace_name(p))
        else:
            found.append(path)
    if not found:
        raise FileError("no scan to evaluate on", hint="give scans, prepared cases, or folders that hold them")
    return found


def _judge_slice(
    path: Path, data: CineData, pattern: str, methods: dict[str, Reconstructor], seed: int, marks: str
) -> Iterator[Score]:
    if data.reference is None:
        raise DataError("there is no truth to compare with", where=str(path), hint="a fully sampled scan")
    measured = undersample(data, pattern, seed=seed + data.meta.slice)
    for name, method in methods.items():
        start = time.perf_counter()
        with torch.inference_mode():
            image = method(measured)
        seconds = time.perf_counter() - start
        quality = compare(finish_image(image, measured), finish_image(data.reference, data))
        label = model_label(name)
        yield Score(path.stem, data.meta.slice, data.n_coils, pattern, label, **quality, seconds=seconds, marks=marks)


@dataclass(frozen=True)
class Summary:
    """Mean and standard deviation of a method over all slices of one sampling pattern and coil count."""

    method: str
    sampling: str
    n_coils: int
    n_slices: int
    psnr: float
    psnr_sd: float
    ssim: float
    ssim_sd: float
    seconds: float


def summarise(scores: Iterable[Score]) -> list[Summary]:
    """Group scores by coils, sampling and method, in the order of their first appearance."""
    groups: dict[tuple[int, str, str], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.n_coils, score.sampling, score.method), []).append(score)
    summaries = []
    for (n_coils, sampling, method), group in groups.items():
        psnr, ssim = [s.psnr for s in group], [s.ssim for s in group]
        spread = [statistics.stdev(v) if len(v) > 1 else 0.0 for v in (psnr, ssim)]
        seconds = statistics.mean(s.seconds for s in group)
        means = statistics.mean(psnr), statistics.mean(ssim)
        summaries.append(
            Summary(method, sampling, n_coils, len(group), means[0], spread[0], means[1], spread[1], seconds)
        )
    return summaries


def write_scores(scores: list[Score], folder: Path) -> list[Path]:
    """Write ``scores.csv``, one line per score, and ``summary.json``, into a folder that is made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    table, summary = folder / "scores.csv", folder / "summary.json"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(Score.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(score) for score in scores)
    summary.write_text(json.dumps([asdict(s) for s in summarise(scores)], indent=2) + "\n", encoding="utf-8")
    return [table, summary]
