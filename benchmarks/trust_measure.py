"""Reconstruct cases with known reference, and measure features, which need no reference, and errors."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor
from trust_cases import Plan, make_case, twin_of

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.table import find_method, load_method
from cinerecon.metrics.heart import find_heart
from cinerecon.metrics.measures import psnr
from cinerecon.reconstruction.trust.features import measure_checks, measure_features
from cinerecon.reconstruction.trust.hold_out import predict_held_out

DAMAGE = (0.3, 1.5)
"""Range of the noise that is added to the weights of a network, relative to the standard deviation of each tensor."""


@dataclass(frozen=True)
class Record:
    """One image: its features, its errors, and the times of the reconstruction and of the features [s]."""

    name: str
    twin: str
    subject: str
    kind: str
    method: str
    features: dict[str, float]
    psnr: float
    heart_error: float
    seconds: float
    feature_seconds: float


def measure_all(plans: Sequence[Plan], methods: Sequence[str], path: Path, n_jobs: int = 1) -> list[Record]:
    """The records of all plans, measured in so many processes; those in the file are not measured again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    records = {(record.name, record.method): record for record in (Record(**json.loads(line)) for line in lines)}
    keys = [(plan.name, name) for plan in plans for name in methods_of(plan, methods)]
    parts = ((plan, [n for n in methods_of(plan, methods) if (plan.name, n) not in records]) for plan in plans)
    missing = [(plan, names) for plan, names in parts if names]
    with path.open("a", encoding="utf-8") as file:
        for number, new in enumerate(_measure_each(missing, n_jobs)):
            for record in new:
                records[record.name, record.method] = record
                file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
            print(f"{number + 1} of {len(missing)}: {new[0].name}", flush=True)
    return [records[key] for key in keys]


def methods_of(plan: Plan, methods: Sequence[str]) -> list[str]:
    """The methods to which a plan applies: damaged weights are those of networks only."""
    return [name for name in methods if plan.kind != "network" or find_method(name).kind == "deep"]


def _measure_each(missing: Sequence[tuple[Plan, list[str]]], n_jobs: int) -> Iterator[list[Record]]:
    """The records of each plan, as soon as they are measured."""
    if n_jobs == 1:
        yield from (measure(*part) for part in missing)
        return
    with ProcessPoolExecutor(n_jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measure, *part) for part in missing]
        yield from (future.result() for future in as_completed(futures))


@torch.no_grad()
def measure(plan: Plan, methods: Sequence[str]) -> list[Record]:
    """The records of a plan, one for each method; the time of the held-out prediction, made once, counts for each."""
    data = make_case(plan)
    begin = time.perf_counter()
    prediction = predict_held_out(data)
    prediction_seconds = time.perf_counter() - begin
    records = []
    for name in methods:
        method = load_damaged(name, plan.seed) if plan.kind == "network" else _load_once(name)
        begin = time.perf_counter()
        image = method.reconstruct(data).image
        seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        features = measure_features(data, image, method.card, prediction=prediction)
        feature_seconds = prediction_seconds + time.perf_counter() - begin
        errors, twin = errors_of(image, data), twin_of(plan).name
        records.append(
            Record(plan.name, twin, plan.anatomy.subject, plan.kind, name, features, *errors, seconds, feature_seconds)
        )
    return records


@torch.no_grad()
def measure_checks_of(plan: Plan) -> dict[str, float]:
    """The features of `CHECKS` of a plan, for which it is not reconstructed."""
    data = make_case(plan)
    return measure_checks(data, predict_held_out(data))


_load_once = cache(load_method)


def errors_of(image: Tensor, data: CineData) -> tuple[float, float]:
    """PSNR of the magnitude [dB], and the root mean square error around the heart, relative to that of the truth."""
    assert data.reference is not None
    truth = data.reference.abs()
    heart = find_heart(truth)
    box = heart.crop if heart is not None else lambda values: values
    error = torch.linalg.vector_norm(box(image.abs() - truth)) / torch.linalg.vector_norm(box(truth))
    return psnr(image.abs(), truth), float(error)


def load_damaged(name: str, seed: int) -> Reconstructor:
    """A network with noise added to its weights."""
    method = load_method(name)
    generator = torch.Generator().manual_seed(seed)
    low, high = DAMAGE
    level = low + (high - low) * float(torch.rand((), generator=generator))
    for tensor in method.weights.values():
        if tensor.is_floating_point() and tensor.numel() > 1:
            tensor += level * tensor.std() * torch.randn(tensor.shape, generator=generator)
    return method
