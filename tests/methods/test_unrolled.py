from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from helpers import complex_randn, relative_error
from safetensors.torch import save_file

from cinerecon import networks
from cinerecon.data.cine import CineData
from cinerecon.errors import ConfigError, WeightsError
from cinerecon.methods.table import load_method
from cinerecon.methods.unrolled import build_unrolled as build
from cinerecon.methods.unrolled import image_scale
from cinerecon.physics.operators import Encoding

build_unrolled = partial(build, load=load_method)
ARCHITECTURE = {"n_cascades": 2, "n_channels": 4, "coupling": 0.3, "step": 1.0}


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
    method, data = build_unrolled(str(folder)), _cine()
    scaled = CineData(data.kspace * factor, data.mask, data.csm)
    assert relative_error(method(scaled), method(data) * factor) < 1e-5


def test_batched_equals_looped_and_the_input_is_left_alone(folder):
    method, data = build_unrolled(str(folder)), _cine(batch=(2, 2))
    before = data.kspace.clone()
    batched = method(data)
    assert torch.equal(data.kspace, before)
    one = method(CineData(data.kspace[1, 0], data.mask[1, 0], data.csm[1, 0]))
    assert relative_error(batched[1, 0], one) < 1e-5


def test_the_scale_of_a_still_image_is_its_brightness():
    image = torch.ones(3, 20, 20, dtype=torch.complex64)
    image[:, 0, 0] = 1000  # a hot pixel does not count
    assert float(image_scale(image)) == pytest.approx(1)


def test_settings_and_ablation_reach_the_network(folder):
    data = _cine()
    full = build_unrolled(str(folder))(data)
    without = build_unrolled(str(folder), ["zeroed=[coupling]"])
    assert all(cascade.coupling.item() == 0 for cascade in without.net.cascades)
    assert relative_error(without(data), full) > 1e-3
    with pytest.raises(ConfigError, match="coupl"):
        build_unrolled(str(folder), ["zeroed=[coupl]"])


def test_weights_that_do_not_fit_are_named(folder, tmp_path):
    with pytest.raises(WeightsError, match=r"cascades\.1.*none|cascades\.2"):
        build_unrolled(str(folder), ["architecture.n_cascades=3"])
    with pytest.raises(WeightsError, match="the recipe has"):
        build_unrolled(str(folder), ["architecture.n_channels=5"])
    damaged = Path(tmp_path, "damaged.safetensors")
    damaged.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="cannot read"):
        build_unrolled(str(folder), weights=damaged)
    with pytest.raises(WeightsError, match="cannot read"):
        build_unrolled(str(folder), weights=tmp_path / "none")


def test_the_first_image_may_come_from_another_method(folder):
    data = _cine()
    uncoupled = ["zeroed=[coupling]"]  # the first image is the first low-rank part too
    without = build_unrolled(str(folder), uncoupled)(data)
    recipe = {"network": "slrnet", "architecture": ARCHITECTURE}
    for start, same in (("zerofilled", True), ("cgsense", False)):
        (folder / "model.yaml").write_text(yaml.safe_dump({**recipe, "start": {"method": start}}))
        found = build_unrolled(str(folder), uncoupled)(data)
        assert (relative_error(found, without) < 1e-5) == same
