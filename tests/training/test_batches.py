"""Batches have the scale of the recipe."""

import json

import pytest
import torch
from small_recipe import ZeroFilled

from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.methods.normalisation import scale_of
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.run import prepare
from cinerecon.simulation.scan import SimulateConfig, simulate_scan
from cinerecon.training.batches import DataPaths, network_input, open_training_data, training_preprocessing
from cinerecon.training.validation import validate


def open_scaled(make_recipe, cases, scale, *settings):
    recipe = make_recipe(*settings).with_settings([f"scale={scale}"])
    return open_training_data(recipe, DataPaths(cases))


@pytest.mark.parametrize("scale", ["max", "kspace_max"])
@pytest.mark.parametrize("coils", [1, 2])
def test_every_patch_has_the_scale_of_the_recipe(make_recipe, cases, scale, coils):
    batch = open_scaled(make_recipe, cases, scale, f"data.coils={coils}").batches[0]
    plain = open_scaled(make_recipe, cases, "brightness", f"data.coils={coils}").batches[0]
    for n in range(2):
        csm = None if coils == 1 else batch.encoding.csm[n]
        cine = CineData(batch.kspace[n], batch.encoding.mask[n], csm)
        assert float(scale_of(cine, scale)) == pytest.approx(1, rel=1e-5)
        factor = plain.kspace[n].abs().max() / batch.kspace[n].abs().max()
        assert torch.allclose(batch.target[n] * factor, plain.target[n], rtol=1e-4, atol=1e-6)


def test_validation_does_not_depend_on_the_scale(make_recipe, cases):
    qualities = [
        validate(ZeroFilled(), open_scaled(make_recipe, cases, scale).draw_validation())
        for scale in ("brightness", "max", "kspace_max")
    ]
    assert qualities == pytest.approx([qualities[0]] * 3, abs=1e-3)


def test_batches_move_whole(make_recipe, cases):
    batch = open_scaled(make_recipe, cases, "brightness", "loss=ssdu", "data.coils=2").batches[0].to("meta")
    tensors = (batch.kspace, batch.encoding.mask, batch.encoding.csm, batch.target, *batch.loss_samples[:1])
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert batch.loss_samples[1].mask.device.type == "meta"


@pytest.mark.parametrize("loss", ["mse", "ssdu"])
@pytest.mark.parametrize("coils", [1, 2])
def test_a_demodulated_batch_is_real_on_time_average_and_measures_the_same(make_recipe, cases, coils, loss):
    recipe = make_recipe(f"data.coils={coils}", f"loss={loss}")
    plain = open_training_data(recipe, DataPaths(cases)).batches[0]
    turned = open_training_data(recipe.with_settings(["demodulate=true"]), DataPaths(cases)).batches[0]
    average = network_input(turned).mean(1)
    assert float(average.imag.abs().max()) < 1e-5 * float(average.abs().max())
    assert float(average.real.min()) > -1e-6
    assert torch.equal(turned.kspace, plain.kspace)
    for one, other in ((plain, turned), *([(plain.loss_samples, turned.loss_samples)] if loss == "ssdu" else [])):
        first, second = (x[1] if isinstance(x, tuple) else x.encoding for x in (one, other))
        assert torch.allclose(first.forward(plain.target), second.forward(turned.target), atol=1e-5)


def test_kept_batches_are_shared_by_runs_of_the_same_data_alone(make_recipe, tmp_path):
    settings = ("data.n_cached_batches=2", "data.n_cached_frames=3")
    first, again = (open_training_data(make_recipe(*settings), DataPaths(tmp_path)).batches for _ in range(2))
    assert first[1].target.shape[1] == 3
    assert torch.equal(first[1].kspace, again[1].kspace)
    folders = list(tmp_path.glob("batches-*"))
    assert len(folders) == 1
    assert [path.name for path in folders[0].iterdir()] == ["1.safetensors"]
    other = open_training_data(make_recipe(*settings, "data.p_noise_free=0.5"), DataPaths(tmp_path)).batches
    assert other[0].target.shape[1] == 3
    assert len(list(tmp_path.glob("batches-*"))) == 2


def test_weights_hold_the_preprocessing_of_their_training_cases(make_recipe, tmp_path):
    """So that `recon` prepares a scan as the cases were."""
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=3, ky=24, kx=24, n_coils=3))
    for name, settings in {"a": {"csm": "walsh", "n_virtual_coils": 2}, "b": {}}.items():
        config = PrepareConfig.parse({"preprocessing": settings, "split": (100, 0, 0)})
        prepare([tmp_path / "scan.h5"], tmp_path / name, config, workers=1, pictures=False)
    source = {name: {"kind": "prepared", "folder": str(tmp_path / name)} for name in ("a", "b")}
    recipe = make_recipe(f"data.sources={json.dumps({'one': source['a']})}")
    assert training_preprocessing(recipe) == {"csm": "walsh", "n_virtual_coils": 2}
    assert training_preprocessing(make_recipe(f"data.sources={json.dumps({'one': source['b']})}")) == {}
    with pytest.raises(ConfigError, match="prepared with the defaults, expected"):
        training_preprocessing(make_recipe(f"data.sources={json.dumps(source)}"))
