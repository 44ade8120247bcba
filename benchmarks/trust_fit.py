"""Fit the numbers of a verdict to images of known error: ridge and logistic regression, then conformal limits.

``trust.py fit`` makes the images. Those that limits and threshold are calibrated on come from other
subjects than those that the models are fitted to; both sets hold intact scans and scans with failures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cinerecon.reconstruction.trust.calibration import (
    CONTENT,
    DESIGN,
    SUFFICIENT_FEATURES,
    TWICE_DB,
    Calibration,
    Regression,
)
from cinerecon.reconstruction.trust.features import CHECKS, FEATURES
from cinerecon.verdict import COVERAGE

Vector = NDArray[np.float64]

INTACT = "intact"
USUAL_RANGE = (0.005, 0.995)
"""Quantiles of intact scans between which a feature is usual."""
RIDGE, RIDGE_RISK, RIDGE_DESIGN = 30.0, 10.0, 1.0
"""Weights of the squared coefficients, relative to one image; the constant is free. Chosen by cross-validation."""
RIDGE_CAUSE = 3.0
"""The same of the models of kinds of failures."""
FAILURE_WEIGHT = 0.1
"""Weight of an image with a failure in the models of its error, of which intact scans are the most frequent ones."""
MIN_KNOWN = 20
"""Images in which a feature must have a value for its dependence on the design to be fitted."""
MIN_SCALE = 1e-3
"""Least standard deviation of a feature."""
N_NEWTON_STEPS = 30
SPREAD_OFFSET_DB = 0.3
"""Added to residuals before the logarithm, so that single small ones do not count."""
CHECK_MARGIN = 0.5
"""Distance of the limit of a feature that is a sign of a failure from all intact scans [standard deviations]."""
MAX_FALSE_ALARMS = 0.01
"""Share of intact scans of the calibration that may be above the threshold."""
RISK_MARGIN = 0.5
"""Added to the threshold, as a logit, since other subjects differ more than those of the calibration."""


@dataclass(frozen=True)
class Example:
    """An image of known error.

    Attributes
    ----------
    features
        Its features.
    twin
        Features of the same scan without a failure.
    kind
        Kind of failure, of `CAUSES`; ``intact`` if it has none.
    psnr
        PSNR of the magnitude [dB].
    heart_error
        Relative error of the heart.
    subject
        Whose image it is: images of a subject are left out together.
    """

    features: Mapping[str, float]
    twin: Mapping[str, float]
    kind: str
    psnr: float
    heart_error: float
    subject: str

    @property
    def is_intact(self) -> bool:
        """Whether it has no failure."""
        return self.kind == INTACT


def fit(fitted: Sequence[Example], calibrated: Sequence[Example]) -> Calibration:
    """Fit all numbers of a method.

    Parameters
    ----------
    fitted
        Images that the models are fitted to.
    calibrated
        Images of other subjects, for limits and threshold.
    """
    intact = [example for example in fitted if example.is_intact]
    draft = _draft(intact, len(fitted), len(calibrated))
    usual = ridge(
        np.stack([draft.usual_vector(example.features) for example in intact]),
        np.array([example.psnr for example in intact]),
        RIDGE_DESIGN,
    )
    draft = draft.model_copy(update={"usual_psnr": tuple(usual)})
    vectors = np.stack([draft.vector(example.features) for example in fitted])
    labels = np.array([is_failed(draft, example) for example in fitted], float)
    draft = draft.model_copy(update={"risk": tuple(_risk_weights(draft, vectors, labels))})
    logits = [draft.logit(e.features) for e in calibrated if e.is_intact and not is_failed(draft, e)]
    threshold = float(np.quantile(logits, 1 - MAX_FALSE_ALARMS)) + RISK_MARGIN
    everything = [*fitted, *calibrated]
    checks = _checks(draft, [example for example in everything if example.is_intact])
    causes = _causes(draft, [example for example in everything if not example.is_intact])
    draft = draft.model_copy(update={"threshold": threshold, "checks": checks, "causes": causes})
    update = {
        "psnr": _regression(draft, fitted, calibrated, lambda e: e.psnr - draft.usual(e.features)),
        "heart": _regression(
            draft, fitted, calibrated, lambda e: 20 * np.log10(e.heart_error) + draft.usual(e.features)
        ),
    }
    return draft.model_copy(update=update)


def check_limits(intact: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    """Limits of the features of `CHECKS` above those of all intact scans, and their standard deviations."""
    table = np.array([[features[name] for name in CHECKS] for features in intact], float)
    scales = np.maximum(np.nanstd(table, 0), MIN_SCALE)
    limits = np.nanmax(table, 0) + CHECK_MARGIN * scales
    return {name: (float(limit), float(scale)) for name, limit, scale in zip(CHECKS, limits, scales, strict=True)}


def is_failed(calibration: Calibration, example: Example) -> bool:
    """Whether the error is more than twice that of an intact scan of the design of its twin."""
    return example.psnr < calibration.usual(example.twin) - TWICE_DB


def ridge(vectors: Vector, targets: Vector, weight: float, importance: Vector | None = None) -> Vector:
    """Weights ``(features,)`` of a linear model of the targets ``(images,)``; the first feature is the constant.

    Images count by their importance ``(images,)``, alike if it is None.
    """
    penalty = weight * np.eye(vectors.shape[1])
    penalty[0, 0] = 0
    weighted = vectors if importance is None else vectors * importance[:, None]
    return np.asarray(np.linalg.solve(weighted.T @ vectors + penalty, weighted.T @ targets))


def logistic(vectors: Vector, labels: Vector, weight: float) -> Vector:
    """Weights of a logistic model of labels of 0 and 1, by Newton's method with a ridge penalty."""
    penalty = weight * np.eye(vectors.shape[1])
    penalty[0, 0] = 1e-6
    weights = np.zeros(vectors.shape[1])
    for _ in range(N_NEWTON_STEPS):
        probability = 1 / (1 + np.exp(-np.clip(vectors @ weights, -30, 30)))
        gradient = vectors.T @ (probability - labels) + penalty @ weights
        curvature = (vectors * (probability * (1 - probability))[:, None]).T @ vectors + penalty
        weights = weights - np.linalg.solve(curvature, gradient)
    return weights


