"""The run folder: recipe, data, log, state and weights of a training. Each file is written atomically.

``model.yaml``          the recipe, with all settings resolved
``*.py``                the code of a network or initial method from outside the package
``run.json``            versions, git revision, seed, device, checksum of the data, times of start and resumption
``data.txt``            the data, one line each
``log.csv``             one line per validation
``last.pt``             the state from which a run is resumed
``last.safetensors``    averaged weights of the same step
``weights.safetensors`` averaged weights of the best validation, with recipe and card; loaded by ``--model``
``validation.png``      zero-filled image, network, reference and error of a validation patch
"""

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image

from cinerecon.config import differences, read_yaml
from cinerecon.errors import ConfigError, FileError, WeightsError
from cinerecon.image import grey, window
from cinerecon.io.atomic import clear_partial, is_same_file, moved_into_place, write_text
from cinerecon.io.csv_file import write_csv
from cinerecon.io.output_folder import FolderKind, require_folder_of
from cinerecon.io.picture import draw_label
from cinerecon.methods.card import Card
from cinerecon.methods.external import external_code
from cinerecon.methods.model_file import RECIPE, WEIGHTS, read_card, with_portable_code, write_model
from cinerecon.networks.unrolled import count_parameters
from cinerecon.training.card import hash_data, series_in
from cinerecon.training.data.batch import Batch
from cinerecon.training.recipe import Recipe, TrainConfig
from cinerecon.training.state import State, Step
from cinerecon.version import installed_version

FIXED_SETTINGS = (
    *(
        "network",
        "code_sha256",
        "architecture",
        "initial_method",
        "scale",
        "demodulate",
        "phase_smoothing",
        "preprocessing",
    ),
    *(f"training.{name}" for name in ("seed", "data", "loss", "ssdu", "batch_size", "optimizer", "n_validation")),
)
"""Settings that must not change when a run is resumed; otherwise its result would depend on the interruption."""
LAST, LAST_WEIGHTS = "last.pt", "last.safetensors"
LOG, ABOUT, DATA, PICTURE = "log.csv", "run.json", "data.txt", "validation.png"
FILES = (RECIPE, ABOUT, DATA, LOG, LAST, LAST_WEIGHTS, WEIGHTS, PICTURE)
"""All files of a run; none of them may exist before the run starts."""
PACKAGES = ("cinerecon", "torch", "numpy")
ERROR_GAIN = 5
ZOOM, MIN_WIDTH = 3, 128
"""Pixels of the picture for each pixel of the patch, and smallest width of a panel [pixels], so that labels fit."""
RESTART_HINT = "start again in another folder; --weights can start from the weights in this folder"


