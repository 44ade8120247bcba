"""How good the methods are on subjects and phantoms that no training has seen.

    python benchmarks/quality.py --report FOLDER --series FOLDER -o results/quality --write

Makes fully sampled raw scans with `cinerecon simulate`, with one coil and with eight, undersamples them (another mask
in each frame and slice), reconstructs them with every method that has weights, from coil maps estimated of the
undersampled data, and compares magnitudes with the noise-free truth. The anatomy is measured; its phase, coils and
noise are simulated. Interrupted, it goes on where it was; `report.html` in the folder shows all.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from quality_tables import describe_losses, gain_table, time_table, value_table
from report import machine, write_section

from cinerecon.evaluation.results import write_results
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import Score
from cinerecon.methods.catalogue import list_models
from cinerecon.methods.table import METHODS
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

HELD_OUT = ("sax_mid", "lax_4ch")
PHANTOM_SEEDS = range(1, 41)
"""None of them is among the phantoms of training, whose seeds are of many digits; a test says so."""
SAMPLINGS = ("gaussian:8", "radial:16", "equispaced:8")
CLASSICAL = ("zerofilled", "cgsense", "ttv", "llr", "lps", "ktslr")
IN_README = ("zerofilled", "ktslr", "slrnet", "passnet", "stvarnet")
"""Methods in the short table: the networks of the two papers and that of this package."""
SUBJECTS, VOLUNTEER, PHANTOMS = "subjects", "volunteer", "phantoms"
PHASES = {"smooth": "smooth phase", "measured": "phase that changes as fast as in measured cines"}
MEASURES = (("psnr", "ssim"), ("heart_psnr", "xt_ssim"))


def make_scans(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    """Write the scans that are missing; the names of those of a group begin with that of the group."""
    folder: Path = arguments.output / "scans"
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[str, list[Path]] = {}
    for group, name, sizes, source in list_scans(arguments):
        for coils in arguments.coils:
            path = folder / f"{group}-{name}-{coils}-{arguments.noise:g}.h5"
            if not path.exists():
                config = SimulateConfig(**sizes, n_coils=coils, noise=arguments.noise, phase=arguments.phase)
                simulate_scan(path, config, source=source)
            groups.setdefault(group, []).append(path)
    return groups


def list_scans(arguments: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, int], Path | None]]:
    """Group, name, sizes and source of each scan, for one number of coils."""
    for path in choose_series(arguments.report, arguments.series_per_subject) if arguments.report else ():
        yield SUBJECTS, path.stem, {"seed": 11}, path
    for name in HELD_OUT if arguments.series else ():
        yield VOLUNTEER, name, {"seed": 11, "n_frames": 25, "ky": 160, "kx": 192}, arguments.series / f"{name}.npz"
    for seed in list(PHANTOM_SEEDS)[: arguments.phantoms]:
        yield PHANTOMS, f"{seed}", {"seed": seed, "n_frames": 16, "ky": 96, "kx": 96}, None


def choose_series(folder: Path, n_most: int) -> list[Path]:
    """Series of each subject, evenly chosen among those of a stack (`scd4_sax00` and so on)."""
    stacks: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*.npz")):
        stacks.setdefault(path.stem.partition("_sax")[0], []).append(path)
    return [
        paths[(2 * n + 1) * len(paths) // (2 * n_series)]
        for paths in stacks.values()
        for n_series in [min(n_most, len(paths))]
        for n in range(n_series)
    ]


def trained() -> list[str]:
    """The networks whose weights come with the program."""
    return [entry.name for entry in list_models() if entry.kind == "deep" and entry.weights == "ours"]


def judge(group: str, paths: list[Path], arguments: argparse.Namespace) -> list[Score]:
    """The scores of a group: every method, every sampling; the volunteer is one subject."""
    scores = evaluate(
        paths,
        arguments.model,
        arguments.undersample,
        output=arguments.output,
        workers=arguments.workers,
        pictures=2 if group == SUBJECTS else 1,
    ).complete()
    return [replace(score, subject=VOLUNTEER) for score in scores] if group == VOLUNTEER else scores


def group_caption(group: str, scores: list[Score], arguments: argparse.Namespace) -> str:
    """The tables of a group."""
    series, subjects = (len({getattr(score, key) for score in scores}) for key in ("scan", "subject"))
    series //= len(arguments.coils)
    sizes = {
        SUBJECTS: f"{subjects} subjects, {series} series",
        VOLUNTEER: f"{series} series of the volunteer whose other series were trained on",
        PHANTOMS: f"{series} phantoms",
    }
    methods, baseline = arguments.model, arguments.baseline
    parts = [f"**{sizes[group]}; noise of {arguments.noise:.1%} of the maximum, {PHASES[arguments.phase]}**"]
    networks = [name for name in methods if name not in METHODS or METHODS[name].kind == "deep"]
    if baseline in methods and networks:
        parts += [gain_table(scores, networks, baseline), describe_losses(scores, networks, baseline)]
    parts += [value_table(scores, methods, fields) for fields in MEASURES]
    if baseline in methods:
        parts.append(time_table(scores, methods, baseline))
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    """Make the scans, score the methods, print and write the tables."""
    arguments = read_arguments()
    everything: list[Score] = []
    page = [machine()]
    for group, paths in make_scans(arguments).items():
        scores = judge(group, paths, arguments)
        everything += scores
        page.append(group_caption(group, scores, arguments))
        print(page[-1], flush=True)
        if group == SUBJECTS and arguments.write and arguments.section == "quality":
            few = [name for name in arguments.model if name in IN_README]
            short = value_table(scores, few, MEASURES[0])
            write_section("quality", short, Path(__file__).parents[1] / "README.md")
    if arguments.write:
        write_section(arguments.section, "\n\n".join(page))
    baseline = arguments.baseline if arguments.baseline in arguments.model else None
    for path in write_results(everything, arguments.output, baseline=baseline):
        print(f"wrote {path}")


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, help="folder of magnitude cines of subjects that no training has seen")
    parser.add_argument("--series-per-subject", type=int, default=3, help="series of a stack; default: 3")
    parser.add_argument("--series", type=Path, help="folder of magnitude cines, sax_mid.npz and lax_4ch.npz among them")
    parser.add_argument("--phantoms", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.01, help="noise of a sample over the image's maximum")
    parser.add_argument("--phase", choices=("smooth", "measured"), default="smooth", help="as in cinerecon simulate")
    parser.add_argument("--coils", type=int, action="append", help="default: 1 and 8")
    parser.add_argument("--model", action="append", help="default: classical methods, and networks that have weights")
    parser.add_argument("--undersample", action="append", help=f"default: {' '.join(SAMPLINGS)}")
    parser.add_argument("--baseline", default="ktslr")
    parser.add_argument("--workers", type=int, default=1, help="0: as many as there are cores and memory for")
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the tables into docs/benchmarks.md; README.md has those of section quality",
    )
    parser.add_argument("--section", default="quality", help="section of docs/benchmarks.md; default: quality")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/quality"))
    arguments = parser.parse_args()
    arguments.coils = arguments.coils or [1, 8]
    arguments.model = arguments.model or [*CLASSICAL, *trained()]
    arguments.undersample = arguments.undersample or list(SAMPLINGS)
    return arguments


if __name__ == "__main__":
    main()
