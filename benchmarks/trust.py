"""Fit the verdict to images of known error, and test it on other subjects.

    python benchmarks/trust.py fit --train FOLDER
    python benchmarks/trust.py checks --train FOLDER
    python benchmarks/trust.py test --report FOLDER --series FOLDER --write

The first command writes ``models/verdict.json``: linear and logistic models are fitted to subjects and phantoms, limits
and threshold are those of subjects that are left out in turn. The second writes the limits of checks that need no
reconstruction, from further intact scans of the same subjects. The third makes the tables of ``docs/how-to/trust.md``
from subjects and phantoms that are not in the fit. ``--methods`` restricts fit and test to some methods; the numbers of
the others do not change. Results in the output folder are used again: remove it after a change of methods or features.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from command import make_parser, run_benchmark, series_folder
from pages import markdown_table, write_section
from trust_cases import (
    CHECKED,
    CLINICAL,
    FAILURES,
    LOW_ACCELERATION,
    USUAL,
    VARIED,
    WIDE,
    Anatomy,
    Plan,
    measured_cines,
    phantoms,
    plan_cases,
)
from trust_fit import FAILURE_WEIGHT, INTACT, Example, check_limits, fit, is_failed
from trust_measure import Record, measure_all, measure_checks_of

from cinerecon.io.atomic import write_text
from cinerecon.reconstruction.trust.calibration import (
    CAUSES,
    FILE_NAME,
    TWICE_DB,
    Calibration,
    calibration_of,
)
from cinerecon.verdict import Verdict

METHODS = ("ktslr", "slrnet", "stvarnet")
ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/how-to/trust.md"
N_FIT = ((120, 16), (100, 5))
"""Numbers of intact scans, and of failures of each kind, of two groups of subjects."""
N_FIT_VARIED = ((60, 4), (40, 3))
"""The same for scans of `VARIED`."""
N_FIT_CLINICAL = ((28, 1), (24, 1), (36, 1), (24, 1))
"""The same for scans of `CLINICAL`, of four groups of subjects."""
N_DISPLACED = (4, 2, 4, 2)
"""Number of scans of `CLINICAL` with displaced coil maps, in each group."""
CLINICAL_WITHOUT = ("acceleration", "pattern", "missing coil", "corrupted frames", "network")
"""Kinds of failures that every second group of `CLINICAL` does not have, to save time."""
N_FIT_LOW = (30, 20)
"""Numbers of intact scans of `LOW_ACCELERATION`."""
N_TEST = (200, 15)
N_TEST_VARIED = 60
"""Number of intact scans of `FAST_PHASE`."""
N_TEST_CLINICAL = (60, 2)
"""Numbers of intact scans of `CLINICAL`, and of failures of each kind, of which four have displaced coil maps."""
N_TEST_LOW = 40
"""Number of intact scans of `LOW_ACCELERATION`."""
FAST_PHASE = replace(VARIED, fast_phase=1.0)
N_CHECKS = 240
"""Number of intact scans from which the limits of the checks are taken."""
EXPECTED = "as expected"


def fit_anatomies(cines: Path) -> tuple[list[Anatomy], list[Anatomy]]:
    """Two groups of anatomies for the fit."""
    first = phantoms(range(2000, 2060)) + measured_cines(cines, "scd1_*", "scd2_*", "pig_*")
    return first, phantoms(range(3000, 3060)) + measured_cines(cines, "scd3_*", "mli_*")


def clinical_anatomies(cines: Path) -> list[list[Anatomy]]:
    """Four groups of anatomies for the scans of `CLINICAL` of the fit."""
    names = (
        ("scd1_sax0[26]", "scd2_sax0[37]", "scd3_sax0[48]", "pig_lax04", "pig_sax08", "mli_*"),
        ("scd1_sax0[48]", "scd2_sax0[58]", "scd3_sax0[26]", "pig_lax10", "pig_sax11"),
        ("scd1_sax0[57]", "scd2_sax0[46]", "scd3_sax0[59]", "pig_lax07", "pig_sax05", "mli_*"),
        ("scd1_sax0[39]", "scd2_sax0[29]", "scd3_sax03", "pig_lax01", "pig_sax14"),
    )
    seeds = (range(5000, 5040), range(6000, 6024), range(7000, 7040), range(8000, 8024))
    return [phantoms(own) + measured_cines(cines, *part) for own, part in zip(seeds, names, strict=True)]


def fit_plans(cines: Path) -> list[Plan]:
    """Cases for the fit."""
    plans, without = [], (*CHECKED, "displaced maps")
    for numbers, ranges, seed in ((N_FIT, USUAL, 1), (N_FIT_VARIED, VARIED, 5)):
        for group, anatomies in enumerate(fit_anatomies(cines)):
            plans += plan_cases(anatomies, *numbers[group], seed=seed + group, without=without, ranges=ranges)
    for group, anatomies in enumerate(clinical_anatomies(cines)):
        n_intact, n_failures = N_FIT_CLINICAL[group]
        kinds = (*CHECKED, *(CLINICAL_WITHOUT if group % 2 == 0 else ()))
        more = {"displaced maps": N_DISPLACED[group]}
        plans += plan_cases(
            anatomies, n_intact, n_failures, seed=8 + 2 * group, without=kinds, more=more, ranges=CLINICAL
        )
    for group, anatomies in enumerate(fit_anatomies(cines)):
        plans += plan_cases(anatomies, N_FIT_LOW[group], 0, seed=16 + group, ranges=LOW_ACCELERATION)
    return plans


def held_out_plans(report: Path | None, series: Path | None) -> dict[str, list[Plan]]:
    """Cases of subjects that are not in the fit, by the names of their tables."""
    anatomies: list[Anatomy] = phantoms(range(4000, 4080))
    anatomies += measured_cines(report, "*") if report else []
    anatomies += measured_cines(series, "sax_mid", "lax_4ch") if series else []
    return {
        "trust": plan_cases(anatomies, *N_TEST, seed=3, without=("displaced maps",)),
        "fast-phase": plan_cases(anatomies, N_TEST_VARIED, 0, seed=7, ranges=FAST_PHASE),
        "other-sizes": plan_cases(anatomies, *N_TEST_CLINICAL, seed=9, more={"displaced maps": 4}, ranges=CLINICAL),
        "low-acceleration": plan_cases(anatomies, N_TEST_LOW, 0, seed=19, ranges=LOW_ACCELERATION),
    }


def examples_of(records: Sequence[Record], method: str) -> list[Example]:
    """The images of a method, with their errors, for the fit."""
    return [example_of(*pair) for pair in pairs_of(records, method)]


def pairs_of(records: Sequence[Record], method: str) -> list[tuple[Record, Record]]:
    """The records of a method, each with that of the same scan without the failure."""
    own = {record.name: record for record in records if record.method == method}
    return [(record, own[record.twin]) for record in own.values()]


def example_of(record: Record, twin: Record) -> Example:
    """An image for the fit."""
    return Example(record.features, twin.features, record.kind, record.psnr, record.heart_error, record.subject)


class AssessedImage:
    """An image of the test: its record, its verdict, and whether its error is too large.

    The error of a failed image is more than twice the usual, that of a worsened one more than twice the error of the
    same scan without the failure.
    """

    def __init__(self, record: Record, twin: Record, calibration: Calibration) -> None:
        self.record = record
        self.verdict: Verdict = calibration.judge(record.features)
        self.logit = calibration.logit(record.features)
        self.is_failed = is_failed(calibration, example_of(record, twin))
        self.is_worsened = record.psnr < twin.psnr - TWICE_DB

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
    rows: dict[str, list[str]] = {}
    for images in assessed.values():
        intact = [image for image in images if image.record.kind == INTACT]
        failures = [image for image in images if image.record.kind != INTACT]
        cost = sum(i.record.feature_seconds for i in images) / sum(i.record.seconds for i in images)
        named = percentage(sum(image.is_named for image in failures), sum(image.is_flagged for image in failures))
        covered = [covered_shares(intact), covered_shares(failures), covered_shares(images, FAILURE_WEIGHT)]
        cells = {
            "images, of them intact": f"{len(images)}, {len(intact)}",
            "AUROC of error above twice the usual": aurocs(images, [image.is_failed for image in images]),
            "AUROC of error above twice that without the failure": aurocs(images, [i.is_worsened for i in images]),
            "PSNR inside its 90 % interval": ", ".join(f"{psnr:.0%}" for psnr, _ in covered),
            "heart error inside its 90 % interval": ", ".join(f"{heart:.0%}" for _, heart in covered),
            **quality_of_intact(intact),
            "kind of failure named, of the flagged failures": named,
            "time over that of the reconstruction, all images": f"{cost:.0%}",
        }
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)
    return table_of(assessed, rows)


def intact_table(assessed: dict[str, list[AssessedImage]]) -> str:
    """Coverage and false alarms of each method for intact scans."""
    rows: dict[str, list[str]] = {}
    for images in assessed.values():
        psnr, heart = covered_shares(images)
        cells = {
            "PSNR inside its 90 % interval": f"{psnr:.0%}",
            "heart error inside its 90 % interval": f"{heart:.0%}",
            **quality_of_intact(images),
        }
        for name, cell in cells.items():
            rows.setdefault(name, []).append(cell)
    return table_of(assessed, rows)


def aurocs(images: Sequence[AssessedImage], labels: Sequence[bool]) -> str:
    """AUROC with the kinds of failures in the fit, and with all kinds."""
    parts = [
        [(i.logit, label) for i, label in zip(images, labels, strict=True) if i.record.kind not in without]
        for without in (CHECKED, ())
    ]
    return ", ".join(f"{area_under_curve(*zip(*part, strict=True)):.3f}" for part in parts)


def covered_shares(images: Sequence[AssessedImage], failure_weight: float = 1.0) -> tuple[float, float]:
    """The shares of images whose PSNR, and whose error of the heart, is in its interval."""
    weights = [1.0 if image.record.kind == INTACT else failure_weight for image in images]
    psnr, heart = (float(np.average([image.is_covered[n] for image in images], weights=weights)) for n in (0, 1))
    return psnr, heart


def quality_of_intact(intact: Sequence[AssessedImage]) -> dict[str, str]:
    """Width of the interval, error of the estimate, and false alarms, by their names in the tables."""
    sound = [image for image in intact if not image.is_failed]
    widths = [image.verdict.psnr_high - image.verdict.psnr_low for image in intact]
    errors = [abs(image.verdict.psnr - image.record.psnr) for image in intact]
    return {
        "median width of the PSNR interval, intact [dB]": f"{np.median(widths):.1f}",
        "mean absolute error of the expected PSNR, intact [dB]": f"{np.mean(errors):.2f}",
        "false alarms among intact images": percentage(sum(image.is_flagged for image in sound), len(sound)),
        "intact images with an error above twice the usual": percentage(len(intact) - len(sound), len(intact)),
    }


def table_of(methods: Iterable[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table with a column for each method."""
    return markdown_table(("", *(f"`{name}`" for name in methods)), [(name, *cells) for name, cells in rows.items()])


