import pytest
import torch
from safetensors.torch import load_file

from cinerecon.errors import CineReconError, ConfigError, FileError
from cinerecon.workflows import train as training
from cinerecon.workflows.train import Recipe, read_recipe, schedule, train

RECIPE = {
    "network": "slrnet",
    "architecture": {
        "n_cascades": 2,
        "n_channels": 4,
        "step": 1.0,
        "coupling": 0.1,
        "shrinkage": "topk_soft",
        "output_gain": 0.1,
    },
    "training": {
        "n_steps": 30,
        "n_warmup": 3,
        "save_every": 15,
        "learning_rate": 5e-3,
        "n_validation": 2,
        "batch_size": 2,
        "data": {
            "sources": {
                "phantom": {"kind": "phantom", "n_cases": 2, "matrix": [40, 40], "n_coils": 2, "mask": "gaussian:3"}
            },
            "crops": "40x16",
            "n_frames": 5,
            "n_windows": 1,
            "coils": [1, 2],
            "masks": "gaussian:3",
            "noise_free": 1.0,
        },
    },
}


def _recipe(*settings):
    return Recipe.parse(RECIPE).with_settings(settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("training")


def test_training_improves_and_leaves_weights_that_load(folder):
    steps = []
    train(_recipe(), folder / "run", cases=folder / "cases", report=steps.append)
    assert [step.number for step in steps] == [15, 30]
    assert steps[1].psnr > steps[0].psnr
    net = training.networks.build("slrnet", RECIPE["architecture"])
    net.load_state_dict(load_file(folder / "run" / "weights.safetensors"))
    assert read_recipe(folder / "run" / "model.yaml") == _recipe()
    assert len((folder / "run" / "log.csv").read_text().splitlines()) == 3


SHORT = ("training.n_steps=10", "training.save_every=4")


@pytest.fixture(scope="module")
def whole(folder):
    """Weights of a short run without interruption."""
    train(_recipe(*SHORT), folder / "whole", cases=folder / "cases")
    return load_file(folder / "whole" / "weights.safetensors")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(folder, whole, monkeypatch, workers):
    run, original, steps = folder / f"halted{workers}", training.descend, []

    def stop(*arguments):
        steps.append(arguments)
        if len(steps) > 6:
            raise KeyboardInterrupt
        original(*arguments)

    monkeypatch.setattr(training, "descend", stop)
    with pytest.raises(KeyboardInterrupt):
        train(_recipe(*SHORT), run, cases=folder / "cases", workers=workers)
    monkeypatch.undo()
    with pytest.raises(FileError, match="already"):
        train(_recipe(*SHORT), run, cases=folder / "cases")
    train(_recipe(*SHORT), run, cases=folder / "cases", workers=workers, resume=True)
    found = load_file(run / "weights.safetensors")
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_run_that_is_out_of_time_goes_on_later(folder, whole):
    train(_recipe(*SHORT), folder / "late", cases=folder / "cases", max_seconds=0)
    assert not torch.equal(
        load_file(folder / "late" / "weights.safetensors")["cascades.0.step"], whole["cascades.0.step"]
    )
    train(_recipe(*SHORT), folder / "late", cases=folder / "cases", resume=True)
    found = load_file(folder / "late" / "weights.safetensors")
    assert all(torch.equal(found[name], whole[name]) for name in whole)


def test_a_diverging_loss_stops_and_keeps_the_last_checkpoint(folder):
    with pytest.raises(CineReconError, match="the loss is"):
        train(_recipe("training.learning_rate=1e30", "training.n_warmup=0"), folder / "bad", cases=folder / "cases")


def test_nothing_to_resume_is_said(folder):
    with pytest.raises(FileError, match="nothing to resume"):
        train(_recipe(), folder / "none", cases=folder / "cases", resume=True)


def test_a_wrong_key_of_the_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="learning_rat") as error:
        _recipe("training.learning_rat=1")
    assert "learning_rate" in error.value.hint


def test_the_schedule_warms_up_and_comes_down():
    config = _recipe("training.n_steps=100", "training.n_warmup=10").training
    values = [schedule(step, config) for step in range(100)]
    assert values[0] == pytest.approx(0.1)
    assert max(values) == values[9] == 1
    assert values[-1] < 0.02
