"""The table loads by name, stays cheap to import, and helps with misspelt names."""

import subprocess
import sys

import pytest
import torch

from cinerecon.config import Config
from cinerecon.errors import ConfigError
from cinerecon.methods.model_file import models_folder, read_model
from cinerecon.methods.table import METHODS, find_method, load_method
from cinerecon.networks import NETWORKS, build, load_network

CLASSICAL = [name for name, method in METHODS.items() if method.kind == "classical"]


@pytest.mark.parametrize("name", METHODS)
def test_each_entry_is_under_its_own_name_and_imports(name):
    method = METHODS[name]
    assert method.name == name
    assert method.summary
    assert issubclass(method.config_class, Config)
    assert callable(method.load())


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_method_loads_with_its_defaults(name):
    assert load_method(name).config == METHODS[name].config_class()


@pytest.mark.parametrize("name", NETWORKS)
def test_each_network_is_a_file_a_class_and_its_settings(name):
    config_class, network = load_network(name)
    assert issubclass(config_class, Config)
    with torch.device("meta"):
        assert isinstance(build(name), network)


def test_networks_methods_and_the_folders_of_models_agree():
    deep = {name for name, method in METHODS.items() if method.kind == "deep"}
    recipes = {folder.name for folder in models_folder().iterdir() if folder.is_dir()}
    assert deep == recipes
    assert deep >= set(NETWORKS)
    for name in deep:
        assert read_model(name)[0].network == name.removesuffix("-lr")
        assert ("lowrank" in read_model(name)[0].architecture) == name.endswith("-lr")


def test_settings_reach_the_method():
    assert load_method("cgsense", ["n_iterations=7"]).config.n_iterations == 7


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="'ktsrl'") as caught:
        load_method("ktsrl")
    assert "did you mean 'ktslr'?" in caught.value.hint


def test_a_classical_method_refuses_weights(tmp_path):
    with pytest.raises(ConfigError, match="no weights"):
        load_method("zerofilled", weights=tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["runs/slrnet", "./slrnett/", "slrnet.safetensors"])
def test_a_missing_file_or_folder_is_no_misspelt_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no such model file or folder") as error:
        find_method(name)
    assert error.value.where == name


def test_a_folder_is_a_trained_network(tmp_path):
    assert find_method(str(tmp_path)).kind == "deep"


def test_importing_the_table_imports_no_method():
    code = (
        "import sys, cinerecon.methods.table; "
        "print([m for m in sys.modules if m in ('sigpy', 'torch') or m.startswith('cinerecon.methods.classical.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['cinerecon.methods.classical.config']"
