"""Noise above that of the training is reduced before a network, with a warning; other scans are not changed."""

from dataclasses import replace

import pytest
import torch
from helpers import relative_error

from cinerecon.cine import CineData
from cinerecon.methods.card import Card
from cinerecon.methods.card_warnings import card_warnings
from cinerecon.methods.classical.admm_methods import KtSlr
from cinerecon.methods.model_file import WEIGHTS, models_folder, read_model
from cinerecon.methods.normalisation import excessive_noise, image_scale, with_less_noise
from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import compare
from cinerecon.physics.coils import estimate_csm
from cinerecon.physics.operators import Encoding
from cinerecon.physics.sampling import parse_mask
from cinerecon.simulation.phantom import PhantomConfig, draw_coil_maps, draw_phantom

CARD = Card(noise=(0.004, 0.05))


def _scan(noise, coils=4, pattern="gaussian:8", size=64, seed=3):
    """A phantom with the given noise relative to its maximum, and its image."""
    image = draw_phantom(seed, PhantomConfig(n_frames=12, matrix=(size, size)))
    mask = torch.from_numpy(parse_mask(pattern).draw(12, size, size, seed))
    csm = draw_coil_maps(seed, coils, (size, size)) if coils > 1 else None
    kspace = Encoding(mask, csm, matrix=(size, size)).forward(image)
    generator = torch.Generator().manual_seed(seed)
    kspace = kspace + noise * mask * torch.randn(kspace.shape, dtype=kspace.dtype, generator=generator)
    return CineData(kspace, mask, estimate_csm(kspace, mask, "smooth")), image


@pytest.mark.parametrize("coils", [1, 8])
@pytest.mark.parametrize("pattern", ["gaussian:8", "equispaced:4", "vista:6", "radial:16", "vds:8", "full"])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_usual_noise_is_neither_reduced_nor_reported(coils, pattern, noise):
    data, _ = _scan(noise, coils, pattern)
    assert excessive_noise(CARD, data) == 0
    assert card_warnings(CARD, data) == []


@pytest.mark.parametrize("factor", [1e-8, 1e8])
@pytest.mark.parametrize("coils", [1, 8])
def test_strong_noise_is_reported_in_units_of_the_training(coils, factor):
    data, image = _scan(0.15, coils)
    data = replace(data, kspace=data.kspace * factor)
    assert excessive_noise(CARD, data) == pytest.approx(0.15 / float(image_scale(image)) / 0.05, rel=0.35)
    (text,) = card_warnings(CARD, data)
    assert "of the image brightness, the network was trained up to 5%: expect little or no advantage over ktslr" in text
    assert excessive_noise(Card(), data) == 0
    assert card_warnings(Card(), data) == []


def test_the_samples_move_towards_those_of_the_image_of_ktslr():
    data, _ = _scan(0.15)
    predicted = Encoding(data.mask, data.csm).forward(KtSlr()(data))
    reduced = with_less_noise(data, 0.25)
    assert relative_error(reduced.kspace - predicted, 0.25 * (data.kspace - predicted)) < 1e-4
    assert torch.equal(reduced.kspace * reduced.mask, reduced.kspace)


def test_the_noise_of_the_training_is_read_from_the_shipped_weights():
    names = [path.parent.name for path in models_folder().glob(f"*/{WEIGHTS}")]
    assert "stvarnet" in names
    assert {read_model(name)[0].card.noise for name in names} == {(0.004, 0.05)}


@pytest.mark.parametrize("coils", [1, 4])
def test_default_network_is_better_than_ktslr_with_strong_noise(coils):
    """Without the reduction, its PSNR is lower by up to 5 dB."""
    data, image = _scan(0.2, coils)
    method, plain = (load_method("stvarnet", [f"reduce_noise={flag}"]) for flag in ("true", "false"))
    psnr = {name: compare(m(data), image)["psnr"] for name, m in (("on", method), ("off", plain), ("ktslr", KtSlr()))}
    assert psnr["on"] > psnr["ktslr"]
    assert psnr["on"] > psnr["off"] + 0.5


def test_a_scan_with_usual_noise_has_the_same_image_without_the_reduction():
    data, _ = _scan(0.03)
    method, plain = (load_method("stvarnet", [f"reduce_noise={flag}"]) for flag in ("true", "false"))
    assert torch.equal(method(data), plain(data))
