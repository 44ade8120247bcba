"""Rate at which training data are drawn, compared with the rate at which training steps use them.

    python benchmarks/data.py --recipe models/slrnet/model.yaml

Draws masks of every pattern for 16 frames of 192 x 192 points. Then takes a few training steps of a recipe, and draws
its batches from phantoms and from prepared cases with 0, 1 and 2 worker processes. The initial image that a recipe may
require is not part of loading the data: its time is added to that of the step, and printed.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from command import make_parser, positive, run_benchmark
from pages import markdown_head, markdown_row

from cinerecon.archives.case_index import IndexRow, append_rows
from cinerecon.io.case import write_case
from cinerecon.methods.table import load_initial_method
from cinerecon.physics.fourier import ifft2c
from cinerecon.physics.sampling import PATTERNS, parse_mask
from cinerecon.simulation.scan import SimulateConfig, simulate_cine
from cinerecon.training import Recipe, init_state, optimizer_step, read_recipe, training_loss
from cinerecon.training.data.batch import Batches
from cinerecon.training.data.config import DataConfig, PhantomSource, PreparedSource
from cinerecon.training.data.pool import open_pool
from cinerecon.training.data.workers import load_batches

N_CASES = 4
SLOW_BATCHES = 3
"""Number of batches to draw from phantoms that are simulated for each batch."""


def median_seconds(work: Callable[[int], object], n: int) -> float:
    """Median time of n calls, after one that is not timed [s]."""
    work(0)
    times = []
    for number in range(1, n + 1):
        start = time.perf_counter()
        work(number)
        times.append(time.perf_counter() - start)
    return median(times)


def print_masks() -> None:
    """Print the time to draw a mask of each pattern."""
    print(markdown_head(("mask, 16 x 192 x 192", "ms")))
    for name in PATTERNS:
        spec = parse_mask("full" if name == "full" else f"{name}:{16 if name == 'radial' else 8}")
        seconds = median_seconds(lambda seed, spec=spec: spec.draw(16, 192, 192, seed), 3)
        print(markdown_row((spec, f"{1e3 * seconds:.2f}")))


def write_prepared(folder: Path) -> None:
    """Write fully sampled slices of 8 coils in the format of `cinerecon prepare`."""
    for number in range(N_CASES):
        (data,) = simulate_cine(SimulateConfig(seed=number, n_frames=25, ky=192, kx=192, n_coils=8))
        assert data.csm is not None
        reference = (data.csm.conj() * ifft2c(data.kspace)).sum(1)
        write_case(folder / f"{number}.h5", replace(data, reference=reference))
        sizes = (*data.kspace.shape, 1.0)
        row = IndexRow(f"{number}.h5", "train", str(number), "simulated", 0, 0, 1, *sizes, "", *["0" * 64] * 3)
        append_rows(folder, [row])


def open_batches(recipe: Recipe, source: PhantomSource | PreparedSource, cache: Path) -> Batches:
    """Batches of a recipe from one source, whose cases are simulated now if they are stored."""
    data = recipe.training.data
    config = DataConfig.parse({**data.model_dump(), "sources": {"only": source.model_dump()}})
    batches = Batches(open_pool(config, cache), config, recipe.training.batch_size, (0,))
    if is_stored(source):
        for group in batches.pool.groups:
            for case in group.cases:
                case.motion()  # simulates the case and writes it to the cache
    return batches


def is_stored(source: PhantomSource | PreparedSource) -> bool:
    """Whether cases are read from files rather than simulated for each batch."""
    return not isinstance(source, PhantomSource) or source.keep


def time_step(recipe: Recipe, batches: Batches, n_steps: int) -> tuple[float, float]:
    """Time of a training step without the initial image, and of the initial image [s]."""
    initial_method = load_initial_method(recipe)
    complete = replace(batches, initial_method=initial_method)
    drawing, with_image = (median_seconds(lambda n, b=b: b[n], n_steps) for b in (batches, complete))
    state = init_state(recipe)
    inputs = [complete[number] for number in range(n_steps + 1)]

    def take(n: int) -> None:
        training_loss(state.net, inputs[n], recipe.training).backward()
        optimizer_step(state, recipe.training)

    step = median_seconds(take, n_steps)
    return step, max(with_image - drawing, 0.0) if initial_method else 0.0


def rate(batches: Batches, n_workers: int, n_batches: int) -> float:
    """Samples per second, after the workers have started."""
    n_warmup = 2 * n_workers + 1
    drawn = load_batches(batches, range(n_warmup + n_batches), n_workers)
    for _ in range(n_warmup):
        next(drawn)
    start = time.perf_counter()
    for _ in range(n_batches):
        next(drawn)
    return n_batches * batches.size / (time.perf_counter() - start)


def measure(recipe: Recipe, folder: Path, n_steps: int, n_batches: int) -> None:
    """Print the time of a step, and the rates of all sources."""
    write_prepared(folder)
    sources = {
        "phantoms, stored in files": PhantomSource(n_cases=N_CASES),
        "prepared, measured coils": PreparedSource(folder=folder),
        "prepared, combined image": PreparedSource(folder=folder, signal="combined"),
        "phantoms, simulated for each batch": PhantomSource(n_cases=100_000, keep=False),
    }
    batches_of = {label: open_batches(recipe, source, folder / "cases") for label, source in sources.items()}
    step, initial = time_step(recipe, batches_of["phantoms, stored in files"], n_steps)
    used = recipe.training.batch_size / (step + initial)
    print(
        f"\n{recipe.network}, {torch.get_num_threads()} threads: a step takes {step:.3f} s, its initial image", end=" "
    )
    print(f"{initial:.3f} s; {used:.2f} samples per second are used, {1 / step:.2f} without the initial image\n")
    print(markdown_head(("samples per second", "0 workers", "1 worker", "2 workers", "fastest / used")))
    for label, batches in batches_of.items():
        n = n_batches if is_stored(sources[label]) else SLOW_BATCHES
        rates = [rate(batches, n_workers, n) for n_workers in (0, 1, 2)]
        print(markdown_row((label, *(f"{value:.1f}" for value in rates), f"{max(rates) / used:.1f}")), flush=True)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("models/slrnet/model.yaml"))
    parser.add_argument("--steps", type=positive, default=5, help="training steps to time")
    parser.add_argument("--batches", type=positive, default=40, help="batches to draw for each rate")
    arguments = parser.parse_args()
    print_masks()
    with tempfile.TemporaryDirectory() as folder:
        measure(read_recipe(arguments.recipe), Path(folder), arguments.steps, arguments.batches)


if __name__ == "__main__":
    run_benchmark(main)