def conformal_limits(scores: Vector, coverage: float = COVERAGE) -> tuple[float, float]:
    """Limits that hold a further score with this probability, from n scores that are exchangeable with it.

    Each side leaves out half of the rest: the upper limit is the score of rank ceil((n + 1) (1 + coverage) / 2), or
    the largest where n is too small for that.
    """
    n = len(scores)
    rank = int(np.ceil((n + 1) * (1 + coverage) / 2))
    ordered = np.sort(scores)
    return float(ordered[max(n - rank, 0)]), float(ordered[min(rank, n) - 1])


def _risk_weights(draft: Calibration, vectors: Vector, labels: Vector) -> Vector:
    """Weights of the mean logit of the two models, of features and of novelty."""
    novelty = np.stack([draft.novelty(vector) for vector in vectors])
    by_features = logistic(vectors, labels, RIDGE_RISK)
    by_novelty = logistic(np.column_stack([np.ones(len(labels)), novelty]), labels, RIDGE_RISK)
    by_features[0] += by_novelty[0]
    return np.concatenate([by_features, by_novelty[1:]]) / 2


def _draft(intact: Sequence[Example], n_fitted: int, n_calibrated: int) -> Calibration:
    """Ranges and expected values of the features of intact scans; those of the design are expected to be constant."""
    names = tuple(FEATURES)
    table = np.array([[example.features[name] for name in names] for example in intact], float)
    columns = {name: table[:, names.index(name)] for name in (*DESIGN, *CONTENT)}
    limits = {name: (float(values.min()), float(values.max())) for name, values in columns.items()}
    empty = Regression(weights=(), spread_weights=(), limits_as_expected=(0, 0), limits_otherwise=(0, 0))
    draft = Calibration(
        n_fitted=n_fitted, n_calibrated=n_calibrated, names=names, limits=limits, expected=(), scale=(), low=(),
        high=(), usual_psnr=(), psnr=empty, heart=empty, risk=(), threshold=0.0, checks={}, check_limits={}, causes={},
    )  # fmt: skip
    designs = np.stack([draft.design(example.features) for example in intact])
    expected, low, high, scale = [], [], [], []
    for name, values in zip(names, table.T, strict=True):
        known = ~np.isnan(values)
        weights = np.zeros(designs.shape[1])
        if name in DESIGN or known.sum() < MIN_KNOWN:
            weights[0] = np.median(values[known]) if known.any() else 0.0
        else:
            weights = ridge(designs[known], values[known], RIDGE_DESIGN)
        rest = values[known] - designs[known] @ weights if known.any() else np.zeros(1)
        expected.append(tuple(weights))
        low.append(float(np.quantile(rest, USUAL_RANGE[0])))
        high.append(float(np.quantile(rest, USUAL_RANGE[1])))
        scale.append(max(float(rest.std()), MIN_SCALE))
    update = {"expected": tuple(expected), "low": tuple(low), "high": tuple(high), "scale": tuple(scale)}
    return draft.model_copy(update=update)


