"""Estimates of time and memory before a training starts."""

import pytest
import yaml
from small_recipe import RECIPE
from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.training import DataPaths, estimate


def test_times_add_up(make_recipe, cases, tmp_path):
    found = estimate(make_recipe("n_steps=100", "n_steps_per_epoch=20"), DataPaths(cases), device="cpu")
    assert found.n_parameters == 2 * (4 * 27 * (2 + 4 + 4) * 2 + 5)
    assert found.memory_mb > 50
    assert found.epoch_s == pytest.approx(20 * (found.step_s + found.draw_s))
    assert found.run_s == pytest.approx(5 * found.epoch_s + found.ahead_s)


def test_batches_that_are_kept_are_counted_once(make_recipe, cases, tmp_path):
    found = estimate(make_recipe("n_steps=1000", "data.n_cached_batches=7"), DataPaths(tmp_path), device="cpu")
    assert found.n_ahead == 7
    assert found.ahead_s > 0
    assert found.run_s == pytest.approx(1000 * (found.step_s + found.draw_s) + found.ahead_s)


def test_cases_are_counted_where_they_are_not_kept_yet(make_recipe, tmp_path):
    recipe = make_recipe("n_steps=1000", "data.sources.phantom.n_cases=6")
    first = estimate(recipe, DataPaths(tmp_path), device="cpu")
    assert first.n_ahead == 6
    assert first.run_s == pytest.approx(1000 * (first.step_s + first.draw_s) + first.ahead_s)
    again = estimate(recipe, DataPaths(tmp_path), device="cpu")
    assert again.n_ahead < 6
    short = estimate(
        make_recipe("n_steps=1", "data.sources.phantom.n_cases=6"), DataPaths(tmp_path / "new"), device="cpu"
    )
    assert short.n_ahead == short.ahead_s == 0


def test_the_command_prints_the_estimate_and_stops(cases, tmp_path):
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(RECIPE))
    options = ["-o", str(tmp_path / "run"), "--estimate", "--cache", str(cases)]
    result = CliRunner().invoke(app, ["train", str(tmp_path / "model.yaml"), *options])
    assert result.exit_code == 0, result.exception
    labels = [line.split()[0] for line in result.stdout.splitlines()]
    assert [label for label in labels if label != "simulation"] == ["parameters", "memory", "step", "epoch", "run"]
    assert " s in float32, and " in result.stdout
    assert not (tmp_path / "run").exists()
