"""The contract of all methods; a new entry of the table is tested without a change here."""

from dataclasses import replace

import pytest
import torch
from few_iterations import load_short
from helpers import relative_error
from safetensors.torch import save_file

from cinerecon import networks
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError
from cinerecon.methods.base import ClassicalMethod
from cinerecon.methods.model_file import WEIGHTS, models_folder, read_model
from cinerecon.methods.table import METHODS, load_method
from cinerecon.metrics.measures import psnr

GAIN_OVER_ZEROFILLED_DB = {
    "zerofilled": 0.0,
    "viewshared": 4.0,
    "cgsense": 2.0,
    "ktslr": 8.0,
    "ktslr-reference": 6.0,
    "llr": 6.0,
    "ttv": 6.0,
    "lps": 4.0,
}
"""What a classical method must gain on the small beating cine with 4 coils."""


@pytest.fixture(params=METHODS)
def name(request):
    return request.param


SMALL = ("architecture.n_cascades=3", "architecture.n_channels=4")
"""Small random weights for networks without shipped ones; the contract holds for any weights and size."""


@pytest.fixture
def method(name, tmp_path):
    if METHODS[name].kind == "classical" or (models_folder() / name / WEIGHTS).exists():
        return load_short(name)
    config = read_model(name)[0].with_settings(SMALL)
    torch.manual_seed(0)
    save_file(networks.build(config.network, config.architecture).state_dict(), tmp_path / WEIGHTS)
    return load_short(name, SMALL, weights=tmp_path / WEIGHTS)


@pytest.mark.parametrize(("n_coils", "n_frames", "matrix"), [(4, 8, (24, 21)), (1, 7, (25, 24)), (3, 5, (23, 25))])
def test_the_image_has_the_axes_of_the_reference_and_is_finite(method, make_cine, n_coils, n_frames, matrix):
    data = make_cine(n_coils, n_frames, matrix)
    image = method(data)
    assert image.shape == data.reference.shape
    assert image.dtype == data.kspace.dtype
    assert image.device == data.kspace.device
    assert image.isfinite().all()


@pytest.mark.parametrize("n_coils", [1, 4])
def test_the_image_scales_with_the_data(method, make_cine, n_coils):
    data = make_cine(n_coils)
    image = method(data)
    for scale in (1e-6, 1e4):
        scaled = method(replace(data, kspace=scale * data.kspace))
        assert relative_error(scaled, scale * image) < 1e-3


def test_the_input_is_left_untouched(method, make_cine):
    data, copy = make_cine(), make_cine()
    method(data)
    for field in ("kspace", "mask", "csm", "reference"):
        assert torch.equal(getattr(data, field), getattr(copy, field))


def test_the_reference_is_not_used(method, make_cine):
    data = make_cine()
    assert torch.equal(method(replace(data, reference=None)), method(data))


@pytest.mark.parametrize("n_coils", [1, 4])
def test_a_batch_is_the_slices_one_by_one(method, make_cine, n_coils):
    slices = [make_cine(n_coils, seed=seed) for seed in (0, 1)]
    slices[1] = replace(slices[1], kspace=30 * slices[1].kspace)
    batch = CineData(
        kspace=torch.stack([one.kspace for one in slices]),
        mask=torch.stack([one.mask for one in slices]),
        csm=None if n_coils == 1 else torch.stack([one.csm for one in slices]),
    )
    for found, one in zip(method(batch), slices, strict=True):
        assert relative_error(found, method(one)) < 1e-4


def test_progress_runs_to_its_end(method, make_cine):
    calls = []
    method(make_cine(), lambda done, total: calls.append((done, total)))
    assert calls
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert all(0 <= done <= total for done, total in calls)


def test_a_given_initial_image_replaces_that_of_the_initial_method(method, make_cine):
    data = make_cine()
    if method.initial_method is None and not isinstance(method, ClassicalMethod):
        return  # a network that starts from the zero-filled image, if no other is given
    if method.initial_method is None:
        assert torch.equal(method.reconstruct(data, initial_image=torch.zeros_like(data.reference)).image, method(data))
        return
    initial = method.initial_method(data)
    assert relative_error(method.reconstruct(data, initial_image=initial).image, method(data)) < 1e-5
    assert relative_error(method.reconstruct(data, initial_image=0.5 * initial).image, method(data)) > 1e-3


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.kind == "classical"])
def test_a_gpu_gives_the_image_of_the_cpu(name, make_cine, n_coils):
    data, method = make_cine(n_coils), load_short(name)
    image = method(data.to("cuda"))
    assert image.device.type == "cuda"
    assert relative_error(image.cpu(), method(data)) < 1e-3


def test_recording_the_convergence_does_not_change_the_image(method, make_cine):
    data = make_cine()
    made, record = method(data), method.reconstruct(data, record=True)
    assert relative_error(record.image, made) < 1e-5
    assert method.reconstruct(data).convergence is None
    record = record.convergence
    assert (record is not None) == method.is_iterative
    if record is None:
        return
    assert len(record.cost) == len(record.data_residual) == len(record.change) > 1
    assert 0 < record.data_residual[-1] < 1
    assert 0 <= record.change[-1] < record.change[0]


def test_a_wrong_setting_names_the_nearest_one(name):
    fields = list(METHODS[name].config_class.model_fields)
    if METHODS[name].kind == "deep" or not fields:
        with pytest.raises(ConfigError, match="unknown setting"):
            load_method(name, ["no_such_setting=1"])
        return
    with pytest.raises(ConfigError, match="unknown setting") as caught:
        load_method(name, [fields[0] + "s=1"])
    assert f"did you mean '{fields[0]}'?" in caught.value.hint


@pytest.mark.parametrize("n_coils", [1, 4])
@pytest.mark.parametrize("name", ["zerofilled", "cgsense"])
def test_linear_methods_return_the_truth_from_full_sampling(name, make_cine, n_coils):
    data = make_cine(n_coils, per_frame=None)
    assert relative_error(load_method(name)(data), data.reference) < 2e-3


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.kind == "classical"])
def test_classical_methods_gain_over_zero_filling(name, make_cine):
    data = make_cine()
    method = load_short(name) if name == "ktslr-reference" else load_method(name)
    gain = psnr(method(data), data.reference) - psnr(load_method("zerofilled")(data), data.reference)
    assert gain >= GAIN_OVER_ZEROFILLED_DB[name]
