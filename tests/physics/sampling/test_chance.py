import numpy as np
import pytest

from cinerecon.physics.sampling.rng import choose, fractions, lowest, make_generator, scatter


def test_numbers_are_those_of_the_raw_stream():
    raw = np.random.Philox(5).random_raw(6)
    assert np.array_equal(fractions(make_generator(5), 2, 3).ravel(), [int(r) // 2**11 / 2**53 for r in raw])


def test_a_generator_goes_on_where_it_is():
    rng = make_generator(1)
    first, second = fractions(rng, 3), fractions(rng, 3)
    assert np.array_equal(np.concatenate([first, second]), fractions(make_generator(1), 6))


def test_lowest_of_each_row():
    keys = np.array([[3.0, 1, 2, 0], [0, 5, 4, 9]])
    assert lowest(keys, 2).tolist() == [[False, True, False, True], [True, False, True, False]]
    assert not lowest(keys, 0).any()


def test_choice_is_successive_and_follows_the_weights():
    weights, n = np.array([0, 1.0, 2, 4]), 40_000
    once = choose(make_generator(0), weights, n, 1).mean(0)
    assert once == pytest.approx(weights / 7, abs=0.01)
    twice = choose(make_generator(1), weights, n, 2).mean(0)
    # the first with w / 7, the second with w over what the first leaves
    expected = [
        w / 7 + sum(v / 7 * w / (7 - v) for j, v in enumerate(weights) if j not in (0, i))
        for i, w in enumerate(weights)
    ]
    assert twice == pytest.approx(np.array(expected), abs=0.01)
    assert choose(make_generator(2), weights, 50, 3)[:, 1:].all()


def test_scatter_keeps_the_highest_products():
    density = np.linspace(0.1, 1, 60).reshape(6, 10)
    chosen = scatter(make_generator(3), density, 4, acceleration=5)
    rng = make_generator(3)
    for frame in chosen:
        scores = fractions(rng, 60) * density.ravel()
        assert frame.sum() == 60 / 5 + 1
        assert set(np.argsort(scores)[-13:]) == set(np.flatnonzero(frame))
