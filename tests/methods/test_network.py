"""Networks as methods: scale, demodulation, precision of the convolutions."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from helpers import complex_randn, relative_error
from safetensors.torch import load_file, save_file
from torch.nn import functional

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError, WeightsError
from cinerecon.methods.base import make_encoding
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import ModelConfig, read_model, write_model
from cinerecon.methods.network import NetworkMethod, is_bfloat16_accurate
from cinerecon.methods.network import build_network as build
from cinerecon.methods.normalisation import demodulate_encoding, image_scale, mean_phase, scale_of
from cinerecon.methods.table import load_method
from cinerecon.physics.operators import Encoding

build_network = partial(build, load=load_method)
ARCHITECTURE = {"n_cascades": 2, "n_channels": 4, "coupling": 0.3, "step": 1.0}
CPU = torch.device("cpu")
NAMES = ("slrnet", "istanet", "dccnn", "crnn", "lsnet", "passnet", "jotlasnet", "t2lrnet", "stvarnet")


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    net = networks.build("slrnet", ARCHITECTURE)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"network": "slrnet", "architecture": ARCHITECTURE}))
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    return tmp_path


def _cine(coils=2, batch=()):
    mask = torch.rand(*batch, 5, 1, 10, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    csm = complex_randn(*batch, coils, 10, 9, dtype=torch.complex64)
    csm = csm / csm.abs().square().sum(-3, keepdim=True).sqrt()
    image = complex_randn(*batch, 5, 10, 9, seed=1, dtype=torch.complex64)
    return CineData(Encoding(mask, csm).forward(image), mask, csm)


@pytest.mark.parametrize("factor", [1e-6, 1e4])
def test_scale_is_taken_from_the_data_and_given_back(folder, factor):
    method, data = build_network(str(folder)), _cine()
    scaled = CineData(data.kspace * factor, data.mask, data.csm)
    assert relative_error(method(scaled), method(data) * factor) < 1e-5


def test_batched_equals_looped_and_the_input_is_left_alone(folder):
    method, data = build_network(str(folder)), _cine(batch=(2, 2))
    before = data.kspace.clone()
    batched = method(data)
    assert torch.equal(data.kspace, before)
    one = method(CineData(data.kspace[1, 0], data.mask[1, 0], data.csm[1, 0]))
    assert relative_error(batched[1, 0], one) < 1e-5


@pytest.mark.parametrize("demodulate", ["true", "false"])
def test_coils_in_parts_give_the_same_image(folder, demodulate, monkeypatch):
    data, expected = _cine(coils=5), build_network(str(folder), [f"demodulate={demodulate}"])(_cine(coils=5))
    method = build_network(str(folder), [f"demodulate={demodulate}", "coils_at_once=2"])
    sizes, transform = set(), torch.fft.fftn
    monkeypatch.setattr(
        torch.fft, "fftn", lambda x, *args, **kwargs: sizes.add(x.shape[-3]) or transform(x, *args, **kwargs)
    )
    assert relative_error(method(data), expected) < 1e-5
    assert sizes == {1, 2}


def test_the_scale_of_a_still_image_is_its_brightness():
    image = torch.ones(3, 20, 20, dtype=torch.complex64)
    image[:, 0, 0] = 1000  # a hot pixel does not count
    assert float(image_scale(image)) == pytest.approx(1)


@pytest.mark.parametrize("coils", [1, 2])
def test_a_demodulated_network_sees_an_image_that_is_real_on_time_average(folder, coils):
    seen = {}

    class Spy(torch.nn.Module):
        def forward(self, kspace, encoding, start=None):
            assert start is None  # no first image was configured
            seen["image"] = encoding.adjoint(kspace)
            return 2 * seen["image"]

    data = _cine(coils)
    data = data if coils > 1 else CineData(data.kspace, data.mask, None)
    data = CineData(data.kspace, torch.ones_like(data.mask), data.csm)
    method = build_network(str(folder), ["demodulate=true"])
    method.net = Spy()
    image = method(data)
    average = seen["image"].mean(1)
    assert float(average.imag.abs().max()) < 1e-5 * float(average.abs().max())
    expected = 2 * Encoding(data.mask, data.csm, matrix=data.matrix).adjoint(data.kspace)
    assert relative_error(image, expected) < 1e-5


def test_settings_and_ablation_reach_the_network(folder):
    data = _cine()
    full = build_network(str(folder))(data)
    without = build_network(str(folder), ["zeroed_parameters=[coupling]"])
    assert all(cascade.coupling.item() == 0 for cascade in without.net.cascades)
    assert relative_error(without(data), full) > 1e-3
    with pytest.raises(ConfigError, match="coupl"):
        build_network(str(folder), ["zeroed_parameters=[coupl]"])


def test_weights_that_do_not_fit_are_named(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"cascades\.1.*none|cascades\.2"):
        build_network(str(folder), ["architecture.n_cascades=3"])
    with pytest.raises(WeightsError, match="the recipe has"):
        build_network(str(folder), ["architecture.n_channels=5"])
    damaged = Path(tmp_path, "damaged.safetensors")
    damaged.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot read"):
        build_network(str(folder), weights=damaged)
    with pytest.raises(WeightsError, match="cannot read"):
        build_network(str(folder), weights=tmp_path / "none")


def test_the_initial_image_may_come_from_another_method(folder):
    data = _cine()
    uncoupled = ["zeroed_parameters=[coupling]"]  # the first image is the first low-rank part too
    without = build_network(str(folder), uncoupled)(data)
    recipe = {"network": "slrnet", "architecture": ARCHITECTURE}
    for start, same in (("zerofilled", True), ("cgsense", False)):
        (folder / "model.yaml").write_text(yaml.safe_dump({**recipe, "initial_method": {"method": start}}))
        found = build_network(str(folder), uncoupled)(data)
        assert (relative_error(found, without) < 1e-5) == same


@pytest.mark.parametrize("rule", ["brightness", "max", "kspace_max"])
@pytest.mark.parametrize("coils", [1, 3])
def test_every_scale_grows_with_the_data_and_is_undone(folder, make_cine, rule, coils):
    data = make_cine(coils)
    tenfold = CineData(10 * data.kspace, data.mask, data.csm)
    assert float(scale_of(tenfold, rule)) == pytest.approx(10 * float(scale_of(data, rule)), rel=1e-5)
    method = build_network(str(folder), [f"scale={rule}"])
    assert relative_error(method(tenfold), 10 * method(data)) < 1e-5


def test_scales_are_what_they_say(make_cine):
    full, data = make_cine(1, per_frame=None), make_cine(1)
    assert float(scale_of(full, "max")) == pytest.approx(float(full.reference.abs().max()), rel=1e-5)
    assert 0.6 < float(scale_of(data, "max") / full.reference.abs().max()) < 1.1
    assert float(scale_of(data, "kspace_max")) == float(full.kspace.abs().max())  # its centre is sampled
    nothing = CineData(torch.zeros_like(data.kspace), data.mask)
    assert all(float(scale_of(nothing, rule)) > 0 for rule in ("brightness", "max", "kspace_max"))


def test_the_network_gets_data_of_the_scale_of_its_recipe(folder, make_cine):
    data, seen = make_cine(1), []
    method = build_network(str(folder), ["scale=kspace_max"])
    method.net.register_forward_pre_hook(lambda _, __, named: seen.append(named["zerofilled"]), with_kwargs=True)
    method(CineData(7 * data.kspace, data.mask))
    expected = make_encoding(data).adjoint(data.kspace / data.kspace.abs().max())
    assert relative_error(seen[0][0], expected) < 1e-6


def test_a_network_that_needs_kspace_gets_it_at_the_same_scale(folder, make_cine):
    data, seen = make_cine(1), []
    method = build_network(str(folder), ["scale=kspace_max"])
    expected = method(data)
    method.net.needs_kspace = True
    method.net.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    assert relative_error(method(data), expected) < 1e-5
    assert float(seen[0].abs().max()) == pytest.approx(1)


def test_a_file_is_another_form_of_the_folder(folder, tmp_path):
    recipe = {
        "network": "slrnet",
        "architecture": ARCHITECTURE,
        "scale": "max",
        "initial_method": {"method": "cgsense", "settings": ["n_iterations=3"]},
        "preprocessing": {"csm": "walsh"},
        "training": {"n_steps": 3},
        "card": {"licence": "MIT", "trained_on": "[nothing]", "reports": "{little}"},
    }
    (folder / "model.yaml").write_text(yaml.safe_dump(recipe))
    config, weights = read_model(folder)
    write_model(tmp_path / "one.safetensors", load_file(weights), config)
    assert read_model(tmp_path / "one.safetensors")[0] == config == ModelConfig.parse(recipe)
    assert config.card == Card(licence="MIT", trained_on="[nothing]", reports="{little}")
    data = _cine()
    assert torch.equal(load_method(str(tmp_path / "one.safetensors"))(data), build_network(str(folder))(data))


def test_imported_models_go_by_their_name(folder, imported_models):
    imported_models.mkdir()
    write_model(imported_models / "mine.safetensors", load_file(folder / "weights.safetensors"), read_model(folder)[0])
    assert torch.equal(load_method("mine")(_cine()), build_network(str(folder))(_cine()))
    with pytest.raises(ConfigError, match="unknown method 'mini'") as error:
        load_method("mini")
    assert "did you mean 'mine'" in error.value.hint


def test_a_network_without_weights_says_how_to_get_some(tmp_path, imported_models):
    bare = tmp_path / "jotlasnet"
    bare.mkdir()
    (bare / "model.yaml").write_text("network: jotlasnet\n")
    with pytest.raises(WeightsError, match="there are no weights for jotlasnet yet") as error:
        load_method(str(bare))
    assert "cinerecon models import" in error.value.hint
    assert "cinerecon train" in error.value.hint
    imported_models.mkdir()
    config = ModelConfig(network="jotlasnet", architecture={"n_cascades": 1, "n_channels": 2})
    net = networks.build(config.network, config.architecture)
    write_model(imported_models / "theirs.safetensors", net.state_dict(), config)
    with pytest.raises(WeightsError, match="no weights for jotlasnet") as error:
        load_method(str(bare))
    assert "--model theirs" in error.value.hint


def test_files_that_are_no_models_are_named(tmp_path):
    for name, content, message in (
        ("a.safetensors", b"no weights", "cannot read the model"),
        ("a.pth", b"\x80", "not a model: a.pth"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises((ConfigError, WeightsError), match=message):
            load_method(str(tmp_path / name))
    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(WeightsError, match="weights without a recipe"):
        load_method(str(tmp_path / "bare.safetensors"))
    save_file({"a": torch.zeros(2)}, tmp_path / "bad.safetensors", {"network": "slrnet", "architecture": "{"})
    with pytest.raises(WeightsError, match="the recipe in the file is damaged"):
        load_method(str(tmp_path / "bad.safetensors"))


def test_any_precision_is_taken_and_the_image_is_the_callers(folder):
    """As of a classical method."""
    data, method = _cine(), build_network(str(folder))
    double = CineData(data.kspace.to(torch.complex128), data.mask, data.csm.to(torch.complex128))
    image = method(double)
    assert relative_error(image, method(data)) < 1e-5
    image *= 2  # no inference tensor


def test_the_brightness_of_a_cine_is_a_high_percentile():
    ramp = torch.linspace(0, 1, 2001)[None, None].to(torch.complex64)
    assert float(image_scale(ramp)) == pytest.approx(0.995, abs=1e-4)


def test_cyclic_network_sees_no_jump_at_the_ends_of_a_series_in_real_time(tmp_path):
    """It is as if the series ran back after its end; a gated cine is a circle as it is."""
    torch.manual_seed(0)
    architecture = {"n_cascades": 1, "n_channels": 8, "n_blocks": 2}
    net = networks.build("stvarnet", architecture)
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({"network": "stvarnet", "architecture": architecture}))
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    method, data = build_network(str(tmp_path)), _cine()
    there_and_back = [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]
    longer = replace(data, kspace=data.kspace[there_and_back], mask=data.mask[there_and_back])
    real_time = replace(data, meta=replace(data.meta, is_real_time=True))
    assert relative_error(method(real_time), method(longer)[:5]) < 1e-6
    assert relative_error(method(real_time), method(data)) > 1e-4


def test_initial_image_of_a_series_in_real_time_is_that_of_its_method(tmp_path):
    """Neither the wrap-around in time nor the mirror image of the series affects it."""
    model = {"network": "stvarnet", "architecture": {"n_cascades": 1, "n_channels": 8, "n_blocks": 2}}
    net = networks.build("stvarnet", model["architecture"])
    (tmp_path / "model.yaml").write_text(yaml.safe_dump({**model, "initial_method": {"method": "ktslr"}}))
    save_file(net.state_dict(), tmp_path / "weights.safetensors")
    method, data = build_network(str(tmp_path)), _cine()
    real_time = replace(data, meta=replace(data.meta, is_real_time=True))
    initial_image = method.initial_method(real_time)
    assert relative_error(initial_image, method.initial_method(data)) > 1e-4
    assert relative_error(method(real_time), method.reconstruct(real_time, initial_image=initial_image).image) < 1e-6


@pytest.mark.parametrize("smoothing", [0.0, 2.5])
def test_phase_factors_have_magnitude_one_and_nothing_has_the_phase_zero(smoothing):
    image = complex_randn(2, 4, 9, 8)
    assert torch.allclose(mean_phase(image, smoothing).abs(), torch.ones(2, 9, 8, dtype=torch.float64))
    assert torch.equal(mean_phase(torch.zeros(1, 3, 3, 3) + 0j, smoothing), torch.ones(1, 3, 3) + 0j)


def test_without_smoothing_the_mean_is_real_and_positive():
    image = complex_randn(5, 9, 8)
    mean = (image * mean_phase(image).conj()).mean(0)
    assert mean.real.min() >= 0
    assert mean.imag.abs().max() < 1e-12


def test_a_smooth_phase_is_found_among_noise():
    y, x = torch.meshgrid(torch.arange(48.0), torch.arange(40.0), indexing="ij")
    phase = torch.polar(torch.ones(48, 40), torch.sin(2 * torch.pi * y / 48) + torch.cos(2 * torch.pi * x / 40))
    image = (phase + 0.5 * complex_randn(48, 40, dtype=torch.complex64)).expand(6, 48, 40)
    errors = [relative_error(mean_phase(image, smoothing), phase) for smoothing in (0.0, 3.0)]
    assert errors[1] < 0.1 < 0.3 < errors[0]


def test_smoothing_has_the_width_of_a_gaussian_in_pixels():
    point = torch.zeros(1, 64, 64, dtype=torch.complex128)
    point[0, 32, 32] = 1j
    background = torch.ones_like(point) * 1e-3
    weight = torch.tan(mean_phase(point + background, 3.0).angle())  # of the point over that of the background
    assert float(weight[32, 38] / weight[32, 32]) == pytest.approx(torch.exp(torch.tensor(-2.0)).item(), rel=2e-2)


def test_the_operator_of_the_demodulate_encoding_image_makes_the_same_data():
    image, mask = complex_randn(1, 5, 9, 8), torch.rand(1, 5, 1, 9, 1) < 0.5
    for csm in (None, complex_randn(1, 3, 9, 8, seed=1)):
        encoding = Encoding(mask, csm, matrix=(9, 8), dtype=torch.complex128)
        phase = mean_phase(image, 2.0)
        turned = demodulate_encoding(encoding, phase)
        assert relative_error(turned.forward(image * phase[:, None].conj()), encoding.forward(image)) < 1e-12


@pytest.fixture
def native(monkeypatch):
    """A processor that computes faster in bfloat16; torch emulates it elsewhere."""
    monkeypatch.setattr("cinerecon.networks.bfloat16.is_native", lambda _: True)


def make_method(precision="auto", name="dccnn"):
    torch.manual_seed(0)
    architecture = {"n_cascades": 2, "n_channels": 8}
    config = ModelConfig(network=name, architecture=architecture, precision=precision)
    return NetworkMethod(networks.build(name, architecture), config)


def make_cine():
    mask = torch.rand(6, 1, 32, 1, generator=torch.Generator().manual_seed(0)) < 0.5
    image = complex_randn(6, 32, 24, seed=1, dtype=torch.complex64)
    return CineData(Encoding(mask, matrix=(32, 24)).forward(image), mask, None)


@pytest.mark.parametrize("name", NAMES)
def test_networks_give_the_same_image_in_bfloat16(name, native):
    assert is_bfloat16_accurate(make_method(name=name).net, CPU)


def test_convolutions_are_in_bfloat16_and_the_image_is_in_single_precision(native):
    half, single = (make_method(precision)(make_cine()) for precision in ("auto", "float32"))
    assert half.dtype == torch.complex64
    assert 1e-6 < relative_error(half, single) < 1e-2


def test_a_processor_without_bfloat16_computes_in_single_precision(monkeypatch):
    monkeypatch.setattr("cinerecon.networks.bfloat16.is_native", lambda _: False)
    assert torch.equal(*(make_method(precision)(make_cine()) for precision in ("auto", "float32")))


def wrong_in_bfloat16(convolve, factor):
    def wrong(*args, **kwargs):
        result = convolve(*args, **kwargs)
        return result * factor if result.dtype == torch.bfloat16 else result

    return wrong


@pytest.mark.parametrize("factor", [float("nan"), 1.15])
def test_a_library_with_wrong_convolutions_in_bfloat16_is_not_used(native, monkeypatch, factor):
    for name in ("conv2d", "conv3d"):
        monkeypatch.setattr(functional, name, wrong_in_bfloat16(getattr(functional, name), factor))
    method = make_method()
    assert not method.computes_in_bfloat16
    assert bool(method(make_cine()).isfinite().all())
