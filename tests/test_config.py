"""Settings as texts: nested ones, and those that are mistyped, named with the nearest."""

import ast
import pickle
import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.config import Config, read_yaml
from cinerecon.errors import ConfigError
from cinerecon.methods.classical.admm_methods import KtSlr
from cinerecon.methods.classical.config import LpsConfig
from cinerecon.methods.classical.linear import CgSense
from cinerecon.methods.model_file import ModelConfig
from cinerecon.methods.table import load_method
from cinerecon.networks.config import DcCnnConfig, IstaNetConfig, SlrNetConfig
from cinerecon.networks.dccnn import DcCnn
from cinerecon.options import split_settings
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine

PACKAGE = Path(__file__).parents[1] / "cinerecon"


def test_settings_reach_into_nested_settings_that_are_null():
    config = ModelConfig(network="slrnet").with_settings(["initial_method.method=ttv"])
    assert config.initial_method is not None and config.initial_method.method == "ttv"


def test_paths_of_settings_may_begin_with_the_home_folder(monkeypatch, tmp_path):
    class Files(Config):
        one: Path
        several: tuple[Path, ...] = ()

    monkeypatch.setenv("HOME", str(tmp_path))
    files = Files.parse({"one": "~/a.npz", "several": ["~/b", "c"]})
    assert (files.one, *files.several) == (tmp_path / "a.npz", tmp_path / "b", Path("c"))


def test_former_names_of_settings_are_read_and_reported(caplog):
    former = {
        "network": "istanet",
        "start": {"method": "ttv", "settings": ["n_iterations=3"]},
        "intake": {"whiten": False},
        "zeroed": ["step"],
        "card": {"persons": ["ab01"]},
    }
    config = ModelConfig.parse(former)
    assert config.initial_method is not None and config.initial_method.settings == ("n_iterations=3",)
    assert config.preprocessing == {"whiten": False} and config.zeroed_parameters == ("step",)
    assert config.card.subjects == ("ab01",)
    assert not caplog.records  # files of users are read without remarks
    changed = config.with_settings(["start.method=llr", "intake.whiten=true"])
    assert changed.initial_method is not None and changed.initial_method.method == "llr"
    assert changed.initial_method.settings == ("n_iterations=3",) and changed.preprocessing == {"whiten": True}
    assert "--set: the setting 'start' is now called 'initial_method'" in caplog.text


def test_former_names_apply_to_every_base_class():
    config = IstaNetConfig.parse({"output_gain": 0.5, "lowrank": {"place": "L1", "level": 0.3}})
    assert config.output_weight_scale == 0.5 and config.lowrank is not None
    assert (config.lowrank.position, config.lowrank.prox_weight) == ("L1", 0.3)
    assert SlrNetConfig.parse({"output_gain": 0.5, "level": 0.2}).prox_weight == 0.2
    assert SlrNetConfig().with_settings(["level=0.4"]).prox_weight == 0.4


def test_a_variant_brings_its_defaults():
    assert SlrNetConfig().with_settings(["variant=code"]).n_cascades == 10
    assert SlrNetConfig().with_settings(["variant=code", "n_cascades=3"]).n_cascades == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_iterations.x=1", "n_iterations.*no settings of its own"),
        ("n_iterations=[1", "not YAML"),
        ("n_iterations", "not key=value"),
        ("n_iteration=1", "unknown setting"),
    ],
)
def test_mistyped_settings_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        LpsConfig(n_iterations=7).with_settings([text])


def test_the_nearest_name_is_that_of_the_nested_settings():
    with pytest.raises(ConfigError) as caught:
        DcCnnConfig.parse({"lowrank": {"rnk": 1}})
    assert "did you mean 'rank'" in str(caught.value.hint)


def test_a_recipe_that_is_no_text_is_an_error(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes("größe: 1".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot read"):
        read_yaml(path)


class Disc(Config):
    kind: Literal["disc"] = "disc"
    radius: float = 1.0


class Box(Config):
    kind: Literal["box"] = "box"
    width: float = Field(default=1.0, gt=0)


class Scene(Config):
    shapes: dict[str, Disc | Box] = Field(default={}, description="by name")
    back: Disc | None = None
    first: Disc | Box = Field(default=Disc(), discriminator="kind")


class Tagged(Config):
    scene: Scene = Scene()
    size: int = 1


@pytest.mark.parametrize(
    ("setting", "named", "hint"),
    [
        ("sise=2", "sise", "did you mean 'size'? known: scene, size"),
        ("scene.shape={}", "scene.shape", "did you mean 'shapes'?"),
        ("scene.back.radus=2", "scene.back.radus", "did you mean 'radius'? known: kind, radius"),
        ("scene.first={kind: box, widht: 2}", "scene.first.widht", "did you mean 'width'? known: kind, width"),
        ("scene.first={kind: box, width: -2}", "scene.first.width", ""),
    ],
)
def test_a_wrong_key_is_named_with_the_nearest(setting, named, hint):
    with pytest.raises(ConfigError) as caught:
        Tagged().with_settings([setting])
    assert f"setting '{named}'" in caught.value.what
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("scene.first={width: 2}", "setting 'scene.first.kind' is missing"),
        ("scene.first={kind: cone}", "setting 'scene.first.kind' is 'cone', expected 'disc', 'box'"),
    ],
)
def test_a_wrong_kind_is_named_with_the_known_ones(setting, what):
    with pytest.raises(ConfigError) as caught:
        Tagged().with_settings([setting])
    assert caught.value.what == what


