"""Reconstruct cases of known truth, measure their features without the truth and their errors with it."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from trust_cases import Plan, make_case, twin_of

from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.table import load_method
from cinerecon.metrics.heart import find_heart
from cinerecon.metrics.measures import psnr
from cinerecon.physics.noise import noise_level
from cinerecon.reconstruction.trust.features import measure_features
from cinerecon.reconstruction.trust.hold_out import predict_held_out

DAMAGE = (0.3, 1.5)
"""Range of the noise that is added to the weights of a network, relative to the standard deviation of each tensor."""


@dataclass(frozen=True)
class Record:
    """One image: its features, its errors, and the time that it and its features took [s]."""

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


def measure_all(plans: Sequence[Plan], methods: Sequence[str], cache: Path) -> list[Record]:
    """The records of all plans; those in the cache are not measured again."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    lines = cache.read_text(encoding="utf-8").splitlines() if cache.exists() else []
    records = {(record.name, record.method): record for record in (Record(**json.loads(line)) for line in lines)}
    loaded = {name: load_method(name) for name in methods}
    wanted = {plan.name for plan in plans}
    with cache.open("a", encoding="utf-8") as file:
        for number, plan in enumerate(plans):
            if all((plan.name, name) in records for name in methods if plan.kind != "network" or name != "ktslr"):
                continue
            for record in measure(plan, loaded):
                records[record.name, record.method] = record
                file.write(json.dumps(asdict(record)) + "\n")
            file.flush()
            print(f"{number + 1} of {len(plans)}: {plan.name}", flush=True)
    return [record for record in records.values() if record.name in wanted and record.method in methods]


@torch.no_grad()
def measure(plan: Plan, methods: dict[str, Reconstructor]) -> Iterator[Record]:
    """The records of a plan, one for each method; networks start from the image of k-t SLR."""
    data = make_case(plan)
    start, start_seconds = None, 0.0
    begin = time.perf_counter()
    prediction = predict_held_out(data, float(noise_level(data.kspace, data.mask)))
    prediction_seconds = time.perf_counter() - begin
    for name, method in methods.items():
        if plan.kind == "network" and method.n_parameters == 0:
            continue
        method = damaged(name, plan.seed) if plan.kind == "network" else method
        begin = time.perf_counter()
        image = method.reconstruct(data, initial_image=None if method.n_parameters == 0 else start).image
        seconds = time.perf_counter() - begin
        if method.n_parameters:
            seconds += start_seconds
        elif name == "ktslr":
            start, start_seconds = image, seconds
        begin = time.perf_counter()
        features = measure_features(data, image, method.card, prediction=prediction)
        feature_seconds = prediction_seconds + time.perf_counter() - begin
        errors = errors_of(image, data)
        twin = twin_of(plan).name
        yield Record(
            plan.name, twin, plan.anatomy.subject, plan.kind, name, features, *errors, seconds, feature_seconds
        )


def errors_of(image: Tensor, data: CineData) -> tuple[float, float]:
    """PSNR of the magnitude [dB], and the root mean square error over that of the truth around the heart."""
    assert data.reference is not None
    truth = data.reference.abs()
    heart = find_heart(truth)
    box = heart.crop if heart is not None else lambda values: values
    error = torch.linalg.vector_norm(box(image.abs() - truth)) / torch.linalg.vector_norm(box(truth))
    return psnr(image.abs(), truth), float(error)


def damaged(name: str, seed: int) -> Reconstructor:
    """The network with noise added to its weights."""
    method = load_method(name)
    generator = torch.Generator().manual_seed(seed)
    low, high = DAMAGE
    level = low + (high - low) * float(torch.rand((), generator=generator))
    for tensor in method.weights.values():
        if tensor.is_floating_point() and tensor.numel() > 1:
            tensor += level * tensor.std() * torch.randn(tensor.shape, generator=generator)
    return method
