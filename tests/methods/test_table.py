"""The table loads by name, stays cheap to import, and helps with misspelt names."""

import subprocess
import sys

import pytest

from cinerecon.config import Config
from cinerecon.errors import ConfigError
from cinerecon.methods.table import METHODS, find_method, load_method

CLASSICAL = [name for name, method in METHODS.items() if method.kind == "classical"]


@pytest.mark.parametrize("name", METHODS)
def test_each_entry_is_under_its_own_name_and_imports(name):
    method = METHODS[name]
    config_class, build = method.load()
    assert method.name == name
    assert method.summary
    assert issubclass(config_class, Config)
    assert callable(build)


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_classical_method_loads_with_its_defaults(name):
    config_class, _ = METHODS[name].load()
    assert load_method(name).config == config_class()


def test_settings_reach_the_method():
    assert load_method("cgsense", ["n_iterations=7"]).config.n_iterations == 7


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="'ktsrl'") as caught:
        load_method("ktsrl")
    assert "did you mean 'ktslr'?" in caught.value.hint


def test_a_classical_method_refuses_weights(tmp_path):
    with pytest.raises(ConfigError, match="no weights"):
        load_method("zerofilled", weights=tmp_path / "weights.safetensors")


def test_a_folder_that_is_not_there_is_an_unknown_method(tmp_path):
    with pytest.raises(ConfigError, match="unknown method"):
        find_method(str(tmp_path / "run"))


def test_a_folder_is_a_trained_network(tmp_path):
    assert find_method(str(tmp_path)).kind == "deep"


def test_importing_the_table_imports_no_method():
    code = (
        "import sys, cinerecon.methods.table; "
        "print([m for m in sys.modules if m == 'sigpy' or m.startswith('cinerecon.methods.')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['cinerecon.methods.base', 'cinerecon.methods.table']"