def test_settings_that_contradict_each_other_name_no_key():
    with pytest.raises(ConfigError) as caught:
        SimulateConfig.parse({"segments": 4, "beats": 2})
    assert caught.value.what == "give either segments or, for a real-time scan, beats"


def test_the_message_of_a_value_does_not_name_its_kind():
    with pytest.raises(ConfigError, match="setting 'n_virtual_coils': expected a whole number of at least 1, or auto"):
        AcquisitionConfig.parse({"n_virtual_coils": 0})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("network: slrnet\nnetwork: istanet\n", "the key 'network' occurs twice"),
        ("training: {n_steps: 3, seed: 1, n_steps: 4}\n", "the key 'n_steps' occurs twice"),
    ],
)
def test_a_key_that_occurs_twice_is_an_error(tmp_path, text, what):
    """The YAML library would take the last value."""
    path = tmp_path / "model.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=what):
        read_yaml(path)


def test_a_key_may_override_what_is_merged(tmp_path):
    path = tmp_path / "model.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n")
    assert read_yaml(path)["b"] == {"x": 1, "y": 3}


class Numbers(Config):
    n: int = 1
    width: float | None = None
    is_on: bool = False


@pytest.mark.parametrize("setting", ["n=yes", "width=true", "n=off"])
def test_a_truth_value_is_no_number(setting):
    with pytest.raises(ConfigError, match=f"setting '{setting.partition('=')[0]}': expected a number, found"):
        Numbers().with_settings([setting])
    assert Numbers().with_settings(["is_on=yes", "n=2", "width=null"]) == Numbers(is_on=True, n=2)


@pytest.mark.parametrize(
    ("config", "values", "what", "hint"),
    [
        (SimulateConfig, {"n_frame": 3}, "unknown setting 'n_frame'", "did you mean 'n_frames'?"),
        (
            SimulateConfig,
            {"n_frames": 0},
            "setting 'n_frames': input should be greater than or equal to 1, found 0",
            "",
        ),
        (SimulateConfig, {"n_frames": True}, "setting 'n_frames': expected a number, found True", ""),
        (SimulateConfig, {"noise": float("inf")}, "setting 'noise': input should be a finite number, found inf", ""),
        (SimulateConfig, {"segments": 4, "beats": 2}, "give either segments or, for a real-time scan, beats", ""),
        (DcCnnConfig, {"lowrank": {"rnk": 1}}, "unknown setting 'lowrank.rnk'", "did you mean 'rank'?"),
        (DcCnnConfig, {"lowrank": {"rank": True}}, "setting 'lowrank.rank': expected a number, found True", ""),
        (
            DcCnnConfig,
            {"lowrank": {"position": "l1"}},
            "setting 'lowrank.position': input should be 'L1', 'L2' or 'L3', found 'l1'",
            "",
        ),
        (ModelConfig, {}, "setting 'network' is missing", ""),
    ],
)
def test_the_constructor_names_the_wrong_setting_as_the_command_line_does(config, values, what, hint):
    with pytest.raises(ConfigError) as of_constructor:
        config(**values)
    with pytest.raises(ConfigError) as of_command:
        config.parse(values, where="--set")
    for caught in of_constructor, of_command:
        assert caught.value.what == what and caught.value.hint.startswith(hint)
    assert of_constructor.value.where == config.__name__
    # also catchable as the error of pydantic is, which is its cause
    assert isinstance(of_constructor.value, ValueError) and isinstance(of_constructor.value.__cause__, ValidationError)
    copied = pickle.loads(pickle.dumps(of_constructor.value))
    assert (copied.what, copied.where, copied.hint) == (what, config.__name__, of_constructor.value.hint)


def nodes():
    """All nodes of the syntax trees of the sources."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def descriptions():
    """The descriptions of all fields of settings and options, from the sources."""
    for node in nodes():
        if isinstance(node, ast.keyword) and node.arg == "description" and isinstance(node.value, ast.Constant):
            yield node.value.value


def test_type_checkers_see_the_defaults_of_all_settings():
    """Without the plugin of pydantic they know `Field` by its keywords alone (PEP 681)."""
    fields = [node for node in nodes() if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Field"]
    assert len(fields) > 400
    assert [ast.unparse(field) for field in fields if field.args] == []


def test_descriptions_are_phrases_without_capital_and_period():
    texts = list(descriptions())
    assert len(texts) > 200
    names = ("Adam", "Python", "TensorFlow", "Siemens")
    assert [t for t in texts if t.endswith(".") or (re.match("[A-Z][a-z]", t) and not t.startswith(names))] == []


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ("n_iterations=7", "['n_iterations=7']"),
        ({"n_iterations": 7}, "['n_iterations=7']"),
        ([7], "['n_iterations=20']"),
        (7, "['n_iterations=20']"),
    ],
)
def test_settings_are_a_list_of_texts(settings, hint):
    for apply in (LpsConfig().with_settings, lambda values: load_method("lps", values), split_settings):
        with pytest.raises(ConfigError, match="settings must be a list of key=value strings") as caught:
            apply(settings)
        assert caught.value.hint == hint


@pytest.mark.parametrize("make", [simulate_cine, KtSlr, CgSense, DcCnn])
@pytest.mark.parametrize("config", [{}, {"n_frames": 3}, 3, LpsConfig()])
def test_settings_of_another_type_are_named(make, config):
    with pytest.raises(ConfigError, match=f"settings are of type {type(config).__name__}, expected"):
        make(config)
