"""Phantoms of the tests of the simulation are drawn each time."""

import pytest

from cinerecon.simulation import slices
from cinerecon.simulation.phantom import draw_slice


@pytest.fixture(scope="package", autouse=True)
def _phantoms_are_drawn_each_time():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "draw_slice", draw_slice)
        yield
