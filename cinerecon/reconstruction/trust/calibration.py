"""Computation of a verdict from features, using the parameters in ``models/verdict.json``.

Most features depend on acceleration, coils, sampling and noise. The value expected for an intact scan of the same
design is therefore subtracted first. The expected PSNR and the error of the heart [dB], relative to the PSNR of an
intact scan, are linear in the standardised differences and in their distances from the range of intact scans. Their
intervals are those of split conformal prediction with normalised residuals (Lei et al.,
doi:10.1080/01621459.2017.1307116), separately for images that are as expected and for others: a second linear model
estimates the spread, which is increased for scans unlike those of the fit, and quantiles of the ratio of residual to
spread, for subjects that were not used in the fit, give the limits. The risk that the error is more than twice that of
an intact scan is the mean logit of two logistic models, one of these features and one of how unusual they are together,
plus the distance between the expected PSNR and that of twice the error, divided by the spread. In addition, some
features with one physical cause are sufficient signs of a failure if they exceed the values of all intact scans; the
risk is then above its threshold.
"""

import json
import math
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cinerecon.config import Config
from cinerecon.methods.model_file import models_folder
from cinerecon.reconstruction.trust.features import CHECKS, FEATURES
from cinerecon.verdict import Status, Verdict

Vector = NDArray[np.float64]

FILE_NAME = "verdict.json"
TWICE_DB = 20 * math.log10(2)
"""Change in PSNR for twice the error [dB]."""
MAX_STANDARDISED = 6.0
"""Largest standardised feature, and largest distance from the usual range, that is distinguished [standard
deviations]."""
MAX_EXCESS = 20.0
"""Largest distance between the expected PSNR and that of twice the error that contributes to the risk [spreads]."""
MAX_OUTSIDE = 1.0
"""Largest distance from the range of intact scans that widens the intervals further [widths of the range]."""
LEVERAGE_WEIGHT = 6.0
"""Increase of the widths of the intervals per leverage. Chosen by cross-validation."""
MIN_DISTANCE = 0.25
"""Distance from the usual range above which a feature is given as a reason [standard deviations]."""
N_REASONS = 2
SUFFICIENT_FEATURES = ("acceleration", "noise", "wrap_around", "line_displacement", "time_course_mismatch")
"""Features that are sufficient signs of a failure, since each has one physical cause."""
CAUSES: Mapping[str, str] = {
    "acceleration": "the acceleration is too high for the method",
    "pattern": "lines at wrong positions, or the same lines in all frames",
    "noise": "the noise is high",
    "coil maps": "the coil maps are displaced or do not belong to these coils",
    "missing coil": "a coil has no signal",
    "breathing": "motion between heartbeats, e.g. breathing",
    "arrhythmia": "heartbeats that differ from each other (arrhythmia)",
    "wrap-around": "wrap-around: the body is larger than the field of view",
    "phase": "phase errors between lines of k-space",
    "corrupted frames": "corrupted data in single frames",
    "network": "the network is not suited to this scan, or its weights are damaged",
    "saturation": CHECKS["saturation"],
    "spikes": CHECKS["spike"],
    "frame order": CHECKS["frame_order"],
    "displaced maps": "the coil maps are displaced or do not belong to these coils",
}
"""Types of failures with their descriptions; `CHECKS` detect saturation, spikes and the order of frames, the fit
distinguishes the others."""
REQUIRED = {"wrap-around": "wrap_around", "arrhythmia": "time_course_mismatch"}
"""Types of failures that are reported only if this feature is unusual."""
NEEDS_COILS = ("coil maps", "missing coil", "displaced maps")
"""Types of failures that are possible only with several coils."""
MIN_PROBABILITY = 0.4
"""Probability above which a type of failure is reported."""
DESIGN = ("acceleration", "never_sampled", "points", "coils", "frames", "lines", "noise")
"""Features that depend on the scan, not on its image; values outside the range of intact scans are clipped to it."""
CONTENT = ("peak", "high_frequencies", "moving_share")
"""Further features on which the error of an intact scan depends."""
UNCLEAR = "the combination of features differs from that of intact scans"
"""Reason if no single feature is unusual."""


