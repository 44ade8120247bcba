"""Classical methods from outside the package: loaded by file and class, checked, and distinguished after a change."""

import pickle
import shutil
from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
import yaml
from forked import run_python
from helpers import relative_error
from small_recipe import RECIPE
from typer.testing import CliRunner

import cinerecon
from cinerecon.archives.shards import Shard
from cinerecon.cine import CineData
from cinerecon.cli import app
from cinerecon.errors import ConfigError, FileError, ShapeError, WeightsError
from cinerecon.evaluation.request import EvaluationRequest, select_with_tables
from cinerecon.evaluation.run import _Worker, evaluate
from cinerecon.evaluation.score import read_scores
from cinerecon.methods.base import fingerprint, make_encoding
from cinerecon.methods.catalogue import describe_model, list_all_settings
from cinerecon.methods.model_file import InitialMethodConfig, ModelConfig, model_label, write_model
from cinerecon.methods.table import load_method
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import run_batch
from cinerecon.reconstruction.record import merge_batch
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.trust.judge import method_without_verdict
from cinerecon.simulation.scan import SimulateConfig, simulate_scan
from cinerecon.training import DataPaths, TrainOptions, read_recipe, train
from cinerecon.training.run_folder import RunFolder

CODE = '''
from pydantic import Field

from cinerecon.config import Config
from cinerecon.methods.base import ClassicalMethod, make_encoding
from gains import FACTOR


class GainConfig(Config):
    """Settings."""

    gain: float = Field(default=2.0, gt=0, description="factor of the image")


class Gain(ClassicalMethod):
    """The zero-filled image times a factor.

    More text.
    """

    config_class = GainConfig

    def solve(self, data, progress, convergence):
        return FACTOR * self.config.gain * make_encoding(data).adjoint(data.kspace)
'''
CHANGED = "FACTOR = 10.0  # changed\n"
INITIAL = [
    "initial_method={method: 'my_method.py:Gain'}",
    *(f"training.{name}=1" for name in ("n_steps", "save_every")),
]


