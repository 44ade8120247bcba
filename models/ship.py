"""Copy trained weights to the folders of their recipes, and write their cards.

    python models/ship.py runs/shipped                             # without results
    python models/ship.py runs/shipped --results results/quality   # with those of benchmarks/quality.py
    python models/ship.py --results results/quality                # new results of the shipped weights

The weights are those of the last stage that were best in its validation. The file of the weights contains the lines of
the card.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from safetensors.torch import load_file
from train import MODELS, NETWORKS, read_recipe_values

from cinerecon import networks
from cinerecon.evaluation.paper_tables import PAPER_TABLES
from cinerecon.evaluation.score import Score, read_scores
from cinerecon.methods.card import Card
from cinerecon.methods.model_file import ModelConfig, hash_weights, read_model, write_model
from cinerecon.networks import NETWORKS as NETWORKS_OF_PACKAGE
from cinerecon.networks.unrolled import count_parameters
from cinerecon.training.card import describe_sampling, series_in
from cinerecon.training.recipe import read_recipe

SOURCE = "this project"
SIMULATED = "; all else simulated"
TRAINED_ON = (
    "45 magnitude cines of two patients, two volunteers and a pig, not sax_mid or lax_4ch, and 100 phantoms" + SIMULATED
)
PSNR_LABELS = {"first_image": "initial image", "validation": "network"}
"""Names in the card for measures of the validation that are not those of a method."""
BASELINE = "ktslr"
COMPARED_IN_PAPER = {
    "istanet-lr": "istanet",
    "dccnn-lr": "dccnn",
    "crnn-lr": "crnn",
    "slrnet": "istanet",
    "passnet": "jotlasnet",
}
"""Network with which the paper of a network compares it."""
PUBLISHED_GAINS = {
    name: (*method_and_sampling, float(gain))
    for table in PAPER_TABLES.values()
    for name, published in table.published.items()
    for method_and_sampling, gain in published.gain.items()
}
"""Gains of networks over another method that their papers report, with the sampling [dB]; other data, one coil."""
MAIN_GROUP = "subjects"
"""Group of scans of `benchmarks/quality.py` whose mean is shown by `cinerecon models`."""


@dataclass(frozen=True)
class Results:
    """Mean PSNR over subjects [dB], by group of scans, coils, sampling and method; numbers of subjects and series."""

    psnr: dict[tuple[str, int, str, str], float]
    n_subjects: dict[str, int]
    n_series: dict[str, int]

    @classmethod
    def from_scores(cls, scores: list[Score]) -> "Results":
        """Average scores."""
        by_subject: dict[tuple[str, int, str, str], dict[str, list[float]]] = {}
        for score in scores:
            key = (group_of(score), score.n_coils, score.sampling, score.method)
            by_subject.setdefault(key, {}).setdefault(score.subject, []).append(score.psnr)
        psnr = {key: mean(map(mean, subjects.values())) for key, subjects in by_subject.items()}
        subjects, series = ({group: set[str]() for group in map(group_of, scores)} for _ in range(2))
        for score in scores:
            subjects[group_of(score)].add(score.subject)
            series[group_of(score)].add(score.scan.rsplit("-", 2)[0])  # without coils and noise
        return cls(psnr, *({group: len(names) for group, names in groups.items()} for groups in (subjects, series)))

    def gains(self, method: str, other: str) -> dict[tuple[str, int, str], float]:
        """Gains of a method over another one [dB], for the combinations that both have."""
        return {
            key[:3]: value - self.psnr[(*key[:3], other)]
            for key, value in self.psnr.items()
            if key[3] == method and (*key[:3], other) in self.psnr
        }


def group_of(score: Score) -> str:
    """The group of the scan of a score, with which the name of the scan begins."""
    return score.scan.partition("-")[0]


def ship(name: str, stages: list[Path], results: Results) -> None:
    """Copy the weights of the last stage, provided that they belong to the recipe, and write the card."""
    run = stages[-1]
    recipes = (read_recipe_values(folder / "model.yaml") for folder in (run, MODELS / name))
    trained, shipped = map(complete_recipe, recipes)
    if any(trained[key] != shipped[key] for key in ("architecture", "demodulate", "phase_smoothing", "initial_method")):
        raise SystemExit(f"the settings of {run} differ from {MODELS / name}/model.yaml")
    config, path = read_model(run)
    weights = load_file(path)
    fields = {"source": SOURCE, "trained_on": TRAINED_ON, "reports": summary_line(name, results)}
    net = networks.build(config.network, config.architecture)
    fields["n_parameters"] = count_parameters(net)
    fields |= describe_sampling(read_recipe(run / "model.yaml").training.data)
    data_list = (run / "data.txt").read_text(encoding="utf-8")
    card = config.card.model_copy(update=fields).with_training_data(series_in(data_list), ())
    write_model(MODELS / name / "weights.safetensors", weights, config.model_copy(update={"card": card}))
    text = describe(name, stages, hash_weights(weights), card, results)
    (MODELS / name / "CARD.md").write_text(text, encoding="utf-8")
    print(f"{name}: {card.reports}")


def update_results(name: str, results: Results) -> None:
    """Replace the results in the card of shipped weights, and in the file of the weights."""
    page = MODELS / name / "CARD.md"
    heading = "\n\n## Results\n\n"
    before, _, _ = page.read_text(encoding="utf-8").partition(heading)
    page.write_text(
        before + heading + "\n\n".join([table(name, results), *describe_gains(name, results)]) + "\n", encoding="utf-8"
    )
    config, path = read_model(MODELS / name / "weights.safetensors")
    card = config.card.model_copy(update={"reports": summary_line(name, results)})
    write_model(path, load_file(path), config.model_copy(update={"card": card}))
    print(f"{name}: {card.reports}")


def complete_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with all settings of the network, without the training."""
    config_class = NETWORKS_OF_PACKAGE[recipe["network"]].config_class
    architecture = config_class.parse(recipe.get("architecture", {}), where=recipe["network"]).model_dump(mode="json")
    model = ModelConfig.parse({**recipe, "training": None, "card": {}, "architecture": architecture}, where="recipe")
    return model.model_dump(mode="json")


