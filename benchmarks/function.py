"""Hallucinations and ventricular function on mid-ventricular slices that were not used for training.

    python benchmarks/function.py --report FOLDER --series FOLDER --write

Simulates scans from magnitude cines of six patients of ACDC and of one volunteer, and scores the methods like
`cinerecon evaluate`. Prints the percentage of candidates of the Fourier ring correlation, and areas and border
sharpness of the left ventricle compared with the reference. With ``--write`` the tables are written to
`docs/how-to/hallucinations.md` and `docs/how-to/ventricle.md`. Magnitudes are measured; phase, coils and noise are
simulated.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from command import make_parser, run_benchmark, series_folder
from pages import machine, markdown_table, write_section

from cinerecon.errors import FileError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import Score
from cinerecon.evaluation.ventricle import AREA_QUANTITIES, limits_of, slice_functions
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

ROOT = Path(__file__).parents[1]
HALLUCINATIONS, VENTRICLE = (ROOT / f"docs/how-to/{name}.md" for name in ("hallucinations", "ventricle"))
METHODS = ("ktslr", "slrnet", "stvarnet", "viewshared", "cgsense", "zerofilled")
SAMPLINGS = ("gaussian:4,acs=4", "gaussian:8,acs=4")
N_PATIENTS, N_COILS, NOISE = 6, 6, 0.01


def make_scans(report: Path, series: Path, folder: Path, pattern: str) -> list[Path]:
    """Simulate the scans of the patients and of the volunteer."""
    patients = sorted(report.glob(pattern))[:N_PATIENTS]
    if not patients:
        raise FileError(
            f"no cine has a name of the form {pattern}", where=str(report), hint="--pattern with other names"
        )
    sources = [*patients, series / "sax_mid.npz"]
    scans = []
    for seed, source in enumerate(sources):
        path = folder / f"{source.stem}.h5"
        if not path.exists():
            simulate_scan(path, SimulateConfig(n_coils=N_COILS, noise=NOISE, seed=seed), source=source)
        scans.append(path)
    return scans


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """Mean ± standard deviation of the finite values."""
    finite = [value for value in values if math.isfinite(value)]
    return f"{np.mean(finite):.{digits}f} ± {np.std(finite, ddof=1):.{digits}f}" if len(finite) > 1 else "-"


def rate_table(scores: Sequence[Score]) -> str:
    """Percentage of candidates of each method and sampling."""
    rows = []
    for method in METHODS:
        rates = [[s.frc_rate for s in scores if (s.method, s.sampling) == (method, name)] for name in SAMPLINGS]
        rows.append((f"`{method}`", *(mean_and_deviation(values, 2) for values in rates)))
    return markdown_table(("method", *(f"`{name}`" for name in SAMPLINGS)), rows)


def ventricle_table(scores: Sequence[Score]) -> str:
    """Means of the reference; for each method bias and limits of agreement of areas, and border sharpness."""
    functions = slice_functions(scores)
    reference = [f.pairs for f in functions if f.method == METHODS[0]]
    means = ", ".join(f"{name} {np.mean([pairs[name][1] for pairs in reference]):.1f}" for name in AREA_QUANTITIES)
    rows = []
    for method in METHODS:
        pairs = [f.pairs for f in functions if f.method == method]
        limits = [limits_of([pair[name] for pair in pairs]) for name in AREA_QUANTITIES]
        digits = (0, 0, 1)
        cells = [
            f"{limit.bias:+.{n}f} [{limit.low:+.{n}f}, {limit.high:+.{n}f}]"
            for limit, n in zip(limits, digits, strict=True)
        ]
        sharpness = mean_and_deviation([s.border_sharpness for s in scores if s.method == method], 2)
        rows.append((f"`{method}`", *cells, sharpness))
    table = markdown_table(("method", *AREA_QUANTITIES, "border sharpness"), rows)
    return f"{len(reference)} slices in which the ventricle was found; means of the reference: {means}.\n\n{table}"


def main() -> None:
    """Simulate the scans, score the methods, print and write the tables."""
    parser = make_parser(__doc__, writes="the tables to the pages")
    parser.add_argument("--report", type=series_folder, required=True, help="cines that were not used for training")
    parser.add_argument("--pattern", default="acdc_*.npz", help="names of the cines that are used")
    parser.add_argument("--series", type=series_folder, required=True, help="folder with sax_mid.npz of the volunteer")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results/function")
    arguments = parser.parse_args()
    folder = arguments.output / "scans"
    folder.mkdir(parents=True, exist_ok=True)
    scans = make_scans(arguments.report, arguments.series, folder, arguments.pattern)
    scores = evaluate(scans, EvaluationRequest(METHODS, SAMPLINGS, output=arguments.output / "scores")).complete()
    scores = [replace(score, sampling=score.sampling.partition(" ")[0]) for score in scores]
    rates = rate_table(scores)
    ventricle = ventricle_table([score for score in scores if score.sampling == SAMPLINGS[1]])
    print(f"{rates}\n\n{ventricle}")
    if arguments.write:
        write_section("rates", f"{machine()}\n\n{rates}", HALLUCINATIONS)
        write_section("ventricle", ventricle, VENTRICLE)


if __name__ == "__main__":
    run_benchmark(main)
