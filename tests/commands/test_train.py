"""``cinerecon train``: what it prints, and what it refuses."""

import re
from dataclasses import replace

import pytest
import yaml
from small_recipe import RECIPE
from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.commands.train import _describe_waiting
from cinerecon.errors import ConfigError, FileError
from cinerecon.training import Step
from cinerecon.training.recipe import find_recipe


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    (folder / "model.yaml").write_text(yaml.safe_dump(RECIPE))
    return folder


def call(*arguments):
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert result.exit_code == 0, result.exception
    return result.stdout


def test_the_baseline_is_printed_first_and_the_checkpoint_last(recipe, tmp_path):
    lines = call(recipe, "-o", tmp_path / "run", "--minutes", 0).splitlines()
    assert lines[0] == "cases    train: 2 of phantom; val: 2 of phantom"
    assert lines[1] == "data     simulating 2 cases or batches before the first step; they are stored for reuse"
    assert lines[2].startswith("data     simulated in ")
    assert lines[3].startswith("initial image  validation ")
    assert lines[4].startswith("step 1  loss ")
    assert lines[5] == "stopped  at step 1 of 30; --resume continues"
    assert re.match(r"waited   \d+\.\d s of \d+ s for batches \(\d+\.\d%\)", lines[6])
    assert lines[7] == f"wrote    {tmp_path / 'run'}"


def test_more_processes_are_recommended_where_steps_wait_long():
    step = Step(10, 0.1, 30.0, 1e-3, seconds=200.0, waited_seconds=8.0)
    assert _describe_waiting(step, 1) == "waited   8.0 s of 200 s for batches (4.0%)"
    step = replace(step, waited_seconds=20.0)
    assert _describe_waiting(step, 2) == "waited   20.0 s of 200 s for batches (10.0%); try --workers 4"
    assert _describe_waiting(step, 0).endswith("try --workers 1")


def test_a_recipe_is_a_file_its_folder_or_a_name(recipe):
    assert find_recipe(str(recipe)) == find_recipe(str(recipe / "model.yaml")) == recipe / "model.yaml"
    assert find_recipe("slrnet").parent.name == "slrnet"
    assert find_recipe("slrnet").is_file()


def test_prepared_cases_and_series_do_not_go_together(recipe, tmp_path):
    result = CliRunner().invoke(app, ["train", str(recipe), "-o", "x", "--data", str(tmp_path), "--series", "y"])
    assert isinstance(result.exception, ConfigError)
    assert "kind: prepared" in result.exception.hint


def refusal(*arguments):
    result = CliRunner().invoke(app, ["train", *map(str, arguments)])
    assert isinstance(result.exception, ConfigError), result.exception
    return result.exception


def test_a_loss_without_truth_needs_a_scan(recipe, tmp_path):
    """Where the recipe itself has that loss, its sources are meant; an option without a scan is a mistake."""
    run = tmp_path / "run"
    for arguments in (["--loss", "ssdu"], ["--set", "training.loss=ssdu"]):
        error = refusal(recipe, "-o", run, *arguments)
        assert error.what.endswith("none is given: the recipe has only phantom (phantom)")
        assert "--scan" in error.hint
        assert not run.exists()
    written = {**RECIPE, "training": {**RECIPE["training"], "loss": "ssdu"}}
    (tmp_path / "ssdu.yaml").write_text(yaml.safe_dump(written))
    assert "cases    train: 2 of phantom" in call(tmp_path / "ssdu.yaml", "-o", run, "--minutes", 0)


def test_measured_series_that_no_source_takes_are_refused(recipe, tmp_path):
    error = refusal(recipe, "-o", tmp_path / "run", "--series", tmp_path)
    assert "no source of kind series" in error.what
    assert not (tmp_path / "run").exists()
    error = refusal(recipe, "-o", tmp_path / "run", "--series", tmp_path, "--scan", "x.h5", "--loss", "ssdu")
    assert "--scan replaces all data sources" in error.what


def test_there_is_nothing_to_resume_in_an_empty_folder(recipe, tmp_path):
    result = CliRunner().invoke(app, ["train", str(recipe), "-o", str(tmp_path), "--resume"])
    assert isinstance(result.exception, FileError)
    assert result.exception.what == "there is no run to resume"
    assert result.exception.hint.startswith("omit --resume")
    assert list(tmp_path.iterdir()) == []


def test_scans_and_prepared_cases_do_not_go_together(tmp_path):
    arguments = ["train", "slrnet", "-o", "x", "--data", str(tmp_path), "--scan", "y.h5", "--loss", "ssdu"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, ConfigError)
    assert "--scan and --data both replace the data sources" in result.exception.what


def test_a_misspelt_network_gets_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="there is no recipe 'slrnt'") as error:
        find_recipe("slrnt")
    assert error.value.hint.startswith("did you mean 'slrnet'?")
    with pytest.raises(ConfigError, match=r"no model\.yaml in this folder"):
        find_recipe(str(tmp_path))
