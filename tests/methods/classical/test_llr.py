"""Locally low rank: blocks of the image, not the whole."""

import pytest

from cinerecon.methods.classical.admm import LowRankPenalty
from cinerecon.methods.classical.config import LlrConfig
from cinerecon.methods.classical.llr import Llr
from cinerecon.methods.classical.zerofilled import ZeroFilled
from cinerecon.metrics.measures import psnr


def test_it_is_low_rank_alone():
    (penalty,) = Llr().penalties()
    assert isinstance(penalty, LowRankPenalty)


@pytest.mark.parametrize("settings", [{}, {"p": 1.0, "weight_lowrank": 2e-3}])
def test_one_coil_gains_over_zero_filling(make_cine, settings):
    data = make_cine(n_coils=1)
    assert psnr(Llr(LlrConfig(**settings))(data), data.reference) > psnr(ZeroFilled()(data), data.reference) + 6
