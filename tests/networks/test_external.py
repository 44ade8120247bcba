"""Networks from outside the package: their code is found, run, checked, kept with the weights, and compared."""

import shutil

import pytest
import torch
import yaml
from helpers import relative_error
from safetensors.torch import save_file
from small_recipe import RECIPE
from typer.testing import CliRunner

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.cli import app
from cinerecon.errors import CineReconError, ConfigError, FileError, WeightsError
from cinerecon.methods.base import fingerprint, make_encoding
from cinerecon.methods.model_file import ModelConfig, write_model
from cinerecon.methods.table import load_method
from cinerecon.training import DataPaths, TrainOptions, read_recipe, train

CODE = """
import torch
from torch import nn

from gains import FACTOR


class Gain(nn.Module):
    def __init__(self, gain: float = 2.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, kspace, encoding, start=None):
        return FACTOR * self.gain * encoding.adjoint(kspace)
"""


@pytest.fixture
def model(tmp_path):
    """A folder with a network of two files, its recipe and weights: the gain 3."""
    folder = tmp_path / "gain"
    folder.mkdir()
    (folder / "net.py").write_text(CODE)
    (folder / "gains.py").write_text("FACTOR = 1.0\n")
    recipe = {**RECIPE, "network": "net.py:Gain", "architecture": {"gain": 2.0}}
    (folder / "model.yaml").write_text(yaml.safe_dump(recipe))
    save_file({"gain": torch.tensor(3.0)}, folder / "weights.safetensors")
    return folder


@pytest.fixture
def data():
    torch.manual_seed(0)
    mask = torch.rand(4, 1, 12, 1) < 0.5
    return CineData(torch.randn(4, 1, 12, 10, dtype=torch.complex64) * mask, mask)


def test_its_image_is_that_of_its_code_and_weights(model, data):
    zerofilled = make_encoding(data).adjoint(data.kspace)
    assert relative_error(load_method(str(model))(data), 3 * zerofilled) < 1e-6


def test_folders_with_modules_of_the_same_name_are_kept_apart(model, data):
    other = model.with_name("other")
    shutil.copytree(model, other)
    (other / "gains.py").write_text("FACTOR = 10.0\n")
    images = [load_method(str(folder))(data) for folder in (model, other, model)]
    assert relative_error(images[1], 10 * images[0]) < 1e-6
    assert torch.equal(images[0], images[2])


def test_changed_code_runs_and_has_another_fingerprint(model, data):
    """Scores and slices that are kept by fingerprint must not be taken for those of the changed network."""
    before = load_method(str(model))
    (model / "gains.py").write_text("FACTOR = -1.0  # changed\n")
    after = load_method(str(model))
    assert relative_error(after(data), -before(data)) < 1e-6
    assert fingerprint(before) != fingerprint(after)
    moved = model.rename(model.with_name("moved"))
    assert fingerprint(load_method(str(moved))) == fingerprint(after)


def test_a_run_keeps_the_code_and_refuses_other_code(model, data, tmp_path):
    run = tmp_path / "run"
    settings = ["training.n_steps=1", "training.save_every=1", "training.n_validation=1", "reduce_noise=false"]
    train(read_recipe(model / "model.yaml", settings), run, TrainOptions(DataPaths(tmp_path / "cases")))
    image = load_method(str(run))(data)
    gain = load_method(str(run)).weights["gain"].item()
    assert relative_error(image, gain * make_encoding(data).adjoint(data.kspace)) < 1e-6
    shutil.rmtree(model)
    for name in ("run", "run/weights.safetensors", "run/last.safetensors"):
        assert torch.equal(load_method(str(tmp_path / name))(data), image)
    recipe = read_recipe(run / "model.yaml", ["training.n_steps=2"])
    train(recipe, run, TrainOptions(DataPaths(tmp_path / "cases"), resume=True))
    image = load_method(str(run))(data)
    (run / "gains.py").write_text("FACTOR = -1.0  # changed\n")
    with pytest.raises(WeightsError, match=r"net\.py is not the code with which the weights were trained"):
        load_method(str(run))
    assert relative_error(load_method(str(run), ["code_sha256=any"])(data), -image) < 1e-6
    with pytest.raises(ConfigError, match="was started with other settings: code_sha256"):
        train(recipe, run, TrainOptions(DataPaths(tmp_path / "cases"), resume=True))


