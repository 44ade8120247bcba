"""Contributions of parts of the networks: variants trained in the same way with several seeds, on other subjects.

    python models/train.py --series FOLDER --series FOLDER -o runs/ablations --ablations --seeds 3
    python benchmarks/ablations.py runs/ablations --report FOLDER --write

Scans, masks and measures are those of `quality.py`, with one coil. The variants are trained briefly, from random
weights, on the view-shared image, so they should be compared with each other and not with the shipped weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from command import make_parser, run_benchmark, series_folder
from pages import markdown_table, write_section
from quality import ScanOptions, make_scans

from cinerecon.errors import FileError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.metrics.statistics import bootstrap_interval

SAMPLING = "gaussian:8"
BASELINES = ("viewshared", "ktslr")
"""The initial image of the variants, and k-t SLR."""

Means = Mapping[str, Mapping[str, float]]
"""PSNR by variant and subject [dB]: mean over the series of a subject."""


@dataclass(frozen=True)
class Comparison:
    """The contribution of a part of a network: a variant with this part, and one without it."""

    part: str
    variant: str
    other: str


COMPARISONS = (
    Comparison("low-rank branch of SLR-Net", "slrnet", "istanet"),
    Comparison("low-rank module in ISTA-Net, at L2", "istanet-lr", "istanet"),
    Comparison("low-rank module in DC-CNN, at L1", "dccnn-lr-L1", "dccnn"),
    Comparison("low-rank module in DC-CNN, at L2", "dccnn-lr", "dccnn"),
    Comparison("low-rank module in DC-CNN, at L3", "dccnn-lr-L3", "dccnn"),
    Comparison("low-rank module in CRNN, at L2", "crnn-lr", "crnn"),
    Comparison("PASSNet: position-aware instead of relative soft shrinkage", "passnet", "passnet-relative"),
    Comparison("PASSNet: adaptive fusion instead of addition", "passnet", "passnet-addition"),
    Comparison("PASSNet: patches of several sizes instead of one", "passnet", "passnet-fixed-patches"),
    Comparison("PASSNet: 13 instead of 9 stages of 8 channels", "passnet-13", "passnet-9"),
    Comparison("PASSNet: 17 instead of 9 stages of 8 channels", "passnet-17", "passnet-9"),
)


def means_of(scans: Sequence[Path], models: Sequence[str], output: Path, workers: int) -> Means:
    """Mean PSNR of models on scans [dB]."""
    values: dict[str, dict[str, list[float]]] = {}
    for score in evaluate(scans, EvaluationRequest(models, [SAMPLING], output=output), workers=workers).complete():
        values.setdefault(score.method, {}).setdefault(score.subject, []).append(score.psnr)
    return {method: {name: mean(group) for name, group in subjects.items()} for method, subjects in values.items()}


def value_table(baselines: Means, seeds: Sequence[Means]) -> str:
    """PSNR of the variants, means over subjects and seeds, and of the baselines."""
    initial = mean(baselines[BASELINES[0]].values())
    rows = [(f"`{name}`", f"{mean(values.values()):.2f}", "", "") for name, values in baselines.items()]
    for name in dict.fromkeys(name for means in seeds for name in means):
        by_seed = [mean(means[name].values()) for means in seeds if name in means]
        gain = mean(by_seed) - initial
        rows.append((f"`{name}`", f"{mean(by_seed):.2f}", f"{gain:+.2f}", f"{min(by_seed):.2f} to {max(by_seed):.2f}"))
    return markdown_table(("", "PSNR [dB]", "over the initial image", "seeds"), rows)


def comparison_table(seeds: Sequence[Means]) -> str:
    """Differences between variants: mean, interval over subjects, and the value of each seed."""
    rows = []
    for comparison in COMPARISONS:
        pair = {comparison.variant, comparison.other}
        by_seed = [differences(means, comparison) for means in seeds if pair <= means.keys()]
        if not by_seed:
            continue
        by_subject = [mean(values) for values in zip(*(gains.values() for gains in by_seed), strict=True)]
        low, high = bootstrap_interval(by_subject)
        each = ", ".join(f"{mean(gains.values()):+.2f}" for gains in by_seed)
        rows.append((comparison.part, f"{mean(by_subject):+.2f}", f"{low:+.2f} to {high:+.2f}", each))
    return markdown_table(("part", "contribution [dB]", "95 % interval over subjects", "by seed"), rows)


def differences(means: Means, comparison: Comparison) -> dict[str, float]:
    """The difference of two variants for each subject [dB]."""
    variant, other = means[comparison.variant], means[comparison.other]
    return {subject: psnr - other[subject] for subject, psnr in variant.items()}


def main() -> None:
    parser = make_parser(__doc__, writes="the tables to docs/benchmarks.md")
    parser.add_argument("runs", type=Path, help="folder with one folder of runs for each seed, see models/train.py")
    parser.add_argument(
        "--report", type=series_folder, required=True, help="cines of subjects that were not used for training"
    )
    parser.add_argument("--scans", type=Path, default=Path("results/quality/scans"), help="folder of simulated scans")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path("results/ablations"))
    arguments = parser.parse_args()
    folders = sorted(arguments.runs.glob("seed*"))
    if not folders:
        raise FileError("the folder contains no runs", where=str(arguments.runs), hint="models/train.py writes them")
    groups = make_scans(ScanOptions(arguments.scans, arguments.report, None, 0, coils=(1,)))
    scans = [path for paths in groups.values() for path in paths]
    baselines = means_of(scans, BASELINES, arguments.output / "baselines", arguments.workers)
    seeds = []
    for folder in folders:
        models = [str(mark.parent) for mark in sorted(folder.glob("*/done"))]
        seeds.append(means_of(scans, models, arguments.output / folder.name, arguments.workers))
    n_subjects = len(baselines[BASELINES[0]])
    about = f"{SAMPLING}, one coil, {n_subjects} subjects, {len(seeds)} seeds."
    text = "\n\n".join([about, comparison_table(seeds), value_table(baselines, seeds)])
    print(text)
    if arguments.write:
        write_section("ablations", text)


if __name__ == "__main__":
    run_benchmark(main)
