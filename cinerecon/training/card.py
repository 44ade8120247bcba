"""Description of the training data on the model card, and the list of data with its checksum."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import find_cines, open_scan
from cinerecon.archives.case_index import holds_cases, read_index
from cinerecon.errors import FileError
from cinerecon.io.checksums import hash_file
from cinerecon.methods.card import Card, hash_subject
from cinerecon.physics.sampling import acceleration_of, net_acceleration, parse_sampling, samples_whole_readouts
from cinerecon.training.data.batch import allowed_crops
from cinerecon.training.data.case import Shape
from cinerecon.training.data.config import DataConfig, PreparedSource, SeriesSource, parse_crop
from cinerecon.training.data.pool import SPLITS, CasePool
from cinerecon.training.data.series import list_series
from cinerecon.training.scans import Scans
from cinerecon.words import counted

DEFAULT_N_FRAMES = 16
N_INSPECTED_SLICES = 8
"""Number of slices of undersampled scans that are read for the description."""


def describe_pool(config: DataConfig, training: CasePool, validation: CasePool) -> Card:
    """The card of the training and validation cases, their patches and masks."""
    shapes = [group.shape for group in training.groups]
    coils = [n for choice in config.coils for n in ([shape[1] for shape in shapes] if choice == "all" else [choice])]
    counts = [_count(pool) for pool in (training, validation)]
    split = "; ".join(f"{part}: {text}" for part, text in zip(("train", "val"), counts, strict=True))
    folders = [source.folder for source in config.sources.values() if isinstance(source, PreparedSource)]
    rows = [row for folder in folders for row in read_index(folder) if row.split == "train"]
    card = Card(
        trained_on=f"{', '.join(_with_licence(name, training) for name in config.sources)}; {', '.join(config.masks)}",
        split=split,
        masks=tuple(config.masks),
        coils=(min(coils), max(coils)),
        noise=config.noise,
        **describe_sampling(config, shapes),
    )
    return card.with_training_data({row.source_sha256 for row in rows}, {hash_subject(row.subject) for row in rows})


def describe_sampling(config: DataConfig, shapes: Sequence[Shape] = ((0, 0, 0, 0),)) -> dict[str, Any]:
    """Acceleration, lines, and whether whole readouts are sampled; each mask is drawn once for each size.

    The shapes of cases determine the size of crops with ``all`` rows or columns. If lines are sampled, the number of
    lines is that of their patches; patches for sampling of points are smaller.
    """
    n_frames, masks, lines = config.n_frames or DEFAULT_N_FRAMES, [], {True: set[int](), False: set[int]()}
    for sampling in map(parse_sampling, config.masks):
        crops = [parse_crop(text) for text in allowed_crops(sampling, config)]
        for size in {(y or shape[2], x or shape[3]) for y, x in crops for shape in shapes}:
            masks.append(sampling.draw(n_frames, *size, 0))
            lines[masks[-1].shape[-1] == 1].add(size[0])
    n_lines = lines[True] or lines[False]
    return {
        "acceleration": _span([net_acceleration(mask) for mask in masks]),
        "whole_readouts": not lines[False],
        "lines": (min(n_lines), max(n_lines)),
    }


def describe_scans(scans: Scans) -> Card:
    """The card of undersampled scans, according to their first slices."""
    cines = [scans.read(number) for number in range(min(len(scans.slices), N_INSPECTED_SLICES))]
    names = sorted({path.name for path in scans.files})
    coils, lines = [cine.n_coils for cine in cines], [cine.matrix[0] for cine in cines]
    sources = [open_scan(path, AcquisitionConfig.model_validate_json(scans.preprocessing)) for path in scans.files]
    card = Card(
        trained_on=f"{', '.join(names)}; as sampled, without a reference",
        split=f"train: {counted(len(scans.slices), 'slice')}; val: other samples of the same slices",
        acceleration=_span([acceleration_of(cine)[0] for cine in cines]),
        whole_readouts=all(samples_whole_readouts(cine.mask) for cine in cines),
        coils=(min(coils), max(coils)),
        lines=(min(lines), max(lines)),
    )
    contents = (content for source in sources for content in source.checksums)
    return card.with_training_data(contents, (hash_subject(source.subject) for source in sources))


def _span(values: Sequence[float]) -> tuple[float, float]:
    return round(min(values), 2), round(max(values), 2)


def _with_licence(source: str, pool: CasePool) -> str:
    """The name of a source, with the licences of its images if they are known."""
    licences = sorted({group.licence for group in pool.groups if group.source == source and group.licence})
    return f"{source} ({'; '.join(licences)})" if licences else source


def _count(pool: CasePool) -> str:
    counts: dict[str, int] = {}
    for group in pool.groups:
        counts[group.source] = counts.get(group.source, 0) + len(group.cases)
    return ", ".join(f"{n} of {source}" for source, n in counts.items())


def list_data(config: DataConfig, series: Sequence[Path] = (), scans: Sequence[Path] = ()) -> str:
    """The list of training data, one per line: files with their checksums, simulated data with their settings.

    Raises
    ------
    FileError
        If there is no such file.
    """
    return "\n".join(_lines(config, series, scans)) + "\n"


def series_in(listed: str) -> list[str]:
    """SHA-256 of the measured training series in a list of data; cases prepared from them have the same hash."""
    return list(dict.fromkeys(re.findall(r"^\S+ train .+(?<!\.h5) ([0-9a-f]{64})$", listed, re.MULTILINE)))


def hash_data(listed: str) -> str:
    """SHA-256 of the list of data."""
    return hashlib.sha256(listed.encode()).hexdigest()


def _lines(config: DataConfig, series: Sequence[Path], scans: Sequence[Path]) -> Iterator[str]:
    for path in scans:
        if holds_cases(path):
            yield from sorted(f"scan {row.case} {row.sha256}" for row in read_index(path) if row.split == "train")
            continue
        if not path.exists():
            raise FileError("there is no such file", where=str(path))
        for file in find_cines(path) if path.is_dir() else [path]:
            yield f"scan {file.relative_to(path.parent).as_posix()} {hash_file(file)}"
    for name, source in () if scans else config.sources.items():
        yield f"{name} {source.model_dump_json(exclude={'folder'})}"
        if isinstance(source, PreparedSource):
            rows = [row for row in read_index(source.folder) if row.split in ("train", "val")]
            yield from sorted(f"{name} {row.split} {row.case} {row.sha256}" for row in rows)
        elif isinstance(source, SeriesSource):
            for split in SPLITS:
                for part in list_series(source, split, series):
                    number = "" if part.n_slices == 1 else f" slice {part.slice}"
                    yield f"{name} {split} {part.path.name}{number} {part.sha256}"