class Regression(Config):
    """A linear model of an error [dB] with conformal limits.

    The limits are quantiles of (error - estimate) / spread, separately for images as expected and for others.
    """

    weights: tuple[float, ...] = Field(description="of the estimate")
    spread_weights: tuple[float, ...] = Field(description="of the logarithm of the spread")
    limits_as_expected: tuple[float, float] = Field(description="lower and upper limit")
    limits_otherwise: tuple[float, float] = Field(description="lower and upper limit")

    def estimate(self, vector: Vector) -> float:
        """The estimate [dB]."""
        return float(vector @ np.array(self.weights))

    def spread(self, vector: Vector) -> float:
        """The scale of the residual [dB]."""
        return float(np.exp(np.clip(vector @ np.array(self.spread_weights), -3, 3)))

    def interval(self, vector: Vector, widening: float, *, is_as_expected: bool) -> tuple[float, float, float]:
        """Estimate and limits [dB]; their distance from the estimate is multiplied by the widening."""
        limits = self.limits_as_expected if is_as_expected else self.limits_otherwise
        middle, spread = self.estimate(vector), self.spread(vector) * widening
        return middle, middle + limits[0] * spread, middle + limits[1] * spread


class Calibration(Config):
    """The parameters for one method. Ranges and scales are those of intact scans."""

    n_fitted: int = Field(description="images that the models are fitted to")
    names: tuple[str, ...] = Field(description="names of the features")
    limits: dict[str, tuple[float, float]] = Field(description="range of the features of `DESIGN` and `CONTENT`")
    expected: tuple[tuple[float, ...], ...] = Field(description="weights of the design for each feature")
    scale: tuple[float, ...] = Field(description="standard deviation of each feature around the expected value")
    low: tuple[float, ...] = Field(description="lower limit of the usual difference from the expected value")
    high: tuple[float, ...] = Field(description="upper limit of the usual difference from the expected value")
    usual_psnr: tuple[float, ...] = Field(description="weights of the PSNR of an intact scan")
    inverse_moments: tuple[tuple[float, ...], ...] = Field(
        description="inverse of the sum of squares and products of the design and content of intact scans"
    )
    psnr: Regression = Field(description="PSNR minus that of an intact scan [dB]")
    heart: Regression = Field(description="error of the heart plus the PSNR of an intact scan [dB]")
    risk: tuple[float, ...] = Field(description="weights of the logistic models")
    threshold: float = Field(description="risk, as a logit, above which an image is not as expected")
    checks: dict[str, float] = Field(
        description="limits of the standardised differences of the features of `SUFFICIENT_FEATURES`"
    )
    check_limits: dict[str, tuple[float, float]] = Field(
        description="limit of each feature of `CHECKS`, and its standard deviation in intact scans"
    )
    causes: dict[str, tuple[float, ...]] = Field(description="weights of a logistic model for each kind of failure")

    def rounded(self, n_digits: int = 6) -> "Calibration":
        """The same parameters with fewer digits, as stored in the file."""
        return Calibration.model_validate(_rounded(self.model_dump(), n_digits))

    def design(self, features: Mapping[str, float], excess: float = 0.0) -> Vector:
        """The scan design as a vector: a constant, the features in `DESIGN` scaled to 0 to 1, and products of them.

        Values outside the range of intact scans are clipped to it, or to this range with an excess on both sides.
        """
        rate, never, points, coils, frames, lines, noise = (
            self._relative(name, features[name], excess) for name in DESIGN
        )
        several = float(features["coils"] > 0)
        products = (rate * rate, noise * noise, several * noise, several * rate, points * rate)
        return np.array([1.0, rate, never, points, coils, several, frames, lines, noise, *products])

    def difference(self, features: Mapping[str, float]) -> Vector:
        """Features minus the values expected for an intact scan of this design, ``(features,)``.

        Features of the design below the range of intact scans are set to its limit: less noise or undersampling is not
        a failure.
        """
        values = np.array([self._at_least_usual(name, features[name]) for name in self.names])
        return values - np.array(self.expected) @ self.design(features)

    def _at_least_usual(self, name: str, value: float) -> float:
        return max(value, self.limits[name][0]) if name in DESIGN else value

    def vector(self, features: Mapping[str, float]) -> Vector:
        """A constant, followed by each standardised difference and its distances above and below the usual range."""
        values = self.difference(features)
        scale, low, high = (np.array(numbers) for numbers in (self.scale, self.low, self.high))
        inside = np.clip(values / scale, -MAX_STANDARDISED, MAX_STANDARDISED)
        outside = [np.clip(distance / scale, 0, MAX_STANDARDISED) for distance in (values - high, low - values)]
        return np.concatenate([[1.0], np.nan_to_num(np.concatenate([inside, *outside]))])

    def usual_vector(self, features: Mapping[str, float], excess: float = 0.0) -> Vector:
        """The scan design, followed by the features in `CONTENT` scaled to 0 to 1, clipped as in `design`."""
        content = [self._relative(name, features[name], excess) for name in CONTENT]
        return np.concatenate([self.design(features, excess), content])

    def _relative(self, name: str, value: float, excess: float) -> float:
        """A feature relative to the range of intact scans, from -excess to 1 + excess."""
        low, high = self.limits[name]
        return min(max((value - low) / (high - low), -excess), 1.0 + excess) if high > low else 0.0

    def widening(self, features: Mapping[str, float]) -> float:
        """Factor of the widths of the intervals, which is larger the fewer intact scans in the fit are similar.

        It is 1 + w h, with h the leverage of a regression on design and content, which are not clipped to their ranges.
        """
        vector = self.usual_vector(features, MAX_OUTSIDE)
        return 1.0 + LEVERAGE_WEIGHT * float(vector @ np.array(self.inverse_moments) @ vector)

    def usual(self, features: Mapping[str, float]) -> float:
        """PSNR of an intact scan of the same design [dB]."""
        return float(self.usual_vector(features) @ np.array(self.usual_psnr))

    def logit(self, features: Mapping[str, float]) -> float:
        """The risk as a logit, at least the threshold if a feature that is sufficient by itself exceeds its limit."""
        logit = self.modelled_logit(self.vector(features))
        return max(logit, self.threshold) if self.exceeded(features) else logit

    def modelled_logit(self, vector: Vector) -> float:
        """The risk from the models alone, as a logit."""
        excess = (-TWICE_DB - self.psnr.estimate(vector)) / self.psnr.spread(vector)
        logit = float(np.concatenate([vector, self.novelty(vector)]) @ np.array(self.risk))
        return logit + min(max(excess, -MAX_EXCESS), MAX_EXCESS)

    def exceeded(self, features: Mapping[str, float]) -> dict[str, float]:
        """Excess of the features in `SUFFICIENT_FEATURES` and `CHECKS` over their limits [standard deviations]."""
        values = self.standardised(features)
        distances = {name: values[name] - limit for name, limit in self.checks.items()}
        for name, (limit, scale) in self.check_limits.items():
            distances[name] = (features.get(name, math.nan) - limit) / scale
        return {name: distance for name, distance in distances.items() if distance > 0}

    def novelty(self, vector: Vector) -> Vector:
        """How unusual the features are together: largest, summed and root-sum-square distance from the usual range.

        Distances above and below the range are treated separately; the root mean square of all differences and the
        number of features above the range are appended.
        """
        inside, above, below = vector[1:].reshape(3, -1)
        lengths = [float(np.linalg.norm(part)) for part in (above, below)]
        count, spread = float((above > 0).sum()) / 3, float(np.sqrt(np.square(inside).mean()))
        return np.array([above.max(), lengths[0], below.max(), lengths[1], spread, count, np.log1p(above).sum()])

    def standardised(self, features: Mapping[str, float]) -> dict[str, float]:
        """Differences from intact scans by name [standard deviations]; 0 if a feature is not defined."""
        values = np.nan_to_num(self.difference(features) / np.array(self.scale))
        return dict(zip(self.names, values.tolist(), strict=True))

    def reasons(self, features: Mapping[str, float]) -> tuple[str, ...]:
        """Reasons for a verdict in words: a type of failure if one is probable, and the most unusual features.

        Features that are sufficient signs of a failure come first, and those in `CHECKS` before the type of failure if
        they exceed their limits further than the others. High noise, for example, covers the signal of weak coils.
        """
        values = self.standardised(features)
        limits = dict(zip(self.names, np.array(self.high) / np.array(self.scale) + MIN_DISTANCE, strict=True))
        unusual = {name: value - limits[name] for name, value in values.items() if value > limits[name]}
        certain = self.exceeded(features)
        ordered = sorted(unusual, key=lambda name: (name not in certain, -unusual[name]))
        cause = self.probable_cause(features, unusual)
        largest = max((certain[name] for name in self.checks if name in certain), default=0.0)
        first = [text for name, text in CHECKS.items() if certain.get(name, 0.0) > largest]
        texts = dict.fromkeys([*first, CAUSES.get(cause, ""), *(FEATURES[name] for name in ordered)])
        return tuple(text for text in texts if text)[:N_REASONS] or (UNCLEAR,)

    def probable_cause(self, features: Mapping[str, float], unusual: Collection[str]) -> str:
        """The type of failure whose images are most similar to this one; empty if none is probable or unusual.

        Parameters
        ----------
        features
            The features.
        unusual
            Names of the features that are outside the usual range.
        """
        if not unusual:
            return ""
        vector = self.vector(features)[: 1 + len(self.names)]
        possible = {name: w for name, w in self.causes.items() if features["coils"] > 0 or name not in NEEDS_COILS}
        logits = {name: float(vector @ np.array(weights)) for name, weights in possible.items()}
        if not logits:
            return ""
        cause = max(logits, key=lambda name: logits[name])
        probability = math.exp(logits[cause] - float(np.logaddexp.reduce(list(logits.values()))))
        is_supported = cause not in REQUIRED or REQUIRED[cause] in unusual
        return cause if is_supported and probability > MIN_PROBABILITY else ""

    def is_usual(self, features: Mapping[str, float]) -> bool:
        """Whether the risk is below its threshold, so that no sufficient feature exceeds its limit."""
        return self.logit(features) < self.threshold

    def judge(self, features: Mapping[str, float]) -> Verdict:
        """The verdict on an image with the given features."""
        vector, logit, usual = self.vector(features), self.logit(features), self.usual(features)
        is_as_expected = self.is_usual(features)
        widening = self.widening(features)
        psnr, low, high = self.psnr.interval(vector, widening, is_as_expected=is_as_expected)
        heart_limits = self.heart.interval(vector, widening, is_as_expected=is_as_expected)
        heart = [10 ** ((dB - usual) / 20) for dB in heart_limits]
        status: Status = "as expected"
        if not is_as_expected:
            status = "do not use" if psnr < -TWICE_DB else "doubtful"
        reasons = () if is_as_expected else self.reasons(features)
        risk = 1 / (1 + math.exp(-min(max(logit, -50), 50)))
        return Verdict(
            status,
            reasons,
            usual + psnr,
            usual + low,
            usual + high,
            heart[0],
            heart[1],
            heart[2],
            usual_psnr=usual,
            risk=risk,
        )


def calibration_of(method: str) -> Calibration | None:
    """The parameters for a method by its name; None if the method was not calibrated."""
    return _calibrations().get(method)


def calibrated_methods() -> tuple[str, ...]:
    """Names of the methods that have a verdict."""
    return tuple(_calibrations())


def _calibrations() -> dict[str, Calibration]:
    path = models_folder() / FILE_NAME
    return _read(path) if path.is_file() else {}


@cache
def _read(path: Path) -> dict[str, Calibration]:
    values = json.loads(path.read_text(encoding="utf-8"))
    return {name: Calibration.parse(numbers, where=f"{path}, {name}") for name, numbers in values.items()}


def _rounded(value: Any, n_digits: int) -> Any:
    """Numbers in nested containers, rounded to significant digits."""
    if isinstance(value, Mapping):
        return {name: _rounded(item, n_digits) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_rounded(item, n_digits) for item in value)
    return float(f"{value:.{n_digits}g}") if isinstance(value, float) else value
