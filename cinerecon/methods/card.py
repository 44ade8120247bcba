"""The model card: facts about the weights and their training data."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import ClassVar, Self

from pydantic import ConfigDict, Field

from cinerecon.config import Config

N_CHECKSUM_DIGITS, N_MAX_LISTED = 12, 4096
"""Digits of each checksum on a card, enough to distinguish scans; largest number of scans and subjects on a card."""

Range = tuple[float, float]
Counts = tuple[int, int]


class Card(Config):
    """Facts about weights, one line each, with details in ``CARD.md``; unknown facts are empty."""

    model_config = ConfigDict(allow_inf_nan=True)  # a quality measure may be infinite or undefined
    renamed: ClassVar[Mapping[str, str]] = {"persons": "subjects"}

    licence: str = Field(default="", description="licence of the weights")
    source: str = Field(default="", description="who trained the weights, and where they are published")
    file: str = Field(default="", description="file from which the weights were imported")
    sha256: str = Field(default="", description="checksum of that file")
    n_parameters: int | None = Field(default=None, ge=0, description="number of learned parameters")
    trained_on: str = Field(default="", description="data and sampling")
    reports: str = Field(default="", description="results")
    split: str = Field(default="", description="numbers of cases for training and validation, by source")
    data_sha256: str = Field(default="", description="checksum of the list of data in the run folder")
    masks: tuple[str, ...] = Field(default=(), description="sampling patterns used in training")
    acceleration: Range | None = Field(default=None, description="lowest and highest net acceleration used in training")
    whole_readouts: bool | None = Field(
        default=None, description="whether all sampling patterns used in training sample whole readouts"
    )
    coils: Counts | None = Field(default=None, description="smallest and largest number of coils used in training")
    lines: Counts | None = Field(default=None, description="smallest and largest number of ky lines used in training")
    noise: Range | None = Field(
        default=None,
        description="lowest and highest standard deviation of the noise of a sample used in training, relative to the "
        "brightness of the image",
    )
    metrics: dict[str, float] = Field(default_factory=dict, description="metrics on the validation data, by name")
    cases: tuple[str, ...] = Field(default=(), description="first digits of the SHA-256 of the scans used for training")
    subjects: tuple[str, ...] = Field(
        default=(), description="first digits of the SHA-256 of the names of the subjects used for training"
    )

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """Create a card from values that include other keys, such as the metadata of a file."""
        return cls.parse(
            {name: values[name] for name in (*cls.model_fields, *cls.renamed) if name in values}, where="card"
        )

    def with_training_data(self, cases: Iterable[str], subjects: Iterable[str]) -> Self:
        """The card with additional training data: checksums of scans and of subject names."""
        known = {"cases": (*self.cases, *cases), "subjects": (*self.subjects, *subjects)}
        short = {name: {text[:N_CHECKSUM_DIGITS] for text in texts if text} for name, texts in known.items()}
        return self.model_copy(update={name: tuple(sorted(texts)[:N_MAX_LISTED]) for name, texts in short.items()})

    def training_overlap(self, contents: Collection[str], subject: str) -> list[str]:
        """Warnings that a scan or its subject was part of the training data, so that its results are biased upwards."""
        if any(content[:N_CHECKSUM_DIGITS] in self.cases for content in contents):
            return ["trained on this scan"]
        return (
            ["trained on a subject of this name"] if hash_subject(subject)[:N_CHECKSUM_DIGITS] in self.subjects else []
        )


def hash_subject(subject: str) -> str:
    """SHA-256 of the name of a subject, as hexadecimal digits; empty if the name is unknown."""
    return hashlib.sha256(subject.encode()).hexdigest() if subject else ""
