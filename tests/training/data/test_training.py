"""Prepared cases, through the command."""

import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from cinerecon.cli import app

RECIPE = {
    "network": "slrnet",
    "architecture": {"n_cascades": 1, "n_channels": 2},
    "training": {
        "n_steps": 4,
        "save_every": 4,
        "n_validation": 1,
        "data": {"crops": "allx16", "n_frames": 4, "n_windows": 1, "coils": [1, 3], "masks": "gaussian:3"},
    },
}


def train(folder, *options):
    recipe = folder / "model.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
    return CliRunner().invoke(app, ["train", str(recipe), *map(str, options)])


def test_train_on_prepared_cases(prepared, tmp_path):
    result = train(tmp_path, "--data", prepared, "-o", tmp_path / "run", "--workers", 1)
    assert result.exit_code == 0, result.exception
    assert "step 4" in result.stdout
    written = yaml.safe_load((tmp_path / "run" / "model.yaml").read_text(encoding="utf-8"))
    (source,) = written["training"]["data"]["sources"].values()
    assert (source["kind"], source["folder"]) == ("prepared", str(prepared))
    assert not (tmp_path / "run" / "cases").exists()
    train(tmp_path, "--data", prepared, "-o", tmp_path / "again")
    first, again = (load_file(tmp_path / run / "weights.safetensors") for run in ("run", "again"))
    assert all((first[name] == again[name]).all() for name in first)


def test_series_without_a_folder_are_mentioned(prepared, tmp_path):
    settings = (
        "training.data.sources.series={kind: series}",
        f"training.data.sources.phantom={{kind: prepared, folder: {prepared}}}",
    )
    result = train(tmp_path, "-o", tmp_path / "run", *(part for text in settings for part in ("--set", text)))
    assert "note     the recipe's source series will not be used, as --series is not given" in result.stdout
    assert result.exit_code == 0, result.exception
