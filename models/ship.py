"""Put trained weights beside their recipes, and write their cards.

    python models/ship.py runs/shipped                             # weights alone
    python models/ship.py runs/shipped --results results/quality   # and what they reach, by benchmarks/quality.py

The weights are those of each run that were best on its validation; they carry the card's lines with them.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import yaml
from safetensors.torch import load_file
from train import MODELS, NETWORKS

from cinerecon.methods.unrolled import read_model, write_model
from cinerecon.methods.unrolled.model import hash_weights
from cinerecon.networks import NETWORKS as SUMMARIES
from cinerecon.workflows.evaluate.score import Score, read_scores

SOURCE = "this project"
TRAINED_ON = "6 magnitude cines of one volunteer and 60 phantoms; phase, coils and noise simulated"
BASELINE = "ktslr"
FIRST_IMAGE_DB = 28.54
"""Of k-t SLR on the patches that all runs are validated on."""
REPORTED = ("sax_mid_1", "gaussian:8")
HOSTS = {"istanet-lr": "istanet", "dccnn-lr": "dccnn", "crnn-lr": "crnn", "slrnet": "istanet", "passnet": "jotlasnet"}
"""What the papers compare a network with."""
GROUPS = ("sax_mid", "lax_4ch", "phantom")


@dataclass(frozen=True)
class Reached:
    """Mean PSNR [dB] of methods, by group of scans, coils and sampling."""

    psnr: dict[tuple[str, int, str, str], float]

    @classmethod
    def of(cls, scores: list[Score]) -> "Reached":
        """The means of scores."""
        found: dict[tuple[str, int, str, str], list[float]] = {}
        for score in scores:
            group = next(name for name in GROUPS if score.scan.startswith(name))
            found.setdefault((group, score.n_coils, score.sampling, score.method), []).append(score.psnr)
        return cls({key: mean(values) for key, values in found.items()})

    def gains(self, method: str, other: str) -> dict[tuple[str, int, str], float]:
        """How much better than another method, wherever both were tried."""
        return {
            key[:3]: value - self.psnr[(*key[:3], other)]
            for key, value in self.psnr.items()
            if key[3] == method and (*key[:3], other) in self.psnr
        }


def ship(name: str, run: Path, reached: Reached) -> None:
    """Copy the weights, if they belong to the recipe that stands there, and write the card."""
    trained, wanted = (yaml.safe_load((folder / "model.yaml").read_text()) for folder in (run, MODELS / name))
    if any(trained[key] != wanted.get(key, default) for key, default in (("architecture", {}), ("demodulate", False))):
        raise SystemExit(f"{run} is not what {MODELS / name}/model.yaml says")
    config, path = read_model(run)
    weights = load_file(path)
    card = config.card.model_copy(update={"source": SOURCE, "trained_on": TRAINED_ON, "reports": report(name, reached)})
    write_model(MODELS / name / "weights.safetensors", weights, config.model_copy(update={"card": card}))
    text = describe(name, run, sum(tensor.numel() for tensor in weights.values()), hash_weights(weights), reached)
    (MODELS / name / "CARD.md").write_text(text)
    print(f"{name}: {card.reports}")


def report(name: str, reached: Reached) -> str:
    """The line that the list of models shows."""
    ours, theirs = (reached.psnr.get(("sax_mid", 1, "gaussian:8", method)) for method in (name, BASELINE))
    if ours is None or theirs is None:
        return ""
    return f"{ours:.2f} dB on a held-out real series at 8x, one coil; k-t SLR {theirs:.2f} dB"


def describe(name: str, run: Path, n_numbers: int, checksum: str, reached: Reached) -> str:
    """The card as a page."""
    recipe = yaml.safe_load((run / "model.yaml").read_text())
    about = json.loads((run / "run.json").read_text())
    with (run / "log.csv").open(newline="") as file:
        log = list(csv.DictReader(file))
    best = max(log, key=lambda row: float(row["validation_db"]))
    summary = SUMMARIES[recipe["network"]][1]
    heading = (MODELS / name / "model.yaml").read_text().splitlines()[0].removeprefix("# ")
    parts = [
        f"# {name}, as shipped",
        heading,
        "| | |\n|---|---|\n"
        f"| architecture | {summary}; {n_numbers:,} numbers, all settings in `model.yaml` |\n"
        "| first image | k-t SLR (`ktslr`, default settings), not the zero-filled image of the papers |\n"
        "| phase | each voxel is turned so that the first image is real on time average |\n"
        "| one set of weights for | single-coil and multi-coil scans |\n"
        f"| licence | {recipe['training']['licence']}, as the program; trained from random weights |\n"
        f"| checksum (SHA-256) | `{checksum}` |\n"
        f"| checksum of the data | `{about['data_sha256']}` |",
        "## How it was trained",
        "As all networks here, see [TRAINING.md](../TRAINING.md): on six magnitude cines of one volunteer and 60 "
        "phantoms, with simulated phase, coils and noise.",
        f"{log[-1]['step']} steps of one patch in {float(log[-1]['seconds']) / 60:.0f} minutes, on one core of a "
        f"shared machine of two (x86-64, torch {about['torch']}). Shipped are the averaged weights of step "
        f"{best['step']}, the best on twelve patches of phantoms that training never saw: "
        f"{float(best['validation_db']):.2f} dB there, where the first image alone has {FIRST_IMAGE_DB} dB.",
        "## What it reaches",
        table(name, reached) or "Not measured yet.",
    ]
    return "\n\n".join([*parts, *claims(name, reached)]) + "\n"


def table(name: str, reached: Reached) -> str:
    """PSNR of k-t SLR and the network for each group of scans, a column for each sampling."""
    keys = [key for key in reached.psnr if key[3] == name]
    samplings = list(dict.fromkeys(key[2] for key in keys))
    rows = list(dict.fromkeys(key[:2] for key in keys))
    if not rows:
        return ""
    lines = [f"| {BASELINE} → {name}, PSNR [dB] | " + " | ".join(samplings) + " |", "|" + "---|" * (1 + len(samplings))]
    for group, coils in rows:
        cells = []
        for sampling in samplings:
            pair = [reached.psnr.get((group, coils, sampling, method)) for method in (BASELINE, name)]
            cells.append("" if None in pair else f"{pair[0]:.2f} → {pair[1]:.2f}")
        lines.append(f"| {group}, {coils} coil{'s' if coils > 1 else ''} | " + " | ".join(cells) + " |")
    where = "Held-out scans (`benchmarks/quality.py`; more measures in `docs/benchmarks.md`), noise 1 % of the maximum:"
    return where + "\n\n" + "\n".join(lines)


def claims(name: str, reached: Reached) -> list[str]:
    """How it stands to k-t SLR and to what its paper compares it with."""
    found = []
    for other in (BASELINE, HOSTS.get(name)):
        gains = reached.gains(name, other) if other else {}
        if gains:
            least, most = min(gains, key=lambda key: gains[key]), max(gains, key=lambda key: gains[key])
            ends = [f"{gains[key]:+.2f} ({', '.join(map(str, key))})" for key in (least, most)]
            average = f"{mean(gains.values()):+.2f} dB on average of {len(gains)} cells"
            found.append(f"Over `{other}`: {average}, from {ends[0]} to {ends[1]}.")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of run folders, see train.py")
    parser.add_argument("--results", type=Path, help="folder of benchmarks/quality.py")
    arguments = parser.parse_args()
    reached = Reached.of(read_scores(arguments.results) if arguments.results else [])
    for name in NETWORKS:
        if (arguments.runs / name / "done").exists():
            ship(name, arguments.runs / name, reached)


if __name__ == "__main__":
    main()
