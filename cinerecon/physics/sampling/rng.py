"""Random choice that comes out the same on every machine and with every version of NumPy.

NumPy promises that of the raw integers of a generator, not of what its distributions make of them. Here everything is
made of these integers by multiplication and comparison. Where a density or a logarithm enters, its last bits may differ
between machines; to move a sample they would have to meet a tie, which one mask in 10^10 has.
"""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]


def make_generator(seed: int | Generator) -> Generator:
    """A counter-based generator (Philox) of a seed; a generator is passed on."""
    return seed if isinstance(seed, Generator) else Generator(np.random.Philox(seed))


def fractions(rng: Generator, *shape: int) -> Numbers:
    """Uniform numbers in [0, 1) of 53 random bits each."""
    raw = np.asarray(rng.bit_generator.random_raw(math.prod(shape)))
    raw >>= np.uint64(11)
    values: Numbers = np.multiply(raw, 2.0**-53).reshape(shape)
    return values


def lowest(keys: Numbers, count: int) -> Flags:
    """The entries that are among the `count` lowest of their row, ``(rows, n)``."""
    if count == 0:
        return np.zeros(keys.shape, dtype=bool)
    return keys <= np.partition(keys, count - 1, axis=1)[:, count - 1 : count]


def choose(rng: Generator, weights: Numbers, n_rows: int, count: int) -> Flags:
    """In each row choose `count` of n entries without replacement, ``(rows, n)``.

    One after the other, each with a probability in proportion to its weight among those that are left. That is the same
    as a race: entry i arrives after an exponential time of rate w_i, and the first `count` are taken (Efraimidis and
    Spirakis 2006, 10.1016/j.ipl.2005.11.003). Entries of weight 0 never arrive.
    """
    arrival = -np.log1p(-fractions(rng, n_rows, len(weights)))
    return lowest(np.divide(arrival, weights, out=np.full_like(arrival, np.inf), where=weights > 0), count)


def scatter(rng: Generator, density: Numbers, n_rows: int, acceleration: float) -> Flags:
    """In each row the entries of the highest products of a uniform number and the density, ``(rows, *axes)``.

    One more than n / acceleration, as the program `vds_density` is from keeps all that reach the next score.
    """
    count = min(round(density.size / acceleration) + 1, density.size)
    chosen, bound = np.empty((n_rows, density.size), dtype=bool), -1.0
    for row in chosen:  # one at a time, so that it stays in the cache
        scores = fractions(rng, density.size)
        scores *= density.ravel()
        likely = scores[scores > bound]
        threshold = np.partition(likely if len(likely) >= count else scores, -count)[-count]
        np.greater_equal(scores, threshold, out=row)
        bound = 0.9 * threshold  # it differs little from row to row, and to sort a part is cheaper
    return chosen.reshape(n_rows, *density.shape)
