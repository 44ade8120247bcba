"""What a training will take is told before it starts."""

import pytest
import yaml
from small_recipe import RECIPE
from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.training import Places, estimate


def test_times_add_up_and_nothing_is_left(make_recipe, cases, tmp_path):
    found = estimate(make_recipe("n_steps=100", "n_steps_per_epoch=20"), Places(cases), device="cpu")
    assert found.n_parameters == 2 * (4 * 27 * (2 + 4 + 4) * 2 + 5)
    assert found.memory_mb > 50
    assert found.epoch_s == pytest.approx(20 * (found.step_s + found.draw_s))
    assert found.run_s == pytest.approx(5 * found.epoch_s)


def test_batches_that_are_kept_are_counted_once(make_recipe, cases, tmp_path):
    found = estimate(make_recipe("n_steps=1000", "data.n_kept=7"), Places(tmp_path), device="cpu")
    assert found.kept_s > 0
    assert found.run_s == pytest.approx(1000 * (found.step_s + found.draw_s) + found.kept_s)


def test_the_command_tells_and_stops(cases, tmp_path):
    (tmp_path / "model.yaml").write_text(yaml.safe_dump(RECIPE))
    options = ["-o", str(tmp_path / "run"), "--estimate", "--cases", str(cases)]
    result = CliRunner().invoke(app, ["train", str(tmp_path / "model.yaml"), *options])
    assert result.exit_code == 0, result.exception
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["parameters", "memory", "step", "epoch", "run"]
    assert not (tmp_path / "run").exists()
