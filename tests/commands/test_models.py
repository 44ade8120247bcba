"""``cinerecon models`` and ``models import``: what they print, and that an imported model reconstructs."""

import json
import shutil

import numpy as np
import pytest
from helpers import call_main
from published_form import BY_TITLE, small_network, write_published

from cinerecon.methods.model_file import models_folder, read_model
from cinerecon.methods.table import METHODS
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SLR = BY_TITLE["SLR-Net"]


@pytest.fixture
def checkpoint(tmp_path):
    return write_published(tmp_path / "SLR_Net-radial-16-2023", SLR, small_network(SLR))


def test_the_list_has_a_line_for_each_method(monkeypatch, capsys):
    assert call_main(monkeypatch, "models") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[1:]}
    assert list(rows) == list(METHODS)
    assert len(lines) == 1 + len(METHODS)
    assert rows["ktslr"].split(maxsplit=2) == ["ktslr", "classical", METHODS["ktslr"].summary]
    assert rows["slrnet"].split(maxsplit=3)[1:3] == ["shipped", "88,143"]
    assert rows["slrnet"].endswith(METHODS["slrnet"].summary)


@pytest.mark.parametrize("width", [60, 80])
def test_a_line_is_as_wide_as_the_terminal(monkeypatch, capsys, width):
    monkeypatch.setenv("COLUMNS", str(width))
    for arguments in (("models",), ("models", "show", "slrnet"), ("models", "show", "llr", "--settings")):
        assert call_main(monkeypatch, *arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        own = [line for line in lines if "/" not in line]  # paths are not broken
        assert max(map(len, own)) <= width
        assert lines == [line.rstrip() for line in lines]


def test_details_are_those_of_the_card(monkeypatch, capsys):
    assert call_main(monkeypatch, "models", "show", "slrnet") == 0
    shown = {line[:13].strip(): line[13:] for line in capsys.readouterr().out.splitlines()}
    card = read_model("slrnet")[0].card
    assert shown["parameters"] == "88,143"
    assert shown["trained on"] == card.trained_on
    assert shown["reports"] == card.reports
    assert shown["sampling"] == ", ".join(card.masks)
    assert shown["network"].startswith("slrnet, variant paper, n_cascades 3, n_channels 16")
    assert call_main(monkeypatch, "models", "show", "slrnte") == 2
    assert "did you mean 'slrnet'?" in capsys.readouterr().err


def test_settings_have_type_value_and_help(monkeypatch, capsys):
    assert call_main(monkeypatch, "models", "show", "llr", "--settings") == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("block_size=16")
    assert lines[at + 1] == "    whole number ≥ 1: side length of the blocks [pixels]"
    assert call_main(monkeypatch, "models", "show", "zerofilled", "--settings") == 0
    assert capsys.readouterr().out == "zerofilled has no settings\n"
    assert call_main(monkeypatch, "models", "show", "slrnet", "--settings", "--json") == 0
    settings = {one["key"]: one for one in json.loads(capsys.readouterr().out)["settings"]}
    assert settings["architecture.n_cascades"]["value"] == "3"
    assert settings["demodulate"]["type"] == "true or false"
    assert not {"card", "training", "network"} & {key.partition(".")[0] for key in settings}


def test_import_prints_what_it_found_and_the_model_works_by_name(monkeypatch, capsys, checkpoint, tmp_path):
    assert call_main(monkeypatch, "models", "import", checkpoint) == 0
    printed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert printed["network"] == "slrnet: variant code, shrinkage relative_soft, n_channels 4, n_cascades 2"
    assert printed["licence"] == "GPL-3.0"
    assert printed["use"] == "--model slrnet-radial-16"
    assert call_main(monkeypatch, "models", "import", checkpoint) == 2
    assert "already exists" in capsys.readouterr().err

    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=4, ky=32, kx=32, n_coils=2))
    options = ("--undersample", "gaussian:2", "-o", tmp_path / "out.npz")
    assert call_main(monkeypatch, "recon", tmp_path / "scan.h5", *printed["use"].split(), *options) == 0
    assert "imported weights, trained on OCMR cines, one coil, radial, 16 spokes" in capsys.readouterr().err
    assert np.isfinite(np.load(tmp_path / "out.npz")["image"]).all()


def test_a_model_file_names_its_outputs_without_its_ending(monkeypatch, capsys, checkpoint, tmp_path):
    call_main(monkeypatch, "models", "import", checkpoint, "-o", tmp_path / "mine.safetensors")
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=4, ky=32, kx=32, n_coils=1))
    assert call_main(monkeypatch, "recon", tmp_path / "scan.h5", "--model", tmp_path / "mine.safetensors") == 0
    assert (tmp_path / "scan.mine.h5").exists()


def test_the_list_as_json(monkeypatch, capsys, checkpoint):
    call_main(monkeypatch, "models", "import", checkpoint)
    capsys.readouterr()
    assert call_main(monkeypatch, "models", "--json") == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["slrnet-radial-16"]["weights"] == "imported"
    assert entries["slrnet-radial-16"]["card"]["licence"] == "GPL-3.0"
    assert entries["slrnet"]["path"].endswith("weights.safetensors")
    assert entries["ktslr"]["n_parameters"] is None


def test_a_network_without_weights_is_refused_with_a_hint(monkeypatch, capsys, tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=4, ky=32, kx=32, n_coils=1))
    shutil.copytree(
        models_folder() / "jotlasnet", tmp_path / "jotlasnet", ignore=shutil.ignore_patterns("*.safetensors")
    )
    assert call_main(monkeypatch, "recon", tmp_path / "scan.h5", "--model", tmp_path / "jotlasnet") == 2
    error = capsys.readouterr().err
    assert "there are no weights for jotlasnet yet" in error
    assert "cinerecon models import" in error


def test_errors_name_the_argument_and_not_an_option_of_another_command(monkeypatch, capsys, tmp_path):
    assert call_main(monkeypatch, "models", "show", "nope") == 2
    assert "where  name of the method\n" in capsys.readouterr().err
    assert call_main(monkeypatch, "models", "show", str(tmp_path)) == 2
    assert "there is no model.yaml in this folder" in capsys.readouterr().err
    assert call_main(monkeypatch, "train", "nope", "-o", str(tmp_path / "run")) == 2
    assert "where  nope, the recipe\n" in capsys.readouterr().err