def failure_table(assessed: dict[str, list[AssessedImage]]) -> str:
    """For each kind of failure, how many images have an error above twice the usual, and how many are flagged."""
    heads = [
        head
        for name in assessed
        for head in (f"`{name}`: error above twice the usual", "of these flagged", "of all flagged")
    ]
    rows = []
    for kind in list(FAILURES)[1:]:
        if not any(image.record.kind == kind for images in assessed.values() for image in images):
            continue
        cells = []
        for images in assessed.values():
            group = [image for image in images if image.record.kind == kind]
            failed = [image for image in group if image.is_failed]
            flagged = [percentage(sum(i.is_flagged for i in part), len(part)) for part in (failed, group)]
            cells += [f"{len(failed)} of {len(group)}", *flagged] if group else ["-", "-", "-"]
        rows.append((kind, *cells))
    return markdown_table(("failure", *heads), rows)


def run_fit(cines: Path, methods: Sequence[str], output: Path, n_jobs: int) -> None:
    """Fit some methods, and write the numbers; those of the other methods do not change."""
    records = measure_all(fit_plans(cines), methods, output / "fit.jsonl", n_jobs)
    numbers = {}
    for name in METHODS:
        former = calibration_of(name)
        calibration = fit(examples_of(records, name)) if name in methods else former
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
        for plan in plan_cases(fitted + calibrated, N_CHECKS, 0, seed=4, ranges=WIDE)[len(values) :]:
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


def run_test(
    plans: Mapping[str, Sequence[Plan]], methods: Sequence[str], output: Path, n_jobs: int, *, write: bool
) -> None:
    """Measure the cases of the test, print and write the tables."""
    for name, part in plans.items():
        assessed = assess(measure_all(part, methods, output / f"{name}.jsonl", n_jobs), methods)
        if all(plan.kind == INTACT for plan in part):
            text = intact_table(assessed)
        else:
            text = summary_table(assessed)
        if name == "trust":
            text += f"\n\n{failure_table(assessed)}"
        print(text, end="\n\n")
        if write:
            write_section(name, text, PAGE)


def assess(records: Sequence[Record], methods: Sequence[str]) -> dict[str, list[AssessedImage]]:
    """The images of each method with their verdicts."""
    assessed = {}
    for name in methods:
        calibration = calibration_of(name)
        assert calibration is not None, "run fit first"
        assessed[name] = [AssessedImage(*pair, calibration) for pair in pairs_of(records, name)]
    return assessed


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
