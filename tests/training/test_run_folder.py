"""The run folder records the run; its weights include their card."""

import hashlib
import json
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from small_recipe import RECIPE as SMALL

from cinerecon import networks
from cinerecon.errors import ConfigError
from cinerecon.io.picture import draw_label
from cinerecon.methods.model_file import RECIPE, load_weights, read_model
from cinerecon.training import DataPaths, Recipe, TrainCallbacks, TrainOptions, run_folder, train
from cinerecon.training.card import list_data


@pytest.fixture(scope="module")
def run(folder, cases, make_recipe):
    recipe = make_recipe("n_steps=2", "save_every=1", "seed=7", 'data.masks=["gaussian:3", "vds:4"]', "licence=MIT")
    train(recipe, folder / "reported", TrainOptions(DataPaths(cases)))
    return folder / "reported"


def test_the_folder_describes_the_run(run):
    about = json.loads((run / "run.json").read_text())
    assert about["seed"] == 7
    assert about["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert {"cinerecon", "python", "numpy", "git", "began", "device", "command"} <= about.keys()
    assert about["data_sha256"] == hashlib.sha256((run / "data.txt").read_bytes()).hexdigest()
    names = {RECIPE, "log.csv", "last.pt", "last.safetensors", "weights.safetensors", "validation.png"}
    assert {path.name for path in run.iterdir()} == names | {"run.json", "data.txt"}


def test_the_weights_carry_recipe_and_card(run):
    config, path = read_model(run / "weights.safetensors")
    assert config == read_model(run)[0].model_copy(update={"training": config.training})
    card = config.card
    assert (card.licence, card.masks, card.coils, card.lines) == ("MIT", ("gaussian:3", "vds:4"), (1, 2), (40, 40))
    assert card.whole_readouts is False
    assert card.acceleration[0] == pytest.approx(3, abs=0.1)
    assert card.acceleration[1] == pytest.approx(4, abs=0.3)
    assert card.split == "train: 2 of phantom; val: 2 of phantom"
    assert card.data_sha256 == json.loads((run / "run.json").read_text())["data_sha256"]
    assert card.metrics["validation_db"] == pytest.approx(float(card.reports.split()[0]), abs=0.006)
    with safe_open(path, "pt") as file:
        assert len(file.metadata()["weights_sha256"]) == 64
    net = networks.build(config.network, config.architecture)
    load_weights(net, path)
    assert card.n_parameters == sum(number.numel() for number in net.parameters() if number.requires_grad) > 0


def test_the_picture_shows_four_panels_with_labels(run):
    picture = np.asarray(Image.open(run / "validation.png"))
    assert picture.shape == (2 * 8 * 40, 4 * 8 * 16)  # 8 times, for panels of 128 pixels
    panels = np.split(picture[: 8 * 40].astype(float), 4, 1)
    assert all(panel.std() > 1 for panel in panels)
    assert len({panel.tobytes() for panel in panels}) == 4
    labels = Image.new("L", picture.shape[::-1])
    for n, text in enumerate(("zero-filled", "slrnet, step 2", "reference", "error, 5 times")):
        draw_label(labels, text, left=n * 128, width=128)
    draw_label(labels, "frame 2 of 5", width=128, bottom=8 * 40)
    draw_label(labels, "column 8 over time", width=128, bottom=2 * 8 * 40)
    assert picture[np.asarray(labels) > 200].min() > 200


def test_the_list_of_data_changes_with_the_data(tmp_path, make_recipe, write_series):
    base = list_data(make_recipe().training.data)
    assert base == list_data(make_recipe("learning_rate=1").training.data)
    assert base != list_data(make_recipe("data.sources.phantom.seed=3").training.data)
    write_series(tmp_path / "a.npz", seed=0)
    values = {**SMALL["training"]["data"], "sources": {"series": {"kind": "series"}}}
    config = Recipe.parse({**SMALL, "training": {"data": values}}).training.data
    first = list_data(config, [tmp_path])
    assert "a.npz" in first
    write_series(tmp_path / "a.npz", seed=1)
    assert list_data(config, [tmp_path]) != first


def test_the_revision_of_another_repository_is_not_recorded(tmp_path, monkeypatch):
    installed = tmp_path / "venv" / "cinerecon" / "training" / "run_folder.py"
    installed.parent.mkdir(parents=True)
    author = ["-c", "user.name=Anyone", "-c", "user.email=anyone@example.com"]
    for command in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "Another project"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    monkeypatch.setattr(run_folder, "__file__", str(installed))
    assert run_folder._git_revision() == ""


def test_tensorboard_is_optional(folder, cases, make_recipe, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="TensorBoard is not installed") as error:
        train(make_recipe("n_steps=1"), folder / "board", TrainOptions(DataPaths(cases), tensorboard=True))
    assert not (folder / "board").exists()
    assert "cinerecon[tensorboard]" in error.value.hint


def test_tensorboard_shows_the_log(folder, cases, make_recipe):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps = []
    run = folder / "shown"
    train(
        make_recipe("n_steps=2", "save_every=1"),
        run,
        TrainOptions(DataPaths(cases), tensorboard=True),
        TrainCallbacks(on_validation=steps.append),
    )
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx([step.loss for step in steps])
    assert len(events.Images("validation")) == 2