@dataclass(frozen=True)
class RunFolder:
    """A run folder."""

    path: Path

    def require(
        self, *, resume: bool, weights: Path | None = None, note: Callable[[str], None] = lambda _: None
    ) -> bool:
        """Check that there is a run to resume, or that no file would be overwritten by a new one.

        Returns
        -------
        bool
            Whether there is a checkpoint to continue from; a run stopped before its first checkpoint starts again.

        Raises
        ------
        FileError
            If there is no run to resume, a file would be overwritten (e.g. in the folder of the recipe or of a trained
            model), or files of the run are missing or damaged.
        ConfigError
            If a run is resumed with other weights.
        """
        if resume and weights:
            hint = "use only one; to fine-tune, choose another folder"
            raise ConfigError("a resumed run has its own weights", where="--resume, --weights", hint=hint)
        has_checkpoint, has_begun = (self.path / LAST).exists(), (self.path / ABOUT).exists()
        if not resume:
            self._refuse_existing(has_run=has_checkpoint or has_begun)
        elif not has_checkpoint and not has_begun:
            hint = "omit --resume to start a run here, or give the folder of a run with -o"
            raise FileError("there is no run to resume", where=str(self.path), hint=hint)
        if has_checkpoint:
            self._read(RECIPE), self._read(DATA), self._read_about()
        elif resume:
            note("note     the run was stopped before its first checkpoint: it starts from the beginning")
        return has_checkpoint

    def _refuse_existing(self, *, has_run: bool) -> None:
        """Check that no file of a new run exists."""
        if has_run:
            raise FileError("there is already a run", where=str(self.path), hint="--resume, or another folder")
        require_folder_of(FolderKind.MODEL, self.path)
        existing = next((name for name in FILES if (self.path / name).exists()), None)
        if existing is not None:
            what = f"the folder contains {existing}, which a run would overwrite"
            raise FileError(what, where=str(self.path / existing), hint="choose another folder with -o")

    def create(self, recipe: Recipe, data: str, device: torch.device, weights: Path | None = None) -> None:
        """Write recipe, data and provenance of the run before the first step.

        The provenance is written first: if it exists, the other files belong to the run.

        Raises
        ------
        FileError
            If a file of the network has the same name as another file.
        """
        about = {
            "began": _now(),
            "seed": recipe.training.seed,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
            "python": platform.python_version(),
            **{name: installed_version(name) for name in PACKAGES},
            "git": _git_revision(),
            "data_sha256": hash_data(data),
            "source": f"fine-tuned from {weights.parent.name}/{weights.name}" if weights else "",
            "command": sys.argv,
        }
        copies = self._copies_of_code(recipe)
        self._write_about(about)
        for path, code in copies.items():
            write_text(path, code)
        self._write_recipe(recipe)
        write_text(self.path / DATA, data)

    def continue_run(self, recipe: Recipe, data: str, done: int) -> list[str]:
        """Record that the run is resumed, and remove incomplete files of an interruption.

        If no step remains, recipe and provenance are not changed.

        Returns
        -------
        list[str]
            The settings that have changed.

        Raises
        ------
        ConfigError
            If the data differ from those at the start of the run, or a setting has changed that must not change.
        """
        changed = _changes(self._read_recipe(), _plain(recipe))
        not_allowed = [text for text in changed if text.startswith(FIXED_SETTINGS)]
        if not_allowed:
            what = f"the run was started with other settings: {not_allowed[0]}"
            hint = f"use the original recipe, {self.path / RECIPE}, or another folder"
            raise ConfigError(what, where=str(self.path), hint=hint)
        original_data = self._read(DATA)
        if original_data != data:
            others = sorted(set(original_data.splitlines()) ^ set(data.splitlines()))
            what = (
                f"the data differ from those with which the run was started: {others[0] if others else 'another order'}"
            )
            raise ConfigError(what, where=str(self.path / DATA), hint="the same --data, or another folder")
        clear_partial(self.path)
        if done >= recipe.training.n_steps:
            return changed
        about = self._read_about()
        resumed = {"at_step": done, "when": _now(), "git": _git_revision(), "command": sys.argv}
        self._write_about({**about, "resumed": [*about.get("resumed", ()), resumed]})
        self._write_recipe(recipe)
        return changed

    def complete_card(self, card: Card, data: str, weights: Path | None = None) -> Card:
        """Complete the card with checksums of the data of this run, and of the data of its initial weights."""
        fields = {"data_sha256": hash_data(data), "source": str(self._read_about().get("source", ""))}
        path = weights / WEIGHTS if weights and weights.is_dir() else weights or self.path / LAST_WEIGHTS
        before = read_card(path) if path.is_file() else Card()
        return card.model_copy(update=fields).with_training_data((*series_in(data), *before.cases), before.subjects)

    def save(self, state: State, recipe: Recipe, card: Card, n_shares: int) -> None:
        """Write the state and the averaged weights, with recipe and card; the best weights have a separate file."""
        step = state.log[-1]
        reached = {**card.metrics, "validation_db": round(step.validation, 3), "step": float(step.number)}
        reports = f"{step.validation:.2f} dB on the validation batches after {step.number} steps"
        n_parameters = count_parameters(state.net)
        card = card.model_copy(update={"reports": reports, "metrics": reached, "n_parameters": n_parameters})
        model = with_portable_code(recipe).model_copy(update={"card": card})
        for name in (LAST_WEIGHTS, *([WEIGHTS] if state.is_best else [])):
            with moved_into_place(self.path / name) as temporary:
                write_model(temporary, state.ema_net.state_dict(), model)
        with moved_into_place(self.path / LAST) as temporary:
            torch.save({**state.dump(), "n_shares": n_shares}, temporary)
        self._write_log(state.log)

    def load(self, state: State, config: TrainConfig, n_shares: int) -> None:
        """Restore the state, and truncate the log to its step.

        Raises
        ------
        WeightsError
            If the state is damaged, or belongs to another network.
        ConfigError
            If the number of batches per step differs, since the batches would then differ from those of an
            uninterrupted run.
        """
        where = str(self.path / LAST)
        try:
            saved = torch.load(self.path / LAST, map_location="cpu", weights_only=True)
            state.restore(saved, config)
        except (RuntimeError, ValueError, KeyError, TypeError, OSError, EOFError, UnpicklingError) as error:
            first = next(iter(str(error).splitlines()), "the file is empty")
            raise WeightsError(
                f"cannot resume: {first}", where=where, hint="use the original recipe of the run"
            ) from None
        if saved["n_shares"] != n_shares:
            what = f"a step of this run consists of {saved['n_shares']} batches, now it would consist of {n_shares}"
            raise ConfigError(what, where=where, hint="processes x training.n_batches must stay the same")

    def draw(self, batch: Batch, image: torch.Tensor, label: str) -> Image.Image:
        """Draw a validation patch, with a label for the network, and save the image."""
        picture = draw_patch(batch, image, label)
        with moved_into_place(self.path / PICTURE) as temporary:
            picture.save(temporary, format="PNG")
        return picture

    def _write_log(self, steps: list[Step]) -> None:
        rows = ([step.number, *(f"{value:.6g}" for value in astuple(step)[1:])] for step in steps)
        header = ["step", "loss", "validation_db", "learning_rate", "seconds", "waited_seconds"]
        write_csv(self.path / LOG, header, rows)

    def _copies_of_code(self, recipe: Recipe) -> dict[Path, str]:
        """Copies of the code from outside the package, so that the weights can be used after the code has changed."""
        copies = dict[Path, Path]()
        has_begun = (self.path / ABOUT).exists()
        for code in external_code(recipe):
            for file in code.files:
                copy = self.path / file.relative_to(code.folder)
                other = copies.setdefault(copy, file)
                if other.read_bytes() != file.read_bytes():
                    what = f"network and initial method have different files {copy.name}, but are copied to one folder"
                    raise FileError(what, where=str(file), hint="rename one of the files")
                if copy.exists() and not has_begun and copy.read_bytes() != file.read_bytes():
                    what = f"the folder contains another {copy.name}, which the code of the model would overwrite"
                    raise FileError(what, where=str(copy), hint="choose another folder with -o")
        return {copy: file.read_text(encoding="utf-8") for copy, file in copies.items() if not is_same_file(file, copy)}

    def _write_recipe(self, recipe: Recipe) -> None:
        write_text(self.path / RECIPE, yaml.safe_dump(_plain(recipe), sort_keys=False))

    def _read_recipe(self) -> dict[str, Any]:
        """The recipe at the start of the run, with the present names of its settings."""
        path = self.path / RECIPE
        return _plain(Recipe.parse(read_yaml(path), where=str(path)))

    def _write_about(self, about: Mapping[str, Any]) -> None:
        write_text(self.path / ABOUT, json.dumps(about, indent=2) + "\n")

    def _read_about(self) -> dict[str, Any]:
        try:
            about: dict[str, Any] = dict(json.loads(self._read(ABOUT)))
        except (ValueError, TypeError) as error:
            raise FileError(f"cannot resume: {error}", where=str(self.path / ABOUT), hint=RESTART_HINT) from None
        return about

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"cannot resume: {error}", where=str(self.path / name), hint=RESTART_HINT) from None


