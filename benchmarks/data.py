"""How fast training data come, against how fast a training step takes them.

    python benchmarks/data.py [--recipe models/slrnet/model.yaml]

Draws masks of every pattern at 192 x 192 and 16 frames; then takes a few steps of a recipe, and draws its batches from
phantoms and from prepared cases with 0, 1 and 2 worker processes. The first image that a recipe may ask for is work of
a method, not of loading data: it is counted with the step, and its time is given.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch

from cinerecon.io.case import write_case
from cinerecon.io.case_index import IndexRow, append_rows
from cinerecon.methods.table import load_initial_method
from cinerecon.physics.fourier import ifft2c
from cinerecon.physics.sampling import PATTERNS, parse_mask
from cinerecon.simulation.scan import SimulateConfig, simulate_cine
from cinerecon.training import Recipe, init_state, optimizer_step, read_recipe, training_loss
from cinerecon.training.data import Batches, DataConfig, PhantomSource, PreparedSource, load_batches, open_pool

N_CASES = 4


def seconds(work: Callable[[int], object], n: int) -> float:
    """Median time of one piece of work, after one that is not counted."""
    work(0)
    times = []
    for number in range(1, n + 1):
        start = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - start)
    return median(times)


def print_masks() -> None:
    print("| mask, 16 x 192 x 192 | ms |\n|---|---|")
    for name in PATTERNS:
        spec = parse_mask("full" if name == "full" else f"{name}:{16 if name == 'radial' else 8}")
        print(f"| {spec} | {1e3 * seconds(lambda seed, spec=spec: spec.draw(16, 192, 192, seed), 15):.2f} |")


def write_prepared(folder: Path) -> None:
    """Fully sampled slices of 8 coils, as `cinerecon prepare` leaves them."""
    for number in range(N_CASES):
        (data,) = simulate_cine(SimulateConfig(seed=number, n_frames=25, ky=192, kx=192, n_coils=8))
        assert data.csm is not None
        reference = (data.csm.conj() * ifft2c(data.kspace)).sum(1)
        write_case(folder / f"{number}.h5", replace(data, reference=reference))
        sizes = (*data.kspace.shape, 1.0)
        row = IndexRow(f"{number}.h5", "train", str(number), "simulated", 0, 0, 1, *sizes, "", *["0" * 64] * 3)
        append_rows(folder, [row])


def time_step(recipe: Recipe, batches: Batches, n_steps: int) -> tuple[float, float]:
    """Time of a training step without its first image, and of the first image [s]."""
    start = load_initial_method(recipe)
    whole = replace(batches, start=start)
    drawn, with_image = (seconds(lambda n, one=one: one[n], n_steps) for one in (batches, whole))
    state = init_state(recipe)
    given = [whole[number] for number in range(n_steps + 1)]

    def take(n: int) -> None:
        training_loss(state.net, given[n], recipe.training).backward()
        optimizer_step(state, recipe.training)

    step = seconds(take, n_steps)
    return step, max(with_image - drawn, 0.0) if start else 0.0


def rate(batches: Batches, n_workers: int, n_batches: int) -> float:
    """Samples a second, once the workers are under way."""
    warm = 2 * n_workers + 1
    drawn = load_batches(batches, range(warm + n_batches), n_workers)
    for _ in range(warm):
        next(drawn)
    start = time.perf_counter()
    for _ in range(n_batches):
        next(drawn)
    return n_batches * batches.size / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", type=Path, default=Path("models/slrnet/model.yaml"))
    parser.add_argument("--steps", type=int, default=5, help="training steps to time")
    parser.add_argument("--batches", type=int, default=40, help="batches to draw for each rate")
    arguments = parser.parse_args()
    print_masks()
    recipe = read_recipe(arguments.recipe)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_prepared(folder)
        sources = {
            "phantoms, kept in files": PhantomSource(n_cases=N_CASES),
            "prepared, measured coils": PreparedSource(folder=folder),
            "prepared, combined image": PreparedSource(folder=folder, signal="combined"),
            "phantoms, each drawn once": PhantomSource(n_cases=100_000, keep=False),
        }
        of = {label: _batches(recipe, source, folder / "cases") for label, source in sources.items()}
        step, first = time_step(recipe, of["phantoms, kept in files"], arguments.steps)
        consumed = recipe.training.batch_size / (step + first)
        print(
            f"\n{recipe.network}, {torch.get_num_threads()} threads: a step takes {step:.3f} s, its first image",
            end=" ",
        )
        print(f"{first:.3f} s; {consumed:.2f} samples a second are consumed, {1 / step:.2f} without the first image\n")
        print("| samples a second | 0 workers | 1 worker | 2 workers | the fastest over what is consumed |")
        print("|---|---|---|---|---|")
        for label, batches in of.items():
            n_batches = 3 if "anew" in label else arguments.batches
            rates = [rate(batches, n, n_batches) for n in (0, 1, 2)]
            print(
                f"| {label} | {' | '.join(f'{value:.1f}' for value in rates)} | {max(rates) / consumed:.1f} |",
                flush=True,
            )


def _batches(recipe: Recipe, source: PhantomSource | PreparedSource, cache: Path) -> Batches:
    data = recipe.training.data
    config = DataConfig.parse({**data.model_dump(), "sources": {"only": source.model_dump()}})
    batches = Batches(open_pool(config, cache), config, recipe.training.batch_size, (0,))
    if not getattr(source, "keep", True):
        return batches
    for group in batches.pool.groups:
        for case in group.cases:
            case.motion()  # draws and keeps what is not there yet
    return batches


if __name__ == "__main__":
    main()
