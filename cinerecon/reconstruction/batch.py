"""Several scans or methods in one call, and the subset that a shard reconstructs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cinerecon.acquisition.open import find_cines
from cinerecon.archives.scan_list import labels_of
from cinerecon.archives.scan_names import ScanNames
from cinerecon.archives.shards import Shard, shard_folders
from cinerecon.errors import ConfigError, FileError
from cinerecon.io.export import FOLDER, FORMATS, Target
from cinerecon.io.export.movie import write_gif, write_mp4
from cinerecon.io.paths import absolute
from cinerecon.methods.model_file import model_label
from cinerecon.reconstruction.record import COMMAND, Record, recorded_scans
from cinerecon.reconstruction.request import DEFAULT_ENDINGS, ReconRequest
from cinerecon.version import __version__

MOVIES = {".mp4": write_mp4, ".gif": write_gif}


@dataclass(frozen=True)
class Batch:
    """Scans and methods of a batch of reconstructions.

    Attributes
    ----------
    names
        Name of each scan in the output folder, in the order of reconstruction.
    common
        Settings that all reconstructions share.
    models
        Names of the methods.
    formats
        Suffixes of the files for each scan, or ``dicom``.
    folder
        Output folder of the images; None if only a comparison is written.
    movies
        Movies that compare the methods, in addition to those in the folder.
    shard
        The shard to reconstruct; None for all scans.
    all_names
        Names of the scans of all shards, in order.
    """

    names: Mapping[Path, str]
    common: ReconRequest
    models: tuple[str, ...]
    formats: tuple[str, ...]
    folder: Path | None
    movies: tuple[Target, ...] = ()
    shard: Shard | None = None
    all_names: tuple[str, ...] = ()

    def requests(self, scan: Path) -> list[ReconRequest]:
        """The reconstructions of a scan, one for each method."""
        stems = [f"{self.names[scan]}.{model_label(model)}" for model in self.models]
        return [
            self.common.model_copy(
                update={"scan": scan, "model": model, "outputs": _outputs(self.folder, stem, self.formats)}
            )
            for model, stem in zip(self.models, stems, strict=True)
        ]

    def comparisons(self, scan: Path) -> tuple[Target, ...]:
        """The movies that show all methods for a scan side by side."""
        if len(self.models) == 1:
            return ()
        own = () if self.folder is None else (Target(self.folder / f"{self.names[scan]}.compare.mp4", ".mp4"),)
        return (*self.movies, *own)

    def record(self) -> Record | None:
        """The record in the output folder or, if only a comparison is written and resumed, next to its movie."""
        if self.folder is not None:
            return Record(self.folder, self.shard.folder(self.folder, COMMAND) if self.shard else None)
        return Record(self.movies[0].path.parent) if self.common.resume else None

    def identity(self, fingerprints: Mapping[str, str]) -> dict[str, Any]:
        """All settings that affect the images, with the fingerprints of the methods."""
        return {
            **self.common.batch_settings(),
            "models": self.models,
            "fingerprints": {model_label(model): text[:16] for model, text in fingerprints.items()},
            "formats": self.formats,
            "version": __version__,
        }


def plan_batch(
    scans: Sequence[Path],
    models: Sequence[str],
    outputs: Sequence[str],
    formats: Sequence[str],
    common: ReconRequest,
    shard: Shard | None = None,
) -> Batch:
    """List the reconstructions of a batch.

    Parameters
    ----------
    scans
        Files, or folders that are searched for scans.
    models
        Names of the methods.
    outputs
        A folder for all images; with several methods, also movies that compare them.
    formats
        Suffixes of the files to write for each scan, or ``dicom``; empty for the default.
    common
        Settings that all reconstructions share.
    shard
        The shard to reconstruct; None for all scans.

    Raises
    ------
    ConfigError
        If no folder for the images is given, a format is unknown, or two methods have the same name.
    FileError
        If no scan is found.
    """
    labels = [model_label(model) for model in models]
    if len(set(labels)) < len(labels):
        raise ConfigError(
            "two methods have the same name", where="--model", hint="rename the folder, file or class of one of them"
        )
    targets = [Target.parse(output) for output in outputs]
    folders = [target.path for target in targets if target.ending == FOLDER]
    movies = [target for target in targets if target.ending in MOVIES]
    if len(folders) > 1 or len(folders) + len(movies) < len(targets):
        raise ConfigError(
            "several scans or methods are written to one folder", where="-o", hint="-o out/ --format .npz"
        )
    folder = folders[0] if folders else None
    files = _list_files(scans, folder)
    if common.patient is not None and len(files) > 1:
        what = f"only one patient is given for {len(files)} scans"
        raise ConfigError(
            what, where="--patient, --name, --accession, --like", hint="reconstruct each scan in a separate run"
        )
    if movies and (len(models) == 1 or len(files) > 1):
        raise ConfigError("a movie compares several methods on one scan", where=f"-o {movies[0].path}", hint="-o out/")
    if not targets:
        hint = "-o out/" + ", or -o compare.mp4" * (len(models) > 1 and len(files) == 1)
        raise ConfigError("several scans or methods need an output folder", where="-o", hint=hint)
    if shard is not None and folder is None:
        raise ConfigError("shards need a folder for their images", where="-o", hint="-o out/")
    _outputs(folder, "", formats)
    all_names = ScanNames(folder, COMMAND).keep(labels_of(files))
    _require_different_outputs(all_names, labels)
    names = {path: all_names[path] for path in (shard.part(files) if shard else files)}
    every = tuple(all_names.values())
    return Batch(names, common, tuple(models), tuple(formats), folder, tuple(movies), shard, every)


def _require_different_outputs(names: Mapping[Path, str], labels: Sequence[str]) -> None:
    """Refuse two reconstructions with one name: ``a`` by ``b.c`` and ``a.b`` by ``c``, or names that differ in case."""
    first: dict[str, tuple[Path, str]] = {}
    for path, name in names.items():
        for label in labels:
            other = first.setdefault(f"{name}.{label}".casefold(), (path, label))
            if other != (path, label):
                what = f"the images of {other[0]} by {other[1]} and of {path} by {label} would have the same name"
                raise ConfigError(what, where=f"{name}.{label}", hint="reconstruct them into different folders")


def _list_files(scans: Sequence[Path], output: Path | None) -> list[Path]:
    records = [] if output is None else [output, *(folder for folder, _ in shard_folders(output, COMMAND))]
    known = recorded_scans(output or Path(), records)
    find = partial(find_cines, without=output, is_known=lambda path: absolute(path) in known)
    files: dict[Path, Path] = {}
    for path in scans:
        for file in find(path) if path.is_dir() else [path]:
            files.setdefault(absolute(file), file)
    if not files:
        hint = "scans are .h5, .mrd, .mrd2, .dat, .mat or .npz files"
        raise FileError("no scan found", where=", ".join(map(str, scans)), hint=hint)
    return list(files.values())


def _outputs(folder: Path | None, stem: str, formats: Sequence[str]) -> tuple[str, ...]:
    """The output files of one reconstruction."""
    if folder is None:
        return ()
    outputs = []
    for ending in formats or DEFAULT_ENDINGS:
        known = f".{ending.lower().removeprefix('.')}"
        if known not in FORMATS and known[1:].rstrip("/") != FOLDER.rstrip("/"):
            hint = f"known: {', '.join([*FORMATS, FOLDER.rstrip('/')])}"
            raise ConfigError(f"no image format '{ending}'", where="--format", hint=hint)
        outputs.append(f"{folder / stem}{known if known in FORMATS else f'.{FOLDER}'}")
    return tuple(outputs)