def summary_line(name: str, results: Results) -> str:
    """The line that `cinerecon models` shows."""
    psnr, baseline_psnr = (results.psnr.get((MAIN_GROUP, 1, "gaussian:8", method)) for method in (name, BASELINE))
    if psnr is None or baseline_psnr is None:
        return ""
    n = results.n_subjects[MAIN_GROUP]
    return f"{psnr:.2f} dB on {n} other subjects at 8x, one coil; k-t SLR {baseline_psnr:.2f} dB"


def describe_initial_image(initial: dict[str, Any] | None) -> str:
    """The method of the initial image and its settings."""
    settings = initial.get("settings", []) if initial else []
    return f"`{initial['method'] if initial else 'zerofilled'}`, {', '.join(settings) or 'default settings'}"


def describe_phase(smoothing: float) -> str:
    """The demodulation, by a phase that is smoothed by a Gaussian of this width [pixels]."""
    mean = "the phase of the time average of the initial image"
    return f"{mean}, smoothed by a Gaussian of {smoothing:g} pixels, is removed" if smoothing else f"{mean} is removed"


def describe(name: str, stages: list[Path], checksum: str, card: Card, results: Results) -> str:
    """The card as a page."""
    recipe = read_recipe_values(stages[-1] / "model.yaml")
    about = json.loads((stages[-1] / "run.json").read_text(encoding="utf-8"))
    summary, start = NETWORKS_OF_PACKAGE[recipe["network"]].summary, recipe.get("initial_method", recipe.get("start"))
    heading = (MODELS / name / "model.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
    parts = [
        f"# Model card: {name}",
        heading,
        "| | |\n|---|---|\n"
        f"| architecture | {summary}; {card.n_parameters:,} parameters; all settings are in `model.yaml` |\n"
        f"| initial image | {describe_initial_image(start)} |\n"
        f"| phase | {describe_phase(recipe.get('phase_smoothing', 0.0))} |\n"
        "| coils | the same weights for single-coil and multi-coil scans |\n"
        "| use | research on Cartesian 2-D cine, not diagnosis; not evaluated on measured raw scans |\n"
        f"| licence | {recipe['training']['licence']}, like the program; trained from random initial weights |\n"
        f"| checksum (SHA-256) | `{checksum}` |\n"
        f"| checksum of the data | `{about['data_sha256']}` |",
        "## Training",
        describe_training(stages, card, about["torch"]),
        "## Results",
        table(name, results) or "Not measured yet.",
    ]
    return "\n\n".join([*parts, *describe_gains(name, results)]) + "\n"


def describe_training(stages: list[Path], card: Card, torch_version: str) -> str:
    """Data, steps and time of the training, and the validation of the weights."""
    logs = [read_log(run)[-1] for run in stages]
    minutes = sum(float(row["seconds"]) for row in logs) / 60
    *before, last = (row["step"] for row in logs)
    steps = f"{len(logs)} stages of {', '.join(before)} and {last} steps" if before else f"{last} steps"
    decibels = {key.removesuffix("_db"): value for key, value in card.metrics.items() if key.endswith("_db")}
    validation = ", ".join(f"{PSNR_LABELS.get(key, f'`{key}`')} {value:.2f} dB" for key, value in decibels.items())
    return (
        f"See [TRAINING.md](../TRAINING.md). Training data: {card.trained_on.removesuffix(SIMULATED)}; phase, coils "
        "and noise are simulated.\n\n"
        f"{steps} with a batch size of one patch; {minutes:.0f} minutes in total, on one core of a shared two-core "
        f"machine (x86-64, torch {torch_version}). The shipped weights are the averaged weights of step "
        f"{card.metrics['step']:.0f} of the last stage, which had the best validation PSNR: {validation}."
    )


def read_log(run: Path) -> list[dict[str, str]]:
    """The rows of a run's log."""
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def table(name: str, results: Results) -> str:
    """PSNR of k-t SLR and of the network, with a row for each group and number of coils."""
    keys = [key for key in results.psnr if key[3] == name]
    samplings = list(dict.fromkeys(key[2] for key in keys))
    rows = list(dict.fromkeys(key[:2] for key in keys))
    if not rows:
        return ""
    lines = [f"| {BASELINE} → {name}, PSNR [dB] | " + " | ".join(samplings) + " |", "|" + "---|" * (1 + len(samplings))]
    for group, coils in rows:
        cells = []
        for sampling in samplings:
            pair = [results.psnr.get((group, coils, sampling, method)) for method in (BASELINE, name)]
            cells.append("" if None in pair else f"{pair[0]:.2f} → {pair[1]:.2f}")
        lines.append(f"| {group}, {coils} coil{'s' if coils > 1 else ''} | " + " | ".join(cells) + " |")
    groups = ", ".join(f"{group} {results.n_series[group]}" for group in dict.fromkeys(group for group, _ in rows))
    explanation = (
        "Means over subjects, for scans not used for training, with noise of 1 % of the maximum. Number of series: "
        f"{groups}. Other series of the volunteer were used for training. Further metrics, computed by "
        "`benchmarks/quality.py`, are in the [benchmarks](../../docs/benchmarks.md)."
    )
    return explanation + "\n\n" + "\n".join(lines)


def describe_gains(name: str, results: Results) -> list[str]:
    """Sentences on the gains over k-t SLR and over the network with which the paper compares it."""
    sentences = []
    for other in (BASELINE, COMPARED_IN_PAPER.get(name)):
        gains = results.gains(name, other) if other else {}
        if gains:
            least, most = min(gains, key=lambda key: gains[key]), max(gains, key=lambda key: gains[key])
            ends = [
                f"{gains[group, coils, sampling]:+.2f} ({group}, {coils} coil{'s' * (coils > 1)}, {sampling})"
                for group, coils, sampling in (least, most)
            ]
            average = f"{mean(gains.values()):+.2f} dB on average over the {len(gains)} values in the table"
            sentences.append(f"Gain over `{other}`: {average}, from {ends[0]} to {ends[1]}.")
    if name in PUBLISHED_GAINS:
        other, sampling, published = PUBLISHED_GAINS[name]
        gains = {key: gain for key, gain in results.gains(name, other).items() if key[1:] == (1, sampling)}
        if gains:
            measured = ", ".join(f"{gain:+.2f} dB ({key[0]})" for key, gain in gains.items())
            sentences.append(
                f"Its paper reports {published:+.1f} dB over `{other}` ({sampling}, one coil, full training, other "
                f"data). Here the gain is {measured}. TRAINING.md describes the experiments."
            )
    return sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*", help="folders of run folders, one per stage, see train.py")
    parser.add_argument("--results", type=Path, help="output folder of benchmarks/quality.py")
    arguments = parser.parse_args()
    results = Results.from_scores(read_scores(arguments.results) if arguments.results else [])
    for name in (*NETWORKS, "stvarnet"):
        stages = [folder / name for folder in arguments.runs]
        if stages and all((run / "done").exists() for run in stages):
            ship(name, stages, results)
        elif not stages and results.gains(name, BASELINE):
            update_results(name, results)


if __name__ == "__main__":
    main()
