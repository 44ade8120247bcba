"""Fit the numbers of a verdict to images of known error: ridge and logistic regression, then conformal limits.

``trust.py fit`` makes the images, intact scans and scans with failures. Limits and threshold are those of images whose
subjects were left out of the fit (cross-conformal prediction, Vovk, doi:10.1007/s10472-013-9368-4).
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
"""Weight of an image with a failure in the models of the error and in its limits. The fit has almost as many failures
as intact scans; in practice, failures are rare."""
MIN_KNOWN = 20
"""Images in which a feature must have a value for its dependence on the design to be fitted."""
MIN_SCALE = 1e-3
"""Least standard deviation of a feature."""
N_NEWTON_STEPS = 30
N_PARTS = 10
"""Number of parts of the subjects that are held out in turn."""
SPREAD_OFFSET_DB = 0.3
"""Added to residuals before the logarithm, which limits the influence of single small residuals."""
CHECK_MARGIN = 0.5
"""Distance of the limit of a feature that is a sign of a failure from all intact scans [standard deviations]."""
MAX_FALSE_ALARMS = 0.02
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


TARGETS: Mapping[str, Callable[[Calibration, Example], float]] = {
    "psnr": lambda draft, example: example.psnr - draft.usual(example.features),
    "heart": lambda draft, example: 20 * float(np.log10(example.heart_error)) + draft.usual(example.features),
}
"""What the linear models estimate [dB], by their names in `Calibration`."""


def fit(examples: Sequence[Example]) -> Calibration:
    """Fit all numbers of a method.

    The models are fitted to all images. Limits and threshold are those of images of subjects that are left out: the
    same models are fitted to the others, a part of the subjects after the other.

    Parameters
    ----------
    examples
        Images of known error.
    """
    models = _models(examples)
    part = _parts([example.subject for example in examples])
    logits, scores = np.empty(len(examples)), np.empty((len(TARGETS), len(examples)))
    is_sound, is_inside = np.zeros(len(examples), bool), np.zeros(len(examples), bool)
    for number in set(part):
        without = _models([example for example, own in zip(examples, part, strict=True) if own != number])
        for n in np.flatnonzero(part == number):
            example, vector = examples[n], without.vector(examples[n].features)
            widening = without.widening(example.features)
            logits[n] = without.modelled_logit(vector)
            is_sound[n] = example.is_intact and not is_failed(without, example)
            is_inside[n] = not without.exceeded(example.features)
            scores[:, n] = [
                (target(without, example) - model.estimate(vector)) / (model.spread(vector) * widening)
                for target, model in zip(TARGETS.values(), (without.psnr, without.heart), strict=True)
            ]
    threshold = float(np.quantile(logits[is_sound], 1 - MAX_FALSE_ALARMS)) + RISK_MARGIN
    is_usual = is_inside & (logits < threshold)
    importance = _importance(examples)
    regressions = {
        name: getattr(models, name).model_copy(update=_limits(own, is_usual, importance))
        for name, own in zip(TARGETS, scores, strict=True)
    }
    causes = _causes(models, [example for example in examples if not example.is_intact])
    return models.model_copy(update={"threshold": threshold, "causes": causes, **regressions})


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


def conformal_limits(
    scores: Vector, importance: Vector | None = None, coverage: float = COVERAGE
) -> tuple[float, float]:
    """Limits that contain a further score of weight 1 with a probability of `coverage`, if the scores are exchangeable.

    Half of the remaining probability is on each side. With n scores of equal weight, the upper limit is the score of
    rank ceil((n + 1) (1 + coverage) / 2); with weights, ranks are sums of weights (Tibshirani et al.,
    arXiv:1904.06019).
    If there are too few scores, the limits are the smallest and the largest one.

    Parameters
    ----------
    scores
        ``(images,)``
    importance
        ``(images,)`` weights of the scores; 1 if None.
    coverage
        The probability.
    """
    weights = np.ones(len(scores)) if importance is None else importance
    order = np.argsort(scores)
    rank = (weights.sum() + 1) * (1 + coverage) / 2 - 1e-9
    upper, lower = (
        scores[indices[min(int(np.searchsorted(weights[indices].cumsum(), rank)), len(scores) - 1)]]
        for indices in (order, order[::-1])
    )
    return float(lower), float(upper)


def _limits(scores: Vector, is_usual: NDArray[np.bool_], importance: Vector) -> dict[str, tuple[float, float]]:
    """Conformal limits of images that are as expected, and of others, or of all images if there are none.

    Failures with a verdict of *as expected* are those that were missed. They have a small weight, as in practice; most
    of the other images have a failure in practice as well, so that all of these have the same weight.
    """
    limits = {}
    for name, chosen in (("limits_as_expected", is_usual), ("limits_otherwise", ~is_usual)):
        chosen = chosen if chosen.any() else np.ones_like(chosen)
        limits[name] = conformal_limits(scores[chosen], importance[chosen] if name == "limits_as_expected" else None)
    return limits


def _importance(examples: Sequence[Example]) -> Vector:
    """Weight of each image, ``(images,)``."""
    return np.array([1.0 if example.is_intact else FAILURE_WEIGHT for example in examples])


def _models(examples: Sequence[Example]) -> Calibration:
    """The models that are fitted to images; limits, threshold and kinds of failures are empty."""
    intact = [example for example in examples if example.is_intact]
    draft = _draft(intact, len(examples))
    usual = ridge(
        np.stack([draft.usual_vector(example.features) for example in intact]),
        np.array([example.psnr for example in intact]),
        RIDGE_DESIGN,
    )
    draft = draft.model_copy(update={"usual_psnr": tuple(usual), "inverse_moments": _inverse_moments(draft, intact)})
    vectors = np.stack([draft.vector(example.features) for example in examples])
    labels = np.array([is_failed(draft, example) for example in examples], float)
    regressions = {
        name: _regression(vectors, np.array([target(draft, example) for example in examples]), examples)
        for name, target in TARGETS.items()
    }
    risk = tuple(_risk_weights(draft, vectors, labels))
    return draft.model_copy(update={"risk": risk, "checks": _checks(draft, intact), **regressions})


def _risk_weights(draft: Calibration, vectors: Vector, labels: Vector) -> Vector:
    """Weights of the mean logit of the two models, of features and of novelty."""
    novelty = np.stack([draft.novelty(vector) for vector in vectors])
    by_features = logistic(vectors, labels, RIDGE_RISK)
    by_novelty = logistic(np.column_stack([np.ones(len(labels)), novelty]), labels, RIDGE_RISK)
    by_features[0] += by_novelty[0]
    return np.concatenate([by_features, by_novelty[1:]]) / 2


def _draft(intact: Sequence[Example], n_fitted: int) -> Calibration:
    """Ranges and expected values of the features of intact scans; those of the design are expected to be constant."""
    names = tuple(FEATURES)
    table = np.array([[example.features[name] for name in names] for example in intact], float)
    columns = {name: table[:, names.index(name)] for name in (*DESIGN, *CONTENT)}
    limits = {name: (float(values.min()), float(values.max())) for name, values in columns.items()}
    empty = Regression(weights=(), spread_weights=(), limits_as_expected=(0, 0), limits_otherwise=(0, 0))
    draft = Calibration(
        n_fitted=n_fitted, names=names, limits=limits, expected=(), scale=(), low=(), high=(), usual_psnr=(),
        inverse_moments=(), psnr=empty, heart=empty, risk=(), threshold=0.0, checks={}, check_limits={}, causes={},
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


def _inverse_moments(draft: Calibration, intact: Sequence[Example]) -> tuple[tuple[float, ...], ...]:
    """Inverse of the sum of squares and products of design and content, with a ridge penalty."""
    vectors = np.stack([draft.usual_vector(example.features) for example in intact])
    penalty = RIDGE_DESIGN * np.eye(vectors.shape[1])
    penalty[0, 0] = 0
    return tuple(map(tuple, np.linalg.inv(vectors.T @ vectors + penalty).tolist()))


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


def _regression(vectors: Vector, targets: Vector, examples: Sequence[Example]) -> Regression:
    """A linear model of targets and one of their spread, which is that of images whose subject is left out."""
    importance = _importance(examples)
    weights = ridge(vectors, targets, RIDGE, importance)
    residuals = targets - _left_out(vectors, targets, importance, _parts([example.subject for example in examples]))
    spread = ridge(vectors, np.log(np.abs(residuals) + SPREAD_OFFSET_DB), RIDGE)
    return Regression(
        weights=tuple(weights), spread_weights=tuple(spread), limits_as_expected=(0, 0), limits_otherwise=(0, 0)
    )


def _parts(subjects: Sequence[str]) -> NDArray[np.int64]:
    """The part of `N_PARTS` to which each subject belongs."""
    numbers = {subject: number % N_PARTS for number, subject in enumerate(dict.fromkeys(subjects))}
    return np.array([numbers[subject] for subject in subjects])


def _left_out(vectors: Vector, targets: Vector, importance: Vector, part: NDArray[np.int64]) -> Vector:
    """The estimate of each target by a model fitted without its part."""
    estimates = np.empty(len(targets))
    for number in set(part):
        outside, inside = part != number, part == number
        weights = ridge(vectors[outside], targets[outside], RIDGE, importance[outside])
        estimates[inside] = vectors[inside] @ weights
    return estimates
