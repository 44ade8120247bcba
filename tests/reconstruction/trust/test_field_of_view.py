"""Wrap-around is recognised by signal that continues across the edges, in the images of the coils."""

from dataclasses import replace

import pytest
import torch

from cinerecon.cine import CineData
from cinerecon.physics.fourier import fft2c
from cinerecon.reconstruction.trust.artefacts import LOWEST_WRAP_DB, edge_values, excess_across
from cinerecon.reconstruction.trust.consistency import brightness_of
from cinerecon.simulation.phantom import draw_coil_maps

ROWS, FIRST = 64, 13
"""Rows of the field of view, and rows of the body that are outside of it at each end."""


def body():
    y, x = torch.meshgrid(torch.linspace(-1.4, 1.4, ROWS + 2 * FIRST), torch.linspace(-1, 1, 64), indexing="ij")
    return ((1 + 0.5 * torch.sin(3 * y) + 0.3 * torch.cos(9 * x + y)) * (y.abs() < 1.3)).to(torch.complex64)


def values_of(data, image):
    return edge_values(data, image, brightness_of(image))


def scan_of(coils, image, csm=None):
    mask = torch.ones(8, 1, ROWS, 1, dtype=torch.bool)
    return CineData(fft2c(coils).expand(8, -1, -1, -1), mask, csm), image.expand(8, -1, -1)


def cut(values):
    return values[..., FIRST : FIRST + ROWS, :]


def folded(values):
    result = cut(values).clone()
    result[..., -FIRST:, :] += values[..., :FIRST, :]
    result[..., :FIRST, :] += values[..., FIRST + ROWS :, :]
    return result


@pytest.mark.parametrize("n_coils", [1, 4])
def test_wrap_around_differs_from_a_body_that_is_cut(n_coils):
    maps = draw_coil_maps(3, n_coils, (ROWS + 2 * FIRST, 64)) if n_coils > 1 else None
    coils = body()[None] * maps if n_coils > 1 else body()[None]
    csm = None if maps is None else cut(maps)
    cut_values, folded_values = (values_of(*scan_of(part(coils), cut(body()), csm)) for part in (cut, folded))
    assert cut_values["edge_signal"] > -12
    assert folded_values["wrap_around"] > -15
    assert folded_values["wrap_around"] > cut_values["wrap_around"] + 8


def test_no_sign_of_wrap_around_where_the_body_ends_or_the_phase_differs():
    turned = folded(body()) * torch.exp(0.5j * torch.linspace(-1.4, 1.4, ROWS))[:, None]
    whole = values_of(*scan_of(folded(body())[None], folded(body())))["wrap_around"]
    assert values_of(*scan_of(turned[None], turned))["wrap_around"] < whole - 3
    ends = torch.cat([body()[FIRST + 17 :], torch.zeros(4, 64)])[:ROWS]
    ends = torch.cat([ends, torch.zeros(ROWS - len(ends), 64)])
    assert values_of(*scan_of(ends[None], ends))["wrap_around"] == LOWEST_WRAP_DB


def test_rows_that_are_discarded_may_hold_wrapped_tissue():
    data, image = scan_of(folded(body())[None], folded(body()))
    oversampled = replace(data, meta=replace(data.meta, crop_y=ROWS // 2))
    assert values_of(oversampled, image)["wrap_around"] == LOWEST_WRAP_DB


def test_a_step_across_the_edges_exceeds_the_slope_inside():
    rows = torch.cat([torch.arange(10.0), torch.arange(14.0, 24.0)])[None, :, None].to(torch.complex64)
    assert excess_across(rows, 1) == pytest.approx(13.98, abs=0.01)  # 5 instead of 1
    assert excess_across(rows, 3) == pytest.approx(7.36, abs=0.01)  # 7 instead of 3
