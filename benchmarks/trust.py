"""Fit the verdict to images of known error, and test it on other subjects.

    python benchmarks/trust.py fit --train FOLDER
    python benchmarks/trust.py checks --train FOLDER
    python benchmarks/trust.py test --report FOLDER --series FOLDER --write

The first command writes ``models/verdict.json``: linear and logistic models are fitted to some subjects and phantoms,
and their limits and the threshold are calibrated on others. The second writes the limits of checks that need no
reconstruction, from further intact scans of the same subjects. The third makes the tables of ``docs/how-to/trust.md``
from subjects and phantoms that are in neither set. ``--methods`` restricts fit and test to some methods; the numbers of
the others do not change. Results in the output folder are used again: remove it after a change of methods or features.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from command import make_parser, run_benchmark, series_folder
from pages import markdown_table, write_section
from trust_cases import CHECKED, FAILURES, Anatomy, Plan, measured_cines, phantoms, plan_cases, plan_wide
from trust_fit import Example, check_limits, fit, is_failed
from trust_measure import Record, measure_all, measure_checks_of

from cinerecon.io.atomic import write_text
from cinerecon.reconstruction.trust.calibration import CAUSES, FILE_NAME, Calibration, calibration_of
from cinerecon.verdict import Verdict

METHODS = ("ktslr", "slrnet", "stvarnet")
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-to/trust.md"
N_FIT, N_CALIBRATE, N_TEST = (120, 16), (100, 5), (200, 7)
"""Numbers of intact scans, and of failures of each kind."""
N_CHECKS = 240
"""Number of intact scans from which the limits of the checks are taken."""
EXPECTED = "as expected"


def fit_anatomies(cines: Path) -> tuple[list[Anatomy], list[Anatomy]]:
    """Anatomies for the fit, and those of other subjects for the calibration."""
    fitted = phantoms(range(2000, 2060)) + measured_cines(cines, "scd1_*", "scd2_*", "pig_*")
    return fitted, phantoms(range(3000, 3060)) + measured_cines(cines, "scd3_*", "mli_*")


def fit_plans(cines: Path) -> tuple[list[Plan], list[Plan]]:
    """Cases for the fit, and cases of other subjects for the calibration."""
    fitted, calibrated = fit_anatomies(cines)
    return (
        plan_cases(fitted, *N_FIT, seed=1, without=CHECKED),
        plan_cases(calibrated, *N_CALIBRATE, seed=2, without=CHECKED),
    )


def held_out_plans(report: Path | None, series: Path | None) -> list[Plan]:
    """Cases of subjects and phantoms that are in neither fit nor calibration."""
    anatomies: list[Anatomy] = phantoms(range(4000, 4080))
    anatomies += measured_cines(report, "*") if report else []
    anatomies += measured_cines(series, "sax_mid", "lax_4ch") if series else []
    return plan_cases(anatomies, *N_TEST, seed=3)


def examples_of(records: Sequence[Record], method: str) -> list[Example]:
    """The images of a method, with their errors, for the fit."""
    return [example for _, example in pairs_of(records, method)]


def pairs_of(records: Sequence[Record], method: str) -> list[tuple[Record, Example]]:
    """The records of a method, each with its example for the fit."""
    own = {record.name: record for record in records if record.method == method}
    return [
        (r, Example(r.features, own[r.twin].features, r.kind, r.psnr, r.heart_error, r.subject)) for r in own.values()
    ]


class AssessedImage:
    """An image of the test: its record, its verdict, and whether its error is more than twice the usual."""

    def __init__(self, record: Record, example: Example, calibration: Calibration) -> None:
        self.record = record
        self.verdict: Verdict = calibration.judge(record.features)
        self.logit = calibration.logit(record.features)
        self.is_failed = is_failed(calibration, example)

    @property
    def is_flagged(self) -> bool:
        """Whether the verdict is not *as expected*."""
        return self.verdict.status != EXPECTED

    @property
    def is_named(self) -> bool:
        """Whether the first reason is the true kind of failure."""
        return self.verdict.reasons[:1] == (CAUSES.get(self.record.kind, ""),)

    @property
    def is_covered(self) -> tuple[bool, bool]:
        """Whether PSNR and error of the heart are in their intervals."""
        verdict, record = self.verdict, self.record
        return (
            verdict.psnr_low <= record.psnr <= verdict.psnr_high,
            verdict.heart_error_low <= record.heart_error <= verdict.heart_error_high,
        )


def area_under_curve(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """AUROC: the probability that a failed image has the higher score, ties counted as half."""
    values, flags = np.array(scores), np.array(labels, bool)
    above = values[flags][:, None] - values[~flags]
    return float((above > 0).mean() + (above == 0).mean() / 2) if above.size else float("nan")


def percentage(part: int, whole: int) -> str:
    """A percentage with its counts."""
    return f"{part / whole:.0%} ({part} of {whole})" if whole else "-"


def summary_table(assessed: dict[str, list[AssessedImage]]) -> str:
    """AUROC, coverage, false alarms and cost of each method."""
    rows: dict[str, list[str]] = {
        "images, of them intact": [],
        "AUROC of error above twice the usual": [],
        "PSNR inside its 90 % interval: intact, failures": [],
        "heart error inside its 90 % interval: intact, failures": [],
        "median width of the PSNR interval, intact [dB]": [],
        "mean absolute error of the expected PSNR, intact [dB]": [],
        "false alarms among intact images": [],
        "intact images with an error above twice the usual": [],
        "kind of failure named, of the flagged failures": [],
        "time over that of the reconstruction, all images": [],
    }
    for images in assessed.values():
        intact = [image for image in images if image.record.kind == "intact"]
        failures = [image for image in images if image.record.kind != "intact"]
        sound = [image for image in intact if not image.is_failed]
        covered = [[np.mean([i.is_covered[n] for i in group]) for group in (intact, failures)] for n in (0, 1)]
        widths = [image.verdict.psnr_high - image.verdict.psnr_low for image in intact]
        errors = [abs(image.verdict.psnr - image.record.psnr) for image in intact]
        cost = sum(i.record.feature_seconds for i in images) / sum(i.record.seconds for i in images)
        cells = [
            f"{len(images)}, {len(intact)}",
            f"{area_under_curve([i.logit for i in images], [i.is_failed for i in images]):.3f}",
            *(f"{values[0]:.0%}, {values[1]:.0%}" for values in covered),
            f"{np.median(widths):.1f}",
            f"{np.mean(errors):.2f}",
            percentage(sum(image.is_flagged for image in sound), len(sound)),
            percentage(len(intact) - len(sound), len(intact)),
            percentage(sum(image.is_named for image in failures), sum(image.is_flagged for image in failures)),
            f"{cost:.0%}",
        ]
        for row, cell in zip(rows.values(), cells, strict=True):
            row.append(cell)
    return markdown_table(("", *(f"`{name}`" for name in assessed)), [(name, *cells) for name, cells in rows.items()])


def failure_table(assessed: dict[str, list[AssessedImage]]) -> str:
    """For each kind of failure, how many images have an error above twice the usual, and how many are flagged."""
    heads = [
        head
        for name in assessed
        for head in (f"`{name}`: error above twice the usual", "of these flagged", "of all flagged")
    ]
    rows = []
    for kind in list(FAILURES)[1:]:
        cells = []
        for images in assessed.values():
            group = [image for image in images if image.record.kind == kind]
            failed = [image for image in group if image.is_failed]
            flagged = [percentage(sum(i.is_flagged for i in part), len(part)) for part in (failed, group)]
            cells += [f"{len(failed)} of {len(group)}", *flagged] if group else ["-", "-", "-"]
        rows.append((kind, *cells))
    return markdown_table(("failure", *heads), rows)


def run_fit(cines: Path, methods: Sequence[str], output: Path, n_jobs: int) -> None:
    """Fit and calibrate some methods, and write the numbers; those of the other methods do not change."""
    plans = fit_plans(cines)
    records = [
        measure_all(part, methods, output / f"{name}.jsonl", n_jobs)
        for name, part in zip(("fit", "calibrate"), plans, strict=True)
    ]
    numbers = {}
    for name in METHODS:
        examples = (examples_of(part, name) for part in records)
        former = calibration_of(name)
        calibration = fit(*examples) if name in methods else former
        if calibration is not None:
            limits = former.check_limits if former else {}
            numbers[name] = calibration.model_copy(update={"check_limits": limits}).rounded()
    write_numbers(numbers)


def run_checks(cines: Path, output: Path) -> None:
    """Measure the checks on intact scans, and write their limits, which are the same for all methods."""
    fitted, calibrated = fit_anatomies(cines)
    output.mkdir(parents=True, exist_ok=True)
    path = output / "checks.jsonl"
    values = list(map(json.loads, path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    with path.open("a", encoding="utf-8") as file:
        for plan in plan_wide(fitted + calibrated, N_CHECKS, seed=4)[len(values) :]:
            values.append(measure_checks_of(plan))
            file.write(json.dumps(values[-1]) + "\n")
            file.flush()
    limits = check_limits(values)
    numbers = {name: calibration_of(name) for name in METHODS}
    write_numbers({n: c.model_copy(update={"check_limits": limits}).rounded() for n, c in numbers.items() if c})


def write_numbers(numbers: Mapping[str, Calibration]) -> None:
    """Write the numbers of all methods, one line per key."""
    methods = []
    for name, calibration in numbers.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in calibration.model_dump().items()]
        methods.append(f"{json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n}")
    write_text(ROOT / "models" / FILE_NAME, "{\n" + ",\n".join(methods) + "\n}\n")


def run_test(plans: list[Plan], methods: Sequence[str], output: Path, n_jobs: int, *, write: bool) -> None:
    """Measure the cases of the test, print and write the tables."""
    records = measure_all(plans, methods, output / "test.jsonl", n_jobs)
    assessed = {}
    for name in methods:
        calibration = calibration_of(name)
        assert calibration is not None, "run fit first"
        assessed[name] = [AssessedImage(record, example, calibration) for record, example in pairs_of(records, name)]
    tables = f"{summary_table(assessed)}\n\n{failure_table(assessed)}"
    print(tables)
    if write:
        write_section("trust", tables, PAGE)


def main() -> None:
    """Run the chosen step."""
    parser = make_parser(__doc__, writes="the tables to docs/how-to/trust.md")
    parser.add_argument("step", choices=("fit", "checks", "test"))
    parser.add_argument("--train", type=series_folder, help="folder of measured cines, for fit and checks")
    parser.add_argument(
        "--report", type=series_folder, help="measured cines of subjects that were not used for training, for the test"
    )
    parser.add_argument(
        "--series", type=series_folder, help="folder with sax_mid.npz and lax_4ch.npz of the volunteer, for the test"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="methods to fit or test")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "results/trust")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    if arguments.step != "test" and arguments.train is None:
        parser.error(f"{arguments.step} needs --train")
    if arguments.step == "fit":
        run_fit(arguments.train, arguments.methods, arguments.output, arguments.workers)
    elif arguments.step == "checks":
        run_checks(arguments.train, arguments.output)
    else:
        plans = held_out_plans(arguments.report, arguments.series)
        run_test(plans, arguments.methods, arguments.output, arguments.workers, write=arguments.write)


if __name__ == "__main__":
    run_benchmark(main)
