"""Training resumes exactly where it was interrupted, and stops by itself when it diverges."""

import csv
import json
import math
import signal
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from forked import run_python
from safetensors.torch import load_file
from small_recipe import write_recipe

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.errors import CineReconError, ConfigError, DataError, FileError, WeightsError
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import load_weights, read_model
from cinerecon.methods.table import load_method
from cinerecon.training import (
    TrainCallbacks,
    TrainConfig,
    TrainOptions,
    checkpointer,
    loop,
    read_recipe,
    train,
    validation,
)
from cinerecon.training.batches import DataPaths, open_training_data
from cinerecon.training.losses import trains_in_bfloat16

KILLED = """
import os, signal
from pathlib import Path
from cinerecon.training import run_folder as folder
from cinerecon.training import DataPaths, TrainOptions, loop, read_recipe

def die():
    os.kill(os.getpid(), signal.SIGKILL)

take, save = loop.optimizer_step, folder.torch.save

def take_or_die(state, config):
    take(state, config)
    if state.n_steps_done == 17:
        die()

def save_half(content, path):
    save(content, path)
    if content["done"] == 20:
        path.write_bytes(path.read_bytes()[:1000])
        die()

recipe, run, cases, moment = {arguments!r}
if moment == "at step 17":
    loop.optimizer_step = take_or_die
else:
    folder.torch.save = save_half
loop.train(read_recipe(Path(recipe)), Path(run), TrainOptions(DataPaths(Path(cases))))
"""


def curve(run):
    """The log without the columns of time."""
    with (run / "log.csv").open(newline="") as file:
        return [{key: row[key] for key in row if "seconds" not in key} for row in csv.DictReader(file)]


def assert_same_weights(run, other):
    for name in ("weights.safetensors", "last.safetensors"):
        found, expected = load_file(run / name), load_file(other / name)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.fixture(scope="module")
def whole(folder, cases, make_recipe):
    """A run of 30 steps without interruption, and what it reported."""
    steps = []
    train(make_recipe(), folder / "whole", TrainOptions(DataPaths(cases)), TrainCallbacks(on_validation=steps.append))
    return folder / "whole", steps