@pytest.fixture
def folder(tmp_path):
    """A folder with a method in two files: the zero-filled image times 2."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "my_method.py").write_text(CODE)
    (folder / "gains.py").write_text("FACTOR = 1.0\n")
    return folder


@pytest.fixture
def name(folder):
    return f"{folder / 'my_method.py'}:Gain"


@pytest.fixture
def data():
    torch.manual_seed(0)
    mask = torch.rand(4, 1, 12, 1) < 0.5
    return CineData(torch.randn(4, 1, 12, 10, dtype=torch.complex64) * mask, mask)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=2))
    return path


@pytest.fixture
def recipe(folder):
    (folder / "model.yaml").write_text(yaml.safe_dump(RECIPE))
    return read_recipe(folder / "model.yaml", INITIAL)


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_its_image_and_settings_are_those_of_its_code(name, folder, data, monkeypatch):
    zerofilled = make_encoding(data).adjoint(data.kspace)
    assert relative_error(load_method(name)(data), 2 * zerofilled) < 1e-6
    monkeypatch.chdir(folder)
    method = load_method("my_method.py:Gain", ["gain=3"])
    assert relative_error(method(data), 3 * zerofilled) < 1e-6
    assert model_label(method.name) == "Gain"
    assert method_without_verdict(method, "Gain") == "Gain has no verdict"
    assert relative_error(cinerecon.reconstruct(data.kspace, data.mask, method=name), 2 * zerofilled) < 1e-5
    with pytest.raises(ConfigError, match="unknown setting 'gian'") as error:
        load_method(name, ["gian=2"])
    assert "did you mean 'gain'" in error.value.hint
    with pytest.raises(ConfigError, match="takes no weights"):
        load_method(name, weights="weights.safetensors")


def test_changed_code_runs_and_has_another_fingerprint(name, folder, data):
    before = load_method(name)
    (folder / "gains.py").write_text(CHANGED)
    after = load_method(name)
    assert relative_error(after(data), 10 * before(data)) < 1e-6
    assert fingerprint(before) != fingerprint(after)
    moved = folder.rename(folder.with_name("moved")) / "my_method.py"
    assert fingerprint(load_method(f"{moved}:Gain")) == fingerprint(after)


def test_it_can_be_sent_to_other_processes(name, data):
    """As data loaders do on systems without fork, where the module of the class is not imported yet."""
    method = load_method(name, ["gain=3"])
    text = pickle.dumps(method)
    code = "import pickle, sys; m = pickle.load(sys.stdin.buffer); print(m.config.gain, m.name, m.code_sha256)"
    result = run_python(code, stdin=text)
    assert result.stdout.decode().split() == ["3.0", name, method.code_sha256]
    assert torch.equal(deepcopy(method)(data), method(data))


def test_it_is_described(name, folder):
    entry = describe_model(name)
    assert (entry.name, entry.kind, entry.path) == ("Gain", "classical", folder / "my_method.py")
    assert entry.summary == "The zero-filled image times a factor"
    assert [(setting.key, setting.value) for setting in list_all_settings(entry)] == [("gain", "2.0")]


@pytest.mark.parametrize(
    ("old", "new", "what", "hint"),
    [
        ("class Gain(", "class Gains(", "no method 'Gain' in my_method.py", "did you mean 'Gains'"),
        ("class Gain(ClassicalMethod)", "class Gain", "no method 'Gain'", "methods.base.ClassicalMethod"),
        ("def solve", "def solves", "Gain does not implement solve", "solve(self, data"),
        ("progress, convergence", "progress", "which does not accept the arguments", "solve(self, data"),
        ("def solve", "def __init__(self): ...\n\n    def solve", "cannot be created from its settings", "__init__"),
        ("config_class =", "settings =", "Gain has no config_class", "cinerecon.config.Config"),
        ("default=2.0, ", "", "the setting 'gain' of GainConfig has no default", "default"),
        ("return FACTOR", "return (", "the code of the method cannot be imported: SyntaxError", "--debug"),
        ("from gains import FACTOR", "FACTOR = 1 / 0", "ZeroDivisionError", "--debug"),
    ],
)
def test_mistakes_in_the_code_are_named(name, folder, old, new, what, hint):
    (folder / "my_method.py").write_text(CODE.replace(old, new))
    with pytest.raises(ConfigError) as error:
        load_method(name)
    assert what in error.value.what
    assert hint in error.value.hint
    assert error.value.where.startswith(str(folder / "my_method.py"))


def test_a_missing_file_or_class_is_named(folder):
    with pytest.raises(ConfigError, match=r"there is no file other\.py with the method"):
        load_method(f"{folder / 'other.py'}:Gain")
    with pytest.raises(ConfigError, match="but no class is given") as error:
        load_method(str(folder / "my_method.py"))
    assert "my_method.py:CLASS" in error.value.hint


@pytest.mark.parametrize("part", [".abs()", "[..., :-1]", "[0]", ", {}"])
def test_outputs_that_are_no_image_are_refused(name, folder, data, part):
    (folder / "my_method.py").write_text(CODE.replace("adjoint(data.kspace)", f"adjoint(data.kspace){part}"))
    with pytest.raises(ShapeError, match=r"Gain returns .*, expected a complex image \(4, 12, 10\)"):
        load_method(name)(data)


def test_a_class_with_the_name_of_a_method_gets_no_verdict(folder):
    code = "from cinerecon.methods.classical.admm_methods import KtSlr\n\n\nclass ktslr(KtSlr):\n    pass\n"
    (folder / "other.py").write_text(code)
    method = load_method(f"{folder / 'other.py'}:ktslr")
    assert "is not the method of that name in the package" in method_without_verdict(method, "ktslr")
    assert not method_without_verdict(load_method("ktslr"), "ktslr")


def test_two_classes_of_one_name_are_refused(name, folder, scan):
    shutil.copy(folder / "my_method.py", folder / "other.py")
    models = [name, f"{folder / 'other.py'}:Gain"]
    with pytest.raises(ConfigError, match="two methods would be called 'Gain'"):
        select_with_tables(models, ["gaussian:2"], None, ())
    with pytest.raises(ConfigError, match="two methods have the same name"):
        plan_batch([scan], models, [f"{folder}/"], [".npz"], ReconRequest(scan, models[0]))


def test_the_command_announces_and_records_the_code(name, folder, scan, tmp_path):
    output = tmp_path / "out.npz"
    result = run("recon", scan, "--model", name, "--set", "gain=3", "-o", output)
    assert result.exit_code == 0, result.output
    assert f"code     {folder / 'my_method.py'} is executed: a method from outside the package" in result.stderr
    with np.load(output) as file:
        assert f"code_sha256: {load_method(name).code_sha256}" in str(file["provenance"])
        assert str(file["method"]) == "Gain"
    (folder / "my_method.py").unlink()
    result = run("models", "show", name)
    assert isinstance(result.exception, ConfigError)
    assert not result.stderr


def test_images_of_changed_code_are_not_kept(name, folder, scan, tmp_path):
    command = ("recon", scan, "--model", name, "--resume", "--format", ".npz", "-o", f"{tmp_path}/out/")
    assert run(*command).exit_code == 0
    (image,) = (tmp_path / "out").rglob("*.Gain.npz")
    state = image.stat().st_mtime_ns
    assert run(*command).exit_code == 0
    assert image.stat().st_mtime_ns == state
    (folder / "gains.py").write_text(CHANGED)
    result = run(*command)
    assert result.exit_code == 2
    assert "with other weights, code or settings of the method" in result.stderr


def test_shards_of_different_code_are_not_merged(name, folder, scan, tmp_path):
    other = tmp_path / "other.h5"
    simulate_scan(other, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=2, seed=1))
    common = ReconRequest(scan, name, force=True)
    plan = partial(plan_batch, [scan, other], [name], [f"{tmp_path}/out/"], [".npz"], common)
    for number in (1, 2):
        run_batch(plan(shard=Shard(number, 2)))
    assert len(merge_batch(tmp_path / "out")) == 2
    (folder / "gains.py").write_text(CHANGED)
    run_batch(plan(shard=Shard(2, 2)))
    with pytest.raises(ConfigError, match=r"have different settings: fingerprints\.Gain is"):
        merge_batch(tmp_path / "out")


def test_scores_of_changed_code_are_not_kept(name, folder, scan, tmp_path):
    request = EvaluationRequest([name], ["gaussian:2"], output=tmp_path / "out")
    counts, scored = [], []
    for code in (None, None, CHANGED):
        if code:
            (folder / "gains.py").write_text(code)
        evaluate([scan], request, report=scored.append)
        counts.append(len(scored))
    assert counts == [1, 1, 2]
    assert {score.method for score in read_scores(tmp_path / "out")} == {"Gain"}


@pytest.mark.slow
def test_other_processes_load_it(name, scan, tmp_path):
    other = tmp_path / "other.h5"
    simulate_scan(other, SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=2, seed=1))
    request = EvaluationRequest([name, "zerofilled"], ["gaussian:2"])
    alone, together = (evaluate([scan, other], request, workers=n).scores for n in (1, 2))
    assert [(s.scan, s.method, s.psnr) for s in together] == [(s.scan, s.method, s.psnr) for s in alone]


def test_another_process_refuses_code_that_has_changed_since(name, folder):
    request = EvaluationRequest([name], ["gaussian:2"])
    worker = _Worker(request, {name: fingerprint(load_method(name))})
    (folder / "gains.py").write_text(CHANGED)
    with pytest.raises(FileError, match="the code or the weights of Gain have changed"):
        _ = worker.methods


def test_a_run_keeps_the_code_of_the_initial_method(recipe, folder, data, tmp_path):
    paths = DataPaths(tmp_path / "cases")
    train(recipe, tmp_path / "run", TrainOptions(paths))
    method = load_method(str(tmp_path / "run"))
    image = method(data)
    assert relative_error(method.initial_method(data), 2 * make_encoding(data).adjoint(data.kspace)) < 1e-6
    shutil.rmtree(folder)
    for source in ("run", "run/weights.safetensors"):
        assert torch.equal(load_method(str(tmp_path / source))(data), image)
    assert str(folder) not in (tmp_path / "run/model.yaml").read_text()
    again = read_recipe(tmp_path / "run/model.yaml", ["training.n_steps=2"])
    train(again, tmp_path / "run", TrainOptions(paths, resume=True))
    (tmp_path / "run/gains.py").write_text(CHANGED)
    with pytest.raises(WeightsError, match=r"my_method\.py is not the code with which the weights were trained"):
        load_method(str(tmp_path / "run"))
    with pytest.raises(ConfigError, match="was started with other settings: code_sha256"):
        train(again, tmp_path / "run", TrainOptions(paths, resume=True))


def test_weights_run_no_method_of_another_folder(folder, tmp_path):
    config = ModelConfig(network="slrnet", initial_method=InitialMethodConfig(method="../my_method.py:Gain"))
    write_model(folder / "evil.safetensors", {"gain": torch.tensor(1.0)}, config)
    (tmp_path / "my_method.py").write_text("raise AssertionError('this must not run')")
    with pytest.raises(ConfigError, match=r"the initial method '\.\./my_method.py:Gain' is not in the folder"):
        load_method(str(folder / "evil.safetensors"))


def test_different_files_of_one_name_are_not_copied_to_one_run(recipe, folder, tmp_path):
    (tmp_path / "my_method.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def forward(self, kspace, encoding, start=None): ...\n"
    )
    changed = recipe.model_copy(update={"network": f"{tmp_path / 'my_method.py'}:Net", "architecture": {}})
    with pytest.raises(FileError, match=r"network and initial method have different files my_method\.py"):
        RunFolder(tmp_path / "run")._copies_of_code(changed)


def test_code_of_an_initial_method_is_announced_wherever_it_is_named(name, folder, scan, tmp_path):
    """In a setting of the command, which replaces the initial method of the model."""
    settings = ("--set", f"initial_method.method={name}", "--set", "initial_method.settings=[gain=1.0]")
    result = run("recon", scan, "--model", "slrnet", *settings, "-o", tmp_path / "x.npz")
    assert f"code     {folder / 'my_method.py'} is executed" in result.stderr


@pytest.mark.parametrize("options", [(), ("--model", "zerofilled")])
def test_a_failure_of_its_code_is_reported_as_such(name, folder, scan, tmp_path, options):
    """With file and line, in the reconstruction of one scan and in a batch, where other methods go on."""
    path = folder / "my_method.py"
    path.write_text(path.read_text().replace("        return ", "        data.no_such_name\n        return "))
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "no_such_name" in text)
    output = f"{tmp_path}/out/" if options else tmp_path / "x.npz"
    result = run("recon", scan, "--model", name, *options, "-o", output)
    text = str(result.exception) if not options else result.stderr
    assert "Gain.solve failed: AttributeError" in text
    assert f"{path}, line {line}" in text
    if options:
        assert list((tmp_path / "out").glob("*zerofilled*.h5"))