def test_the_code_of_a_network_overwrites_no_other_code(model, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/gains.py").write_text("# precious\n")
    recipe = read_recipe(model / "model.yaml", ["training.n_steps=1", "training.n_validation=1"])
    with pytest.raises(FileError, match=r"another gains\.py"):
        train(recipe, tmp_path / "run", TrainOptions(DataPaths(tmp_path / "cases")))
    assert [path.read_text() for path in (tmp_path / "run").glob("[!.]*")] == ["# precious\n"]


def test_settings_class_and_settings_of_the_constructor(model):
    with pytest.raises(ConfigError, match=r"unknown setting 'gian'") as error:
        load_method(str(model), ["architecture.gian=2"])
    assert "did you mean 'gain'" in error.value.hint
    with pytest.raises(ConfigError, match="setting 'gain'"):
        load_method(str(model), ["architecture.gain=much"])
    own = "from cinerecon.config import Config\n\nclass GainConfig(Config):\n    gain: float = 5.0\n\n"
    code = CODE.replace("gain: float = 2.0", "config").replace("torch.tensor(gain)", "torch.tensor(config.gain)")
    (model / "net.py").write_text(own + code)
    assert networks.build(f"{model / 'net.py'}:Gain").gain.item() == 5


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ("class Gain", "class Gains", "no network 'Gain' in net.py", "did you mean 'Gains'"),
        ("FACTOR *", "FACTOR * (", "SyntaxError", "--debug"),
        ("from gains import FACTOR", "FACTOR = 1 / 0", "ZeroDivisionError", "--debug"),
        ("from gains import FACTOR", "from gians import FACTOR", "No module named 'gians'", "--debug"),
        ("from gains import FACTOR", "raise SystemExit(0)", "SystemExit", "--debug"),
        ("encoding, start=None", "mask", "which does not accept the arguments of a network", "forward(self, kspace"),
        ("(nn.Module)", "", "no network 'Gain'", "torch.nn.Module"),
    ],
)
def test_mistakes_in_the_code_are_named(model, old, new, what, hint):
    (model / "net.py").write_text(CODE.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load_method(str(model))
    assert what in error.value.what
    assert hint in error.value.hint
    assert error.value.where.startswith(str(model / "net.py"))


def test_the_line_of_a_failing_import_is_named(model):
    (model / "gains.py").write_text("\n\nFACTOR = 1 / 0\n")
    with pytest.raises(ConfigError) as error:
        load_method(str(model))
    assert error.value.where == f"{model / 'gains.py'}, line 3"


@pytest.mark.parametrize("part", [".abs()", "[..., :-1]", "[0]", ", {}"])
def test_outputs_that_are_no_image_are_refused(model, data, part):
    (model / "net.py").write_text(CODE.replace("adjoint(kspace)", f"adjoint(kspace){part}"))
    with pytest.raises(ConfigError, match=r"Gain returns .*, expected a complex image"):
        load_method(str(model))(data)


def test_outputs_that_are_no_image_are_refused_before_data_are_simulated(model, tmp_path):
    (model / "net.py").write_text(CODE.replace("adjoint(kspace)", "adjoint(kspace).abs()"))
    with pytest.raises(ConfigError, match=r"Gain returns .*, expected a complex image"):
        train(read_recipe(model / "model.yaml"), tmp_path / "run", TrainOptions(DataPaths(tmp_path / "cases")))
    assert not list((tmp_path / "cases").rglob("*.safetensors"))
    assert not (tmp_path / "run/model.yaml").exists()


def test_weights_run_no_file_of_another_folder(model, tmp_path):
    config = ModelConfig(network="../net.py:Gain", architecture={"gain": 1.0})
    write_model(tmp_path / "gain/evil.safetensors", {"gain": torch.tensor(1.0)}, config)
    (tmp_path / "net.py").write_text("raise AssertionError('this must not run')")
    with pytest.raises(ConfigError, match="is not in the folder of the weights"):
        load_method(str(tmp_path / "gain/evil.safetensors"))
    (model / "net.py").unlink()
    with pytest.raises(CineReconError, match=r"there is no file net\.py with the network"):
        load_method(str(model))


def test_code_is_announced_before_it_runs(model):
    (model / "net.py").write_text("raise ValueError")
    result = CliRunner().invoke(app, ["models", "show", str(model)])
    assert isinstance(result.exception, ConfigError)
    assert result.stderr == f"code     {model / 'net.py'} is executed: a network from outside the package\n"


@pytest.mark.parametrize("body", ["start", "(self.gain * start).detach()"])
def test_an_image_that_does_not_depend_on_the_weights_is_refused(model, tmp_path, body):
    code = CODE.replace("FACTOR * self.gain * encoding.adjoint(kspace)", body)
    (model / "net.py").write_text(code)
    recipe = read_recipe(model / "model.yaml", ["initial_method={method: zerofilled}"])
    with pytest.raises(ConfigError, match="does not depend on its weights"):
        train(recipe, tmp_path / "run", TrainOptions(DataPaths(tmp_path / "cases")))


@pytest.mark.parametrize("broken", ["__init__", "forward"])
def test_a_failure_of_its_code_is_reported_as_such(model, data, broken):
    lines = CODE.splitlines()
    number = next(n for n, line in enumerate(lines) if f"def {broken}" in line)
    lines.insert(number + 1, "        [].pop()")
    (model / "net.py").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=rf"Gain\.{broken} failed: IndexError") as caught:
        load_method(str(model), ["code_sha256=any"])(data)
    assert caught.value.where == f"{model / 'net.py'}, line {number + 2}"