def _plain(recipe: Recipe) -> dict[str, Any]:
    return with_portable_code(recipe).model_dump(mode="json")


def _changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """``key: before, now value`` for each setting that differs; folders of data are ignored."""
    changes = differences(before, now)
    return [f"{name}: {old}, now {new}" for name, old, new in changes if not name.endswith(".folder")]


def draw_patch(batch: Batch, image: torch.Tensor, label: str) -> Image.Image:
    """Draw the zero-filled image and the network of a patch side by side, with reference and error (times 5) if known.

    The top row shows the middle frame, the bottom row the middle column over time, each with a label.
    """
    series = {"zero-filled": batch.encoding.adjoint(batch.kspace)[0], label: image[0]}
    series |= {} if batch.target is None else {"reference": batch.target[0]}
    magnitudes = {name: values.abs().cpu().float().numpy() for name, values in series.items()}
    white = window(list(magnitudes.values())[-1:])
    if batch.target is not None:
        magnitudes[f"error, {ERROR_GAIN} times"] = ERROR_GAIN * np.abs(magnitudes[label] - magnitudes["reference"])
    frames, y, x = magnitudes[label].shape
    zoom = max(ZOOM, -(-MIN_WIDTH // x))
    size = (zoom * x, zoom * y)
    picture = Image.new("L", (size[0] * len(magnitudes), 2 * size[1]))
    for n, (name, values) in enumerate(magnitudes.items()):
        for top, part in enumerate((values[frames // 2], values[:, :, x // 2].T)):
            panel = Image.fromarray(grey(part, white)).resize(size, Image.Resampling.BICUBIC)
            picture.paste(panel, (n * size[0], top * size[1]))
        draw_label(picture, name, left=n * size[0], width=size[0])
    draw_label(picture, f"frame {frames // 2} of {frames}", width=size[0], bottom=size[1])
    draw_label(picture, f"column {x // 2} over time", width=size[0], bottom=2 * size[1])
    return picture


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_revision() -> str:
    """The commit of the source tree, marked if files have changed since; empty if the package is installed."""
    tree = Path(__file__).resolve().parents[2]
    is_source_tree = (tree / "pyproject.toml").is_file() and _git("rev-parse", "--show-toplevel") == str(tree)
    return _git("describe", "--always", "--dirty", "--abbrev=40") if is_source_tree else ""


def _git(*arguments: str) -> str:
    """Output of git in the folder of the package; empty if git fails."""
    try:
        folder = Path(__file__).resolve().parent
        result = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""
