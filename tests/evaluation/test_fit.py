"""An image that lies or shines unlike its truth is told, and one that does not is left alone."""

import pytest
import torch

from cinerecon.evaluation.orientation_check import TURNS, doubts_about_fit

TRUTH = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(0))


def test_nothing_is_said_of_what_fits():
    noisy = TRUTH + 0.05 * torch.randn(3, 12, 12, generator=torch.Generator().manual_seed(1))
    assert list(doubts_about_fit(noisy, TRUTH)) == []
    assert list(doubts_about_fit(torch.zeros(3, 12, 12), TRUTH)) == []


def test_a_factor_is_told_where_it_matters():
    assert list(doubts_about_fit(1000 * TRUTH, TRUTH)) == ["brighter by a factor of 1000?"]
    assert list(doubts_about_fit(TRUTH / 4, TRUTH)) == ["darker by a factor of 4?"]
    assert list(doubts_about_fit(1000 * TRUTH, TRUTH, sees_scale=False)) == []


@pytest.mark.parametrize("name", [name for name in TURNS if name])
def test_each_way_to_lie_is_told(name):
    """All but two of them undo themselves; those two undo each other."""
    undone = {"y and x swapped, flipped along y": "y and x swapped, flipped along x"}
    undone |= {there: here for here, there in undone.items()}
    assert list(doubts_about_fit(TURNS[name](TRUTH), TRUTH)) == [f"{undone.get(name, name)}?"]


def test_what_is_not_square_is_turned_within_its_shape():
    assert list(doubts_about_fit(TRUTH[:, :8].flip(-1), TRUTH[:, :8])) == ["flipped along x?"]
