"""The card of weights: what they were trained on, and whether a scan lies outside of that."""

from collections.abc import Mapping
from typing import Self

import torch
from pydantic import Field

from cinerecon.config import Config
from cinerecon.data.cine import CineData
from cinerecon.methods.base import Reconstructor
from cinerecon.physics.sampling import net_acceleration

BEYOND = 1.2
"""Times the largest acceleration of the training."""
OTHER_SIZE = 1.5
"""Times the largest, or below the smallest, count of lines of the training."""

Range = tuple[float, float]
Counts = tuple[int, int]


class Card(Config):
    """What a user should know of weights, a line each; ``CARD.md`` tells more. What is not known is left empty."""

    licence: str = Field("", description="licence of the weights")
    source: str = Field("", description="who trained them, where they are published")
    file: str = Field("", description="file they were imported from")
    sha256: str = Field("", description="its checksum")
    trained_on: str = Field("", description="data and sampling")
    reports: str = Field("", description="what they reach")
    split: str = Field("", description="cases of training and of validation, by source")
    data_sha256: str = Field("", description="checksum of the list of data in the run folder")
    masks: tuple[str, ...] = Field((), description="sampling patterns of the training")
    acceleration: Range | None = Field(None, description="least and largest net acceleration of the training")
    whole_readouts: bool | None = Field(None, description="whether all its patterns sample whole readouts")
    coils: Counts | None = Field(None, description="fewest and most coils of the training")
    lines: Counts | None = Field(None, description="fewest and most ky lines of the training")
    metrics: dict[str, float] = Field(default_factory=dict, description="measures on the validation, by name")

    @classmethod
    def of_texts(cls, values: Mapping[str, object]) -> Self:
        """The card that is among other values, e.g. those of a file's metadata."""
        return cls.parse({name: values[name] for name in cls.model_fields if name in values}, where="card")


def doubts_of(method: Reconstructor, data: CineData) -> list[str]:
    """Why the image of a scan by this method should not be trusted: weights brought in, or not trained on the like."""
    card = getattr(method.config, "card", None)
    if not isinstance(card, Card):
        return []
    if card.file:
        return [f"imported weights, trained on {card.trained_on}: what differs from that, they do not know"]
    return outside_training(card, data)


def outside_training(card: Card, data: CineData) -> list[str]:
    """What a scan has that the training did not: a sentence for each of acceleration, pattern, coils, matrix."""
    found, texts = net_acceleration(data.mask), []
    if card.acceleration and found > BEYOND * card.acceleration[1]:
        known = f"{card.acceleration[1]:.3g}"
        texts.append(
            f"acceleration is {found:.1f}, the network was trained up to {known}: expect errors that look like anatomy"
        )
    if card.whole_readouts and not torch.equal(data.mask, data.mask[..., :1].expand_as(data.mask)):
        texts.append("single points of k-space are sampled, the network was trained on whole readouts")
    if card.coils and data.n_coils > 1 and card.coils[1] == 1:
        texts.append(f"the scan has {data.n_coils} coils, the network was trained on one")
    if card.coils and data.n_coils == 1 and card.coils[0] > 1:
        texts.append(f"the scan has one coil, the network was trained on {card.coils[0]} and more")
    n_lines = data.matrix[0]
    if card.lines and not card.lines[0] / OTHER_SIZE <= n_lines <= card.lines[1] * OTHER_SIZE:
        low, high = card.lines
        texts.append(f"the scan has {n_lines} lines, the network was trained on {low} to {high}")
    return texts
