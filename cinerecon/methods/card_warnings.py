"""Warnings about scans outside the training data of weights."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.methods.card import Card
from cinerecon.methods.normalisation import excessive_noise
from cinerecon.physics.sampling import PATTERNS, SamplingKind, acceleration_of, parse_mask, sampling_kind

ACCELERATION_RATIO = 1.2
"""Ratio of the acceleration of a scan to the largest in training, above which a warning is issued."""
LINES_RATIO = 1.5
"""Ratio of the numbers of lines of a scan and in training, in either direction, above which a warning is issued."""
COILS_RATIO = 2
"""Ratio of the number of coils of a scan to the largest in training, above which a warning is issued."""
MIN_ACCELERATION = 1.5
"""Acceleration below which the pattern has little influence, because only few or outer lines are missing."""
SCAN_KINDS: Mapping[SamplingKind, str] = {
    "points": "single points of k-space are sampled",
    "lines": "whole readouts are sampled",
    "same lines": "all frames sample the same lines",
    "changing lines": "the sampled lines change from frame to frame",
}
TRAINING_KINDS: Mapping[SamplingKind, str] = {
    "points": "single points",
    "same lines": "lines that stay the same",
    "changing lines": "lines that change from frame to frame",
}


def card_warnings(card: Card, data: CineData, pattern: str = "") -> list[str]:
    """Warnings about imported weights, and about a scan that differs from the training data.

    Parameters
    ----------
    card
        The card of the weights; an empty card produces no warnings.
    data
        The scan.
    pattern
        The sampling pattern as text, if known.
    """
    if card.file:
        return [
            f"imported weights, trained on {card.trained_on}: expect errors on data that differ from the training data"
        ]
    return outside_training(card, data, pattern) + _strong_noise(card, data)


def outside_training(card: Card, data: CineData, pattern: str = "") -> list[str]:
    """Warnings where acceleration, pattern, coils or matrix of a scan are outside the training data."""
    acceleration, texts = acceleration_of(data)[0], []
    if card.acceleration and acceleration > ACCELERATION_RATIO * card.acceleration[1]:
        highest = f"{card.acceleration[1]:.3g}"
        what = f"acceleration is {acceleration:.1f}, the network was trained up to {highest}"
        texts.append(f"{what}: errors may look like anatomy")
    if acceleration > MIN_ACCELERATION:
        texts += _other_pattern(card, data.mask, pattern)
    texts += _other_coils(card, data.n_coils)
    n_lines = data.matrix[0]
    if card.lines and not card.lines[0] / LINES_RATIO <= n_lines <= card.lines[1] * LINES_RATIO:
        trained = " to ".join(map(str, dict.fromkeys(card.lines)))
        texts.append(f"the scan has {n_lines} lines, the network was trained on {trained}")
    return texts


def _strong_noise(card: Card, data: CineData) -> list[str]:
    """A warning that the noise exceeds that of the training, so that the network gains less over k-t SLR."""
    excess = excessive_noise(card, data)
    if card.noise is None or not excess:
        return []
    noise, trained = excess * card.noise[1], card.noise[1]
    what = f"the noise is {noise:.0%} of the image brightness, the network was trained up to {trained:.0%}"
    return [f"{what}: expect little or no advantage over ktslr"]


def _other_pattern(card: Card, mask: Tensor, pattern: str) -> list[str]:
    """A warning based on the name of the pattern if it is known, otherwise on the kind of the mask."""
    name, known = _name_of(pattern), sorted(set(map(_name_of, card.masks)))
    if known and name in PATTERNS and name not in known:
        return [f"the sampling is {name}, the network was trained on {', '.join(known)}"]
    kind = sampling_kind(mask)
    if card.whole_readouts and kind == "points":
        return ["single points of k-space are sampled, the network was trained on whole readouts"]
    kinds = _kinds_of(card.masks)
    if not kinds or kind in kinds or (kind == "lines" and kinds != {"points"}):
        return []
    return [
        f"{SCAN_KINDS[kind]}, the network was trained on {' and '.join(TRAINING_KINDS[name] for name in sorted(kinds))}"
    ]


def _name_of(pattern: str) -> str:
    return pattern.partition(":")[0].strip()


def _kinds_of(patterns: Iterable[str]) -> set[SamplingKind]:
    """The kinds of sampling of the patterns; empty if one of them is not a named pattern, for example a file."""
    try:
        return {parse_mask(text).kind for text in patterns}
    except ConfigError:
        return set()


def _other_coils(card: Card, n_coils: int) -> list[str]:
    if card.coils is None:
        return []
    fewest, most = card.coils
    if n_coils > 1 and most == 1:
        return [f"the scan has {n_coils} coils, the network was trained on one"]
    if n_coils == 1 and fewest > 1:
        return [f"the scan has one coil, the network was trained on {fewest} or more"]
    return [f"the scan has {n_coils} coils, the network was trained on up to {most}"] * (n_coils > COILS_RATIO * most)
