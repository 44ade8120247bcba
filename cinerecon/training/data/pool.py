"""The pool of training cases: a weighted mixture of sources, in groups of equal size."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.random import Generator

from cinerecon.archives.case_index import IndexRow, list_cases, read_index
from cinerecon.errors import ConfigError, DataError, FileError
from cinerecon.io.case import CaseFile
from cinerecon.physics.sampling import block_of_lines
from cinerecon.training.data.augment import AugmentConfig
from cinerecon.training.data.case import Case, PreparedCase, Shape, SimulatedCase
from cinerecon.training.data.config import DataConfig, PhantomSource, PreparedSource, SeriesSource, parse_crop
from cinerecon.training.data.series import list_series
from cinerecon.training.data.simulated import phantom_cases, series_cases

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")
Fit = Callable[[Shape], Shape | None]
"""Maps the size of a case to the size of the part that is cut from it; None if the case is too small."""


@dataclass(frozen=True)
class Group:
    """Cases of equal size from one source.

    Attributes
    ----------
    shape
        Size (frames, coils, y, x) of each case.
    cases
        The cases.
    source
        Name of the source.
    weight
        Weight of the source.
    subject
        The subject of the cases, if each subject of a source has the same weight; empty if each case has the same
        weight.
    licence
        Licence of the images; empty if unknown.
    """

    shape: Shape
    cases: Sequence[Case]
    source: str
    weight: float
    subject: str = ""
    licence: str = ""


@dataclass(frozen=True)
class CasePool:
    """Cases in groups of equal size."""

    groups: tuple[Group, ...]

    def uncached(self) -> list[SimulatedCase]:
        """Cases of the cache that have not been simulated yet."""
        cases = (case for group in self.groups for case in group.cases)
        return [case for case in cases if isinstance(case, SimulatedCase) and case.path and not case.is_cached()]

    def draw(self, size: int, fit: Fit, rng: Generator) -> tuple[Shape, list[Case]]:
        """Draw cases, with replacement, from which parts of equal size can be cut; returns the size and the cases.

        The first case is drawn from all cases that are large enough: a source according to its weight, a subject of
        this source, and a case. It determines the size of the part; the others are drawn from cases that allow the same
        size. No case is padded.

        Raises
        ------
        DataError
            If no case is large enough.
        """
        pieces = [fit(group.shape) for group in self.groups]
        large = [group for group, piece in zip(self.groups, pieces, strict=True) if piece is not None]
        if not large:
            sizes = ", ".join(sorted({" x ".join(map(str, group.shape)) for group in self.groups}))
            what = f"no case is large enough; frames x coils x rows x columns are {sizes}"
            raise DataError(what, where="training.data", hint="smaller crops, fewer frames or coils")
        first = _draw_group(large, rng)
        strip = fit(first.shape)
        assert strip is not None
        same = [group for group, piece in zip(self.groups, pieces, strict=True) if piece == strip]
        others = [_draw_group(same, rng) for _ in range(size - 1)]
        return strip, [group.cases[int(rng.integers(len(group.cases)))] for group in (first, *others)]


def _draw_group(groups: list[Group], rng: Generator) -> Group:
    """Draw a group: a source according to its weight, then a subject and a case of it with equal probabilities."""
    n_cases, subjects = Counter[tuple[str, str]](), defaultdict[str, set[str]](set)
    for group in groups:
        n_cases[group.source, group.subject] += len(group.cases)
        subjects[group.source].add(group.subject)
    shares = [
        group.weight / len(subjects[group.source]) * len(group.cases) / n_cases[group.source, group.subject]
        for group in groups
    ]
    return groups[rng.choice(len(groups), p=np.array(shares) / sum(shares))]


def open_pool(config: DataConfig, cache: Path, split: Split = "train", folders: Sequence[Path] = ()) -> CasePool:
    """Open all sources, without reading an array or drawing a case.

    Parameters
    ----------
    config
        The sources.
    cache
        Folder in which simulated cases are cached.
    split
        ``val`` selects data that are never used for training: other phantoms, other subjects of prepared cases, and
        measured series that a source names for validation. If no source has such data, phantoms are used instead.
    folders
        Folders of measured magnitude cines, for a source that does not specify a folder.

    Raises
    ------
    FileError
        If a folder contains no cases, or no source remains.
    ConfigError
        If the augmentation is not possible for measured coil images, or a series is reserved for reporting.
    """
    groups: list[Group] = []
    for name, source in config.sources.items():
        if isinstance(source, SeriesSource):
            groups += _series(name, source, split, cache, folders)
            continue
        if isinstance(source, PhantomSource):
            cases = _phantoms(source, cache, split)
        else:
            cases = _prepared(source, split)
            _refuse_subpixel_motion(source, config.augment)
        groups += [Group(shape, members, name, source.weight) for shape, members in cases]
    if not groups and split == "val":
        phantoms = _phantoms(_largest_phantom(config), cache, split)
        groups = [Group(shape, members, "phantom", 1.0) for shape, members in phantoms]
    if not groups:
        raise FileError("there are no training data", hint="a folder of series, or another source")
    return CasePool(tuple(groups))


Members = list[tuple[Shape, Sequence[Case]]]
"""Sizes of cases, each with its cases."""


def _phantoms(source: PhantomSource, cache: Path, split: Split) -> Members:
    if split == "val":
        source = source.model_copy(update={"seed": source.seed + 1000, "n_cases": min(4, source.n_cases)})
    cases = phantom_cases(source, cache)
    return [(cases.shape, cases)]


def _largest_phantom(config: DataConfig) -> PhantomSource:
    """Phantoms from which every crop can be cut."""
    default, crops = PhantomSource(), [parse_crop(text) for text in (*config.crops, *(config.crops_2d or ()))]
    rows, columns = (max([default.matrix[axis], *(crop[axis] or 0 for crop in crops)]) for axis in (0, 1))
    n_coils = max([default.n_coils, *(n for n in config.coils if n != "all")])
    return PhantomSource(matrix=(rows, columns), n_coils=n_coils)


def _series(name: str, source: SeriesSource, split: Split, cache: Path, folders: Sequence[Path]) -> list[Group]:
    groups = []
    for series in list_series(source, split, folders):
        cases = series_cases(series, source, cache)
        groups.append(Group(cases.shape, cases, name, source.weight, series.subject, series.licence))
    return groups


def _prepared(source: PreparedSource, split: Split) -> Members:
    list_cases(source.folder, "train")  # raises an error if the folder is unusable
    by_shape: dict[Shape, list[Case]] = defaultdict(list)
    for row in sorted(read_index(source.folder), key=lambda row: row.case):
        path = source.folder / row.case
        if row.split == split and _is_fully_sampled(row, path):
            shape = (row.frames, row.coils, row.ky, row.kx)
            by_shape[shape].append(PreparedCase(shape, path, source.signal))
    if split == "train" and not by_shape:
        raise FileError("no case is fully sampled", where=str(source.folder), hint="training needs a reference")
    return sorted(by_shape.items())


def _refuse_subpixel_motion(source: PreparedSource, augment: AugmentConfig) -> None:
    if augment.has_subpixel_motion and source.signal == "measured":
        what = "measured coil images cannot be rotated, sheared or shifted: their coils would move as well"
        raise ConfigError(what, where="training.data.augment", hint="signal: combined")


def _is_fully_sampled(row: IndexRow, path: Path) -> bool:
    """Whether all lines were sampled, except possibly at the edges of k-space."""
    if row.acceleration == 1:
        return True
    with CaseFile(path) as file:
        return block_of_lines(torch.from_numpy(file.mask[()])) is not None