def _checks(draft: Calibration, intact: Sequence[Example]) -> dict[str, float]:
    """Limits above all intact scans of the features that are signs of a failure by themselves."""
    values = [draft.standardised(example.features) for example in intact]
    return {name: max(value[name] for value in values) + CHECK_MARGIN for name in SUFFICIENT_FEATURES}


def _causes(draft: Calibration, failures: Sequence[Example]) -> dict[str, tuple[float, ...]]:
    """Weights of a logistic model of each kind of failure against the others."""
    n = 1 + len(draft.names)
    vectors = np.stack([draft.vector(example.features)[:n] for example in failures]) if failures else np.empty((0, n))
    kinds = [example.kind for example in failures]
    return {
        name: tuple(logistic(vectors, np.array([kind == name for kind in kinds], float), RIDGE_CAUSE))
        for name in dict.fromkeys(kinds)
    }


def _regression(
    draft: Calibration,
    fitted: Sequence[Example],
    calibrated: Sequence[Example],
    target: Callable[[Example], float],
) -> Regression:
    """A model of a target, its spread, and its limits.

    Limits of images that are as expected are those of the calibration and of fitted images, each by a model that was
    fitted without its subject, which makes them steadier; those of other images are of the calibration alone.
    """
    vectors = np.stack([draft.vector(example.features) for example in fitted])
    targets = np.array([target(example) for example in fitted])
    importance = np.array([1.0 if example.is_intact else FAILURE_WEIGHT for example in fitted])
    weights = ridge(vectors, targets, RIDGE, importance)
    residuals = targets - _left_out(vectors, targets, importance, [example.subject for example in fitted])
    spread = ridge(vectors, np.log(np.abs(residuals) + SPREAD_OFFSET_DB), RIDGE)
    model = Regression(
        weights=tuple(weights), spread_weights=tuple(spread), limits_as_expected=(0, 0), limits_otherwise=(0, 0)
    )
    scores: dict[bool, list[float]] = {True: [], False: []}
    for example in calibrated:
        vector = draft.vector(example.features)
        score = (target(example) - model.estimate(vector)) / model.spread(vector)
        scores[draft.is_usual(example.features)].append(score)
    pairs = zip(fitted, vectors, residuals, strict=True)
    scores[True] += [rest / model.spread(vector) for e, vector, rest in pairs if draft.is_usual(e.features)]
    limits = {group: conformal_limits(np.array(values or scores[True])) for group, values in scores.items()}
    return model.model_copy(update={"limits_as_expected": limits[True], "limits_otherwise": limits[False]})


def _left_out(
    vectors: Vector, targets: Vector, importance: Vector, subjects: Sequence[str], n_parts: int = 10
) -> Vector:
    """The estimate of each target by a model fitted without its subject, so that residuals are those of new images."""
    numbers = {subject: number % n_parts for number, subject in enumerate(dict.fromkeys(subjects))}
    part, estimates = np.array([numbers[subject] for subject in subjects]), np.empty(len(targets))
    for number in set(numbers.values()):
        outside, inside = part != number, part == number
        weights = ridge(vectors[outside], targets[outside], RIDGE, importance[outside])
        estimates[inside] = vectors[inside] @ weights
    return estimates
