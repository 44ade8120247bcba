"""What the parts of the networks are worth: variants trained alike, on what no training has seen.

    python models/train.py --series FOLDER -o runs/ablations --ablations
    python benchmarks/ablations.py runs/ablations --series FOLDER --write

Scans, masks and measures are those of `quality.py`, with one coil. The variants are trained briefly and from random
weights, so they are to be compared with one another, and not with the weights that the program comes with.
"""

import argparse
from pathlib import Path
from statistics import mean

from quality import PHANTOMS, group_of, make_scans
from report import write_section

from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import Score

QUESTIONS = {
    "SLR-Net without and with its low-rank branch": ("istanet", "slrnet"),
    "DC-CNN without a low-rank module, with it at L1, L2, L3": ("dccnn", "dccnn-lr-L1", "dccnn-lr", "dccnn-lr-L3"),
    "PASSNet: position-aware against relative soft shrinkage": ("passnet", "passnet-relative"),
    "PASSNet: adaptive fusion against addition": ("passnet", "passnet-addition"),
    "PASSNet: patches of several sizes against one": ("passnet", "passnet-fixed-patches"),
    "PASSNet: 9, 13, 15 and 17 stages of 8 channels, 150 steps": tuple(f"passnet-{n}" for n in (9, 13, 15, 17)),
}
SAMPLINGS = ("gaussian:8", "vds:10")
BASELINE = "ktslr"


def describe(scores: list[Score]) -> str:
    """A table for each question: PSNR over k-t SLR, a column for each group of scans under each sampling."""
    found: dict[tuple[str, str, str], list[float]] = {}
    for score in scores:
        found.setdefault((score.method, group_of(score), score.sampling), []).append(score.psnr)
    columns = list(dict.fromkeys(key[1:] for key in found))
    lines = ["| PSNR [dB] | " + " | ".join(f"{group}, {sampling}" for group, sampling in columns) + " |"]
    lines.append("|" + "---|" * (1 + len(columns)))
    lines.append(
        f"| `{BASELINE}` | " + " | ".join(f"{mean(found[BASELINE, *column]):.2f}" for column in columns) + " |"
    )
    for question, variants in QUESTIONS.items():
        lines.append(f"| *{question}* |" + " |" * len(columns))
        for name in (name for name in variants if any(key[0] == name for key in found)):
            gains = [mean(found[name, *column]) - mean(found[BASELINE, *column]) for column in columns]
            lines.append(f"| `{name}` | " + " | ".join(f"{gain:+.2f}" for gain in gains) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of run folders, see models/train.py")
    parser.add_argument("--series", type=Path, help="folder of magnitude cines")
    parser.add_argument("--scans", type=Path, default=Path("results/quality/scans_0.01"), help="where scans are kept")
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/ablations"))
    arguments = parser.parse_args()
    names = list(dict.fromkeys(name for variants in QUESTIONS.values() for name in variants))
    models = [str(arguments.runs / name) for name in names if (arguments.runs / name / "done").exists()]
    groups = make_scans(arguments.scans, arguments.series, arguments.phantoms, 0.01)
    scans = [path for paths in groups.values() for path in paths if path.stem.endswith("_1")]
    found = evaluate(scans, [BASELINE, *models], list(SAMPLINGS), output=arguments.output, workers=arguments.workers)
    text = describe(found.complete())
    print(text)
    if arguments.write:
        write_section("ablations", f"One coil; {arguments.phantoms} {PHANTOMS}. Gains over `{BASELINE}`:\n\n{text}")


if __name__ == "__main__":
    main()
