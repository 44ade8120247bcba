"""Batches come at the scale of the recipe."""

import pytest
import torch
from small_recipe import ZeroFilled

from cinerecon.data.cine import CineData
from cinerecon.methods.unrolled import scale_of
from cinerecon.workflows.train.feed import Places, open_feed, validate


def open_scaled(make_recipe, cases, scale, *settings):
    recipe = make_recipe(*settings).with_settings([f"scale={scale}"])
    return open_feed(recipe, Places(cases))


@pytest.mark.parametrize("scale", ["max", "kspace_max"])
@pytest.mark.parametrize("coils", [1, 2])
def test_every_patch_has_the_scale_that_the_recipe_asks_for(make_recipe, cases, scale, coils):
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
    tensors = (batch.kspace, batch.encoding.mask, batch.encoding.csm, batch.target, *batch.held_back[:1])
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert batch.held_back[1].mask.device.type == "meta"