def test_training_improves_and_leaves_weights_that_load(whole, make_recipe):
    run, steps = whole
    assert [step.number for step in steps] == [10, 20, 30]
    assert steps[-1].validation > steps[0].validation
    recipe = make_recipe()
    load_weights(networks.build(recipe.network, recipe.architecture), run / "weights.safetensors")
    assert read_recipe(run / "model.yaml") == recipe
    assert [row["step"] for row in curve(run)] == ["10", "20", "30"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at step 17", "while it saves"])
def test_a_killed_run_continues_as_if_uninterrupted(whole, folder, cases, make_recipe, moment):
    run, recipe = folder / moment.replace(" ", "_"), make_recipe()
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    arguments = [str(part) for part in (folder / "recipe.yaml", run, cases, moment)]
    assert run_python(KILLED.format(arguments=arguments)).returncode == -signal.SIGKILL
    assert [row["step"] for row in curve(run)] == ["10"]
    assert any(run.glob(".partial-*")) == (moment == "while it saves")
    with pytest.raises(FileError, match="already"):
        train(recipe, run, TrainOptions(DataPaths(cases)))
    train(recipe, run, TrainOptions(DataPaths(cases), resume=True))
    assert_same_weights(run, whole[0])
    assert curve(run) == curve(whole[0])
    assert not any(run.glob(".partial-*"))
    (resumed,) = json.loads((run / "run.json").read_text())["resumed"]
    assert resumed["at_step"] == 10


def test_the_log_says_how_long_steps_waited_for_their_batches(folder, cases, make_recipe, monkeypatch):
    """By a clock that advances by 2 s for each batch that is drawn, and by nothing else; over an interruption too."""
    clock, draw = [0.0], loop.TrainingData.load

    def load(*arguments):
        for batch in draw(*arguments):
            clock[0] += 2.0
            yield batch

    monkeypatch.setattr(loop.TrainingData, "load", load)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    run = folder / "waited"
    for n_steps in (4, 6):
        recipe = make_recipe(f"n_steps={n_steps}", "save_every=2", "n_batches=3")
        train(recipe, run, TrainOptions(DataPaths(cases), resume=n_steps > 4))
    with (run / "log.csv").open(newline="") as file:
        assert [float(row["waited_seconds"]) for row in csv.DictReader(file)] == [12.0, 24.0, 36.0]


def test_workers_change_nothing(whole, folder, cases, make_recipe):
    train(make_recipe(), folder / "workers", TrainOptions(DataPaths(cases), workers=2))
    assert_same_weights(folder / "workers", whole[0])


def test_a_run_that_is_out_of_time_continues_later(whole, folder, cases, make_recipe):
    run = folder / "late"
    train(make_recipe(), run, TrainOptions(DataPaths(cases), max_seconds=0))
    assert [row["step"] for row in curve(run)] == ["1"]
    assert (run / "weights.safetensors").is_file()
    train(make_recipe(), run, TrainOptions(DataPaths(cases), resume=True))
    assert_same_weights(run, whole[0])


def test_best_weights_are_kept_apart_from_the_last(folder, cases, make_recipe, monkeypatch):
    qualities = iter([19.0, 30.0, 20.0, 25.0])
    for module in (checkpointer, validation):
        monkeypatch.setattr(module, "validate", lambda net, batches: next(qualities))
    run = folder / "best"
    train(make_recipe("n_steps=3", "save_every=1"), run, TrainOptions(DataPaths(cases)))
    config, _ = read_model(run)
    assert config.card.metrics == {"first_image_db": 19.0, "validation_db": 30.0, "step": 1.0}
    best, last = (load_file(run / f"{name}.safetensors") for name in ("weights", "last"))
    assert any(not torch.equal(best[name], last[name]) for name in best)


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_last_checkpoint(
    folder, cases, make_recipe, monkeypatch
):
    run, original = folder / "bad", loop.training_loss
    calls = []

    def poisoned(net, batch, config):
        calls.append(1)
        return original(net, batch, config) * (float("nan") if len(calls) == 6 else 1)

    monkeypatch.setattr(loop, "training_loss", poisoned)
    with pytest.raises(CineReconError, match="the loss is nan at step 6") as error:
        train(make_recipe("save_every=2"), run, TrainOptions(DataPaths(cases)))
    assert error.value.where == str(run)
    assert torch.load(run / "last.pt", weights_only=True)["done"] == 4
    assert all(value.isfinite().all() for value in load_file(run / "weights.safetensors").values())


def test_weights_that_exploded_are_not_saved(folder, cases, make_recipe):
    settings = ("learning_rate=1e30", "n_warmup=0", "save_every=1")
    with pytest.raises(CineReconError, match="not finite at step 1"):
        train(make_recipe(*settings), folder / "exploded", TrainOptions(DataPaths(cases)))
    assert not (folder / "exploded" / "last.pt").exists()


def test_nothing_to_resume_is_an_error(folder, cases, make_recipe):
    with pytest.raises(FileError, match="no run to resume"):
        train(make_recipe(), folder / "none", TrainOptions(DataPaths(cases), resume=True))


def test_a_run_resumes_with_its_own_data_network_and_share(whole, cases, make_recipe):
    run, _ = whole
    for setting, message in {
        "data.sources.phantom.n_cases=3": "other settings: training.data.sources.phantom.n_cases: 2, now 3",
        "seed=9": "training.seed: 0, now 9",
        "n_validation=3": "training.n_validation: 2, now 3",
        "optimizer=adamw": "training.optimizer: adam, now adamw",
        "n_batches=2": "a step of this run consists of 1 batches, now it would consist of 2",
    }.items():
        with pytest.raises(ConfigError, match=message):
            train(make_recipe(setting), run, TrainOptions(DataPaths(cases), resume=True))
    other = make_recipe().with_settings(["architecture.n_channels=3"])
    with pytest.raises(WeightsError, match="cannot resume"):
        train(other, run, TrainOptions(DataPaths(cases), resume=True))


def test_a_resumed_run_reports_changed_settings(folder, cases, make_recipe):
    run, messages = folder / "longer", []
    train(make_recipe("n_steps=1"), run, TrainOptions(DataPaths(cases)), TrainCallbacks(on_message=messages.append))
    assert [text.split()[0] for text in messages if not text.startswith("data")] == ["cases", "initial"]
    assert "2 of phantom" in messages[0]
    messages.clear()
    train(
        make_recipe("n_steps=2"),
        run,
        TrainOptions(DataPaths(cases), resume=True),
        TrainCallbacks(on_message=messages.append),
    )
    assert messages[0] == "changed  training.n_steps: 1, now 2"


def test_a_finished_run_keeps_the_recipe_that_it_was_trained_with(folder, cases, make_recipe):
    run, messages = folder / "finished", []
    train(make_recipe("n_steps=2"), run, TrainOptions(DataPaths(cases)))
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    shorter = make_recipe("n_steps=1", "learning_rate=1e-2")
    train(shorter, run, TrainOptions(DataPaths(cases), resume=True), TrainCallbacks(on_message=messages.append))
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert messages == [
        "ignored  training.n_steps: 2, now 1",
        "ignored  training.learning_rate: 0.005, now 0.01",
        "finished the run has 2 steps already; a larger training.n_steps continues the run",
    ]


@pytest.mark.parametrize("name", ["model.yaml", "weights.safetensors", "last.safetensors", "log.csv", "data.txt"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_new_run_overwrites_no_file(cases, make_recipe, tmp_path, name, resume):
    """A folder of trained weights or of the recipe is no run: neither a new run nor --resume may write into it."""
    (tmp_path / name).write_text("precious")
    with pytest.raises(FileError, match="no run to resume" if resume else f"the folder contains {name}"):
        train(make_recipe(), tmp_path, TrainOptions(DataPaths(cases), resume=resume))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "precious"}


def test_a_run_that_was_stopped_before_its_first_checkpoint_is_a_run(cases, make_recipe, tmp_path):
    train(make_recipe("n_steps=1"), tmp_path, TrainOptions(DataPaths(cases)))
    for name in ("last.pt", "last.safetensors", "weights.safetensors", "log.csv", "model.yaml"):
        (tmp_path / name).unlink()
    with pytest.raises(FileError, match="there is already a run"):
        train(make_recipe("n_steps=1"), tmp_path, TrainOptions(DataPaths(cases)))
    train(make_recipe("n_steps=1"), tmp_path, TrainOptions(DataPaths(cases), resume=True))
    assert (tmp_path / "weights.safetensors").exists()


def test_a_damaged_state_is_an_error(folder, cases, make_recipe):
    run = folder / "damaged"
    train(make_recipe("n_steps=1"), run, TrainOptions(DataPaths(cases)))
    for content in (b"", bytes(500), b"garbage" * 100):
        (run / "last.pt").write_bytes(content)
        with pytest.raises(WeightsError, match="cannot resume"):
            train(make_recipe("n_steps=2"), run, TrainOptions(DataPaths(cases), resume=True))


def test_a_run_with_lost_or_damaged_files_is_an_error(folder, cases, make_recipe):
    run = folder / "papers"
    train(make_recipe("n_steps=1"), run, TrainOptions(DataPaths(cases)))
    for name, content in (("run.json", b'{"seed": 0'), ("data.txt", b"\xff"), ("model.yaml", None)):
        (run / name).unlink() if content is None else (run / name).write_bytes(content)
        with pytest.raises(FileError, match="cannot resume") as error:
            train(make_recipe("n_steps=2"), run, TrainOptions(DataPaths(cases), resume=True))
        assert error.value.where == str(run / name)
        if content is not None:
            (run / name).write_bytes(b"{}")


def test_a_resumed_run_takes_no_other_weights(whole, cases, make_recipe):
    with pytest.raises(ConfigError, match="has its own weights"):
        train(make_recipe(), whole[0], TrainOptions(DataPaths(cases), resume=True, weights=whole[0]))


def test_fine_tuning_is_in_the_card_after_an_interruption_too(whole, folder, cases, make_recipe):
    run = folder / "tuned"
    train(make_recipe("n_steps=2"), run, TrainOptions(DataPaths(cases), weights=whole[0], max_seconds=0))
    train(make_recipe("n_steps=2"), run, TrainOptions(DataPaths(cases), resume=True))
    config, _ = read_model(run)
    assert config.card.source == f"fine-tuned from {whole[0].parent.name}/{whole[0].name}"


def test_patches_that_no_case_can_give_are_refused_before_any_is_drawn(cases, make_recipe, tmp_path):
    with pytest.raises(DataError, match="no case is large enough for 5 frames of 64x16 with 1 coils") as error:
        train(make_recipe("data.crops=[40x16,64x16]"), tmp_path / "run", TrainOptions(DataPaths(cases)))
    assert "--set training.data.crops=40x32 --set training.data.coils=2" in error.value.hint


def test_fine_tuning_begins_with_the_weights_given(whole, cases, make_recipe, tmp_path):
    run, steps = whole
    found = []
    settings = ("n_steps=1", "learning_rate=1e-9", "save_every=1")
    train(
        make_recipe(*settings),
        tmp_path,
        TrainOptions(DataPaths(cases), weights=run / "weights.safetensors"),
        TrainCallbacks(on_validation=found.append),
    )
    assert found[0].validation == pytest.approx(max(step.validation for step in steps), abs=1e-3)


def test_a_wrong_key_of_the_recipe_names_the_nearest(make_recipe):
    with pytest.raises(ConfigError, match="learning_rat") as error:
        make_recipe("learning_rat=1")
    assert "learning_rate" in error.value.hint
    with pytest.raises(ConfigError, match=r"unknown setting 'training\.data\.sources\.phantom\.n_case'") as error:
        make_recipe("data.sources.phantom.n_case=1")
    assert error.value.hint.startswith("did you mean 'n_cases'? known: weight, matrix")


def test_models_may_share_a_file_of_training(tmp_path, make_recipe):
    recipe = make_recipe()
    values = recipe.model_dump(mode="json")
    (tmp_path / "model").mkdir()
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(values["training"]))
    (tmp_path / "model" / "model.yaml").write_text(yaml.safe_dump({**values, "training": "../training.yaml"}))
    assert read_recipe(tmp_path / "model" / "model.yaml") == recipe
    (tmp_path / "training.yaml").unlink()
    with pytest.raises(ConfigError, match="cannot read the recipe"):
        read_recipe(tmp_path / "model" / "model.yaml")


def test_the_time_of_a_session_is_counted_once(make_recipe, monkeypatch):
    monkeypatch.setattr(checkpointer, "validate", lambda *_: 30.0)
    monkeypatch.setattr(checkpointer, "reconstruct", lambda *_: None)
    recipe = make_recipe()
    folder = SimpleNamespace(save=lambda *_: None, draw=lambda *_: None)
    state = loop.init_state(recipe)
    for session in ((1.0, 2.0, 3.5), (1.0, 2.5)):
        saver = checkpointer.Checkpointer(folder, recipe, Card(), [None], 1)
        for seconds in session:
            state.n_steps_done, state.losses = state.n_steps_done + 1, [0.1]
            saver.save(state, seconds)
    assert [step.seconds for step in state.log] == [1, 2, 3.5, 4.5, 6]


def test_a_classical_method_is_validated_on_the_same_patches(folder, cases, make_recipe):
    notes = []
    recipe = make_recipe("compared_with=viewshared", "n_steps=1")
    train(recipe, folder / "compared", TrainOptions(DataPaths(cases)), TrainCallbacks(on_message=notes.append))
    reached = read_model(folder / "compared")[0].card.metrics["viewshared_db"]
    assert any(note == f"viewshared  validation {reached:.2f} dB" for note in notes)
    data = open_training_data(recipe, DataPaths(cases))
    batches = data.draw_as_measured()
    assert len(batches) == recipe.training.n_validation
    errors = []
    for batch in batches:
        image = load_method("viewshared")(CineData(batch.kspace, batch.encoding.mask, batch.encoding.csm))
        power = batch.target.abs().max() ** 2 / (image - batch.target).abs().square().mean()
        errors.append(10 * math.log10(power))
    assert reached == pytest.approx(sum(errors) / len(errors), abs=1e-3)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_that_no_generator_takes_is_named(seed):
    with pytest.raises(ConfigError, match="setting 'seed': input should be"):
        TrainConfig(seed=seed)


def test_paths_of_a_training_may_be_texts(tmp_path):
    recipe, scan = read_recipe(str(write_recipe(tmp_path, n_steps=1))), str(tmp_path / "scan.h5")
    train(recipe, str(tmp_path / "run"), TrainOptions(DataPaths(str(tmp_path / "cases"))))
    assert DataPaths("cases", "series", [scan]) == DataPaths(Path("cases"), (Path("series"),), (Path(scan),))
    with pytest.raises(WeightsError, match="there is no such file"):
        train(recipe, tmp_path / "other", TrainOptions(weights=str(tmp_path / "missing.safetensors")))
    with pytest.raises(FileError, match="there is no such file") as caught:
        train(recipe, tmp_path / "other", TrainOptions(DataPaths(tmp_path, scans=scan)))
    assert caught.value.where == scan


def test_wrong_types_of_arguments_are_named(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path))
    with pytest.raises(ConfigError, match="settings are of type dict, expected Recipe"):
        train({"network": "slrnet"}, tmp_path / "run")
    with pytest.raises(ConfigError, match="expected a path, found NoneType"):
        train(recipe, None)
    with pytest.raises(ConfigError, match="workers is -1"):
        TrainOptions(workers=-1)


def test_an_unknown_method_to_compare_with_is_refused_before_the_run_begins(tmp_path):
    recipe = read_recipe(write_recipe(tmp_path, compared_with="ttvv"))
    with pytest.raises(ConfigError, match="unknown method 'ttvv'") as caught:
        train(recipe, tmp_path / "run")
    assert caught.value.where == "training.compared_with"
    assert not (tmp_path / "run").exists()


def test_bfloat16_on_a_processor_that_emulates_it_is_warned_about(make_recipe):
    with pytest.warns(UserWarning, match="emulates bfloat16"):
        loop.init_state(make_recipe("precision=bfloat16"))
    recipe = make_recipe("precision=auto")  # the suggestion
    with warnings.catch_warnings(action="error"):
        loop.init_state(recipe)
    assert not trains_in_bfloat16(recipe.training, "cpu")
