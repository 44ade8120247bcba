"""Image quality of the methods on subjects and phantoms that were not used for training.

    python benchmarks/quality.py --report FOLDER --series FOLDER -o results/quality --write

Simulates fully sampled raw scans with one coil and with eight coils, and undersamples each with a different mask. The
classical methods and the networks with weights reconstruct them with coil maps estimated from the undersampled data,
and magnitudes are compared with the noise-free reference. The magnitude images of the subjects are measured; phase,
coils and noise are simulated. After an interruption, the same command continues. `report.html` in the output folder
shows all results.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from command import make_parser, positive, run_benchmark, series_folder
from pages import folded, machine, write_section
from quality_tables import gain_table, lowrank_table, time_table, value_table

from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.results import write_results
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import Score
from cinerecon.io.magnitude import find_magnitudes, stem_of
from cinerecon.methods.catalogue import list_models
from cinerecon.methods.model_file import model_label
from cinerecon.methods.table import METHODS
from cinerecon.simulation.scan import SimulateConfig, simulate_scan
from cinerecon.words import counted

HELD_OUT = ("sax_mid", "lax_4ch")
PHANTOM_SEEDS = range(1, 41)
"""Seeds of phantoms that were not used for training, which a test checks."""
SAMPLINGS = ("gaussian:8", "radial:16", "equispaced:8")
CLASSICAL = ("zerofilled", "llr", "ktslr")
README_METHODS = ("zerofilled", "ktslr", "slrnet", "passnet", "stvarnet")
"""Methods in the short table of the README."""
SUBJECTS, VOLUNTEER, PHANTOMS = "subjects", "volunteer", "phantoms"
PHASES = {"smooth": "smooth phase", "measured": "phase varying as rapidly as in measured cines"}
MEASURES = (("psnr", "ssim"), ("heart_psnr", "xt_ssim"))


@dataclass(frozen=True)
class ScanOptions:
    """The scans to simulate.

    Attributes
    ----------
    folder
        Folder of the scans.
    report, series
        Folders of magnitude cines, of subjects and of the volunteer; None without.
    n_phantoms
        Number of phantoms.
    coils
        Numbers of coils; each cine becomes one scan for each of them.
    noise
        Noise of a sample, relative to the maximum of the image.
    phase
        As in `SimulateConfig.phase`.
    series_per_subject
        Largest number of series of a subject.
    """

    folder: Path
    report: Path | None
    series: Path | None
    n_phantoms: int
    coils: Sequence[int]
    noise: float = 0.01
    phase: str = "smooth"
    series_per_subject: int = 3


def make_scans(options: ScanOptions) -> dict[str, list[Path]]:
    """Write the scans that are missing, and return all of them by group."""
    options.folder.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[Path]] = {}
    for group, name, sizes, source in list_cines(options):
        for n_coils in options.coils:
            path = options.folder / f"{group}-{name}-{n_coils}-{options.noise:g}.h5"
            if not path.exists():
                config = SimulateConfig(**sizes, n_coils=n_coils, noise=options.noise, phase=options.phase)
                simulate_scan(path, config, source=source)
            groups.setdefault(group, []).append(path)
    return groups


def list_cines(options: ScanOptions) -> Iterator[tuple[str, str, dict[str, int], Path | None]]:
    """Group, name, sizes and source of each cine."""
    for path in choose_series(options.report, options.series_per_subject) if options.report else ():
        yield SUBJECTS, stem_of(path), {"seed": 11}, path
    for name in HELD_OUT if options.series else ():
        yield VOLUNTEER, name, {"seed": 11, "n_frames": 25, "ky": 160, "kx": 192}, options.series / f"{name}.npz"
    for seed in list(PHANTOM_SEEDS)[: options.n_phantoms]:
        yield PHANTOMS, f"{seed}", {"seed": seed, "n_frames": 16, "ky": 96, "kx": 96}, None


def choose_series(folder: Path, n_most: int) -> list[Path]:
    """At most `n_most` series of each subject, evenly distributed over a stack (`scd4_sax00` and so on)."""
    stacks: dict[str, list[Path]] = {}
    for path in find_magnitudes(folder):
        stacks.setdefault(stem_of(path).partition("_sax")[0], []).append(path)
    return [
        paths[(2 * n + 1) * len(paths) // (2 * n_series)]
        for paths in stacks.values()
        for n_series in [min(n_most, len(paths))]
        for n in range(n_series)
    ]


def shipped_networks() -> list[str]:
    """The networks whose weights are shipped."""
    return [entry.name for entry in list_models() if entry.kind == "deep" and entry.weights == "shipped"]


def score_group(group: str, paths: list[Path], arguments: argparse.Namespace) -> list[Score]:
    """Score all methods and samplings on the scans of a group; the volunteer is one subject."""
    n_pictures = 2 if group == SUBJECTS else 1
    request = EvaluationRequest(arguments.model, arguments.undersample, output=arguments.output, n_pictures=n_pictures)
    scores = evaluate(paths, request, workers=arguments.workers).complete()
    return [replace(score, subject=VOLUNTEER) for score in scores] if group == VOLUNTEER else scores


def describe_group(group: str, scores: list[Score], arguments: argparse.Namespace) -> str:
    """Gains and times of a group, then its other tables, folded; those of the subjects are not folded."""
    series, subjects = (len({getattr(score, key) for score in scores}) for key in ("scan", "subject"))
    series //= len(arguments.coils)
    sizes = {
        SUBJECTS: f"{counted(subjects, 'subject')}, {series} series",
        VOLUNTEER: f"{series} series of the volunteer whose other series were used for training",
        PHANTOMS: f"{series} phantoms",
    }
    methods, baseline = [model_label(name) for name in arguments.model], arguments.baseline
    title = f"{sizes[group]}; noise of {arguments.noise:.1%} of the maximum, {PHASES[arguments.phase]}"
    networks = [name for name in methods if name not in METHODS or METHODS[name].kind == "deep"]
    parts = [lowrank_table(scores, methods)]
    if baseline in methods:
        parts = [gain_table(scores, networks, baseline), *parts, time_table(scores, methods, baseline)]
    parts = [part for part in parts if part]
    values = [value_table(scores, methods, fields) for fields in MEASURES]
    if group == SUBJECTS:
        return "\n\n".join(
            [f"**{title}**", *parts, folded("PSNR and SSIM, also around the heart", "\n\n".join(values))]
        )
    return folded(title, "\n\n".join([*parts, *values]))


def main() -> None:
    """Simulate the scans, score the methods, print and write the tables."""
    arguments = read_arguments()
    options = ScanOptions(
        arguments.output / "scans",
        arguments.report,
        arguments.series,
        arguments.phantoms,
        arguments.coils,
        arguments.noise,
        arguments.phase,
        arguments.series_per_subject,
    )
    all_scores: list[Score] = []
    sections = [machine()]
    for group, paths in make_scans(options).items():
        scores = score_group(group, paths, arguments)
        all_scores += scores
        sections.append(describe_group(group, scores, arguments))
        print(sections[-1], flush=True)
        if group == SUBJECTS and arguments.write and arguments.section == "quality":
            methods = [name for name in arguments.model if name in README_METHODS]
            write_section("quality", value_table(scores, methods, MEASURES[0]), Path(__file__).parents[1] / "README.md")
    if arguments.write:
        write_section(arguments.section, "\n\n".join(sections))
    baseline = arguments.baseline if arguments.baseline in arguments.model else None
    for path in write_results(all_scores, arguments.output, baseline=baseline):
        print(f"wrote {path}")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = make_parser(__doc__, writes="the tables to docs/benchmarks.md, and those of section quality to README.md")
    parser.add_argument(
        "--report",
        type=series_folder,
        help="folder of magnitude cines (DICOM, NIfTI, .npz) of subjects that were not used for training",
    )
    parser.add_argument("--series-per-subject", type=positive, default=3, help="largest number of series of a stack")
    parser.add_argument("--series", type=series_folder, help="folder with sax_mid.npz and lax_4ch.npz of the volunteer")
    parser.add_argument("--phantoms", type=int, default=12)
    parser.add_argument("--noise", type=float, default=0.01, help="noise of a sample relative to the maximum")
    parser.add_argument("--phase", choices=("smooth", "measured"), default="smooth", help="as in cinerecon simulate")
    parser.add_argument("--coils", type=positive, action="append", help="default: 1 and 8")
    parser.add_argument(
        "--model", action="append", help=f"default: {' '.join(CLASSICAL)}, and networks with shipped weights"
    )
    parser.add_argument("--undersample", action="append", help=f"default: {' '.join(SAMPLINGS)}")
    parser.add_argument("--baseline", default="ktslr")
    parser.add_argument("--workers", type=int, default=1, help="processes; 0: as many as cores and memory allow")
    parser.add_argument("--section", default="quality", help="section of docs/benchmarks.md; default: quality")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/quality"))
    arguments = parser.parse_args()
    arguments.coils = arguments.coils or [1, 8]
    arguments.model = arguments.model or [*CLASSICAL, *shipped_networks()]
    arguments.undersample = arguments.undersample or list(SAMPLINGS)
    return arguments


if __name__ == "__main__":
    run_benchmark(main)
