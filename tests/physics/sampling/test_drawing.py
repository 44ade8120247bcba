import numpy as np
import pytest

from cinerecon.physics.sampling.drawing import (
    choose_weighted,
    make_rng,
    sample_by_density,
    select_lowest,
    uniform_numbers,
)


def test_numbers_are_those_of_the_raw_stream():
    raw = np.random.Philox(5).random_raw(6)
    assert np.array_equal(uniform_numbers(make_rng(5), 2, 3).ravel(), [int(r) // 2**11 / 2**53 for r in raw])


def test_a_generator_goes_on_where_it_is():
    rng = make_rng(1)
    first, second = uniform_numbers(rng, 3), uniform_numbers(rng, 3)
    assert np.array_equal(np.concatenate([first, second]), uniform_numbers(make_rng(1), 6))


def test_lowest_of_each_row():
    keys = np.array([[3.0, 1, 2, 0], [0, 5, 4, 9]])
    assert select_lowest(keys, 2).tolist() == [[False, True, False, True], [True, False, True, False]]
    assert not select_lowest(keys, 0).any()


def test_choice_is_successive_and_follows_the_weights():
    weights, n = np.array([0, 1.0, 2, 4]), 40_000
    once = choose_weighted(make_rng(0), weights, n, 1).mean(0)
    assert once == pytest.approx(weights / 7, abs=0.01)
    twice = choose_weighted(make_rng(1), weights, n, 2).mean(0)
    # the first with w / 7, the second with w over what the first leaves
    expected = [
        w / 7 + sum(v / 7 * w / (7 - v) for j, v in enumerate(weights) if j not in (0, i))
        for i, w in enumerate(weights)
    ]
    assert twice == pytest.approx(np.array(expected), abs=0.01)
    assert choose_weighted(make_rng(2), weights, 50, 3)[:, 1:].all()


def test_scatter_keeps_the_highest_products():
    density = np.linspace(0.1, 1, 60).reshape(6, 10)
    chosen = sample_by_density(make_rng(3), density, 4, acceleration=5)
    rng = make_rng(3)
    for frame in chosen:
        scores = uniform_numbers(rng, 60) * density.ravel()
        assert frame.sum() == 60 / 5 + 1
        assert set(np.argsort(scores)[-13:]) == set(np.flatnonzero(frame))
