"""Gains of the parts of the networks: variants that were trained alike, on scans that were not used for training.

    python models/train.py --series FOLDER -o runs/ablations --ablations
    python benchmarks/ablations.py runs/ablations --series FOLDER --write

Scans, masks and measures are those of `quality.py`, with one coil. The variants are trained briefly and from random
weights, so they should be compared with each other, and not with the shipped weights.
"""

import argparse
from pathlib import Path
from statistics import mean

from pages import markdown_table, write_section
from quality import PHANTOMS, ScanOptions, make_scans

from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import Score

COMPARISONS = {
    "SLR-Net without and with its low-rank branch": ("istanet", "slrnet"),
    "DC-CNN without a low-rank module, with it at L1, L2, L3": ("dccnn", "dccnn-lr-L1", "dccnn-lr", "dccnn-lr-L3"),
    "PASSNet: position-aware against relative soft shrinkage": ("passnet", "passnet-relative"),
    "PASSNet: adaptive fusion against addition": ("passnet", "passnet-addition"),
    "PASSNet: patches of several sizes against one": ("passnet", "passnet-fixed-patches"),
    "PASSNet: 9, 13, 15 and 17 stages of 8 channels, 150 steps": tuple(f"passnet-{n}" for n in (9, 13, 15, 17)),
}
SAMPLINGS = ("gaussian:8", "vds:10")
BASELINE = "ktslr"


def anatomy_of(score: Score) -> str:
    """The cine that a scan was simulated from; all phantoms together."""
    group, name, *_ = score.scan.split("-")
    return group if group == PHANTOMS else name


def gain_table(scores: list[Score]) -> str:
    """Gains in PSNR over k-t SLR, by anatomy and sampling, with the rows of each comparison together."""
    psnr: dict[tuple[str, str, str], list[float]] = {}
    for score in scores:
        psnr.setdefault((score.method, anatomy_of(score), score.sampling), []).append(score.psnr)
    columns = list(dict.fromkeys(key[1:] for key in psnr))
    baseline = [mean(psnr[BASELINE, *column]) for column in columns]
    rows: list[tuple[str, ...]] = [(f"`{BASELINE}`", *(f"{value:.2f}" for value in baseline))]
    for title, variants in COMPARISONS.items():
        rows.append((f"*{title}*", *("" for _ in columns)))
        for name in variants:
            if (name, *columns[0]) in psnr:
                values = [mean(psnr[name, *column]) for column in columns]
                gains = [value - reference for value, reference in zip(values, baseline, strict=True)]
                rows.append((f"`{name}`", *(f"{gain:+.2f}" for gain in gains)))
    return markdown_table(("PSNR [dB]", *(f"{anatomy}, {sampling}" for anatomy, sampling in columns)), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="folder of run folders, see models/train.py")
    parser.add_argument("--series", type=Path, help="folder with sax_mid.npz and lax_4ch.npz of the volunteer")
    parser.add_argument("--scans", type=Path, default=Path("results/quality/scans"), help="folder of simulated scans")
    parser.add_argument("--phantoms", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write the table to docs/benchmarks.md")
    parser.add_argument("-o", "--output", type=Path, default=Path("results/ablations"))
    arguments = parser.parse_args()
    names = dict.fromkeys(name for variants in COMPARISONS.values() for name in variants)
    models = [str(arguments.runs / name) for name in names if (arguments.runs / name / "done").exists()]
    groups = make_scans(ScanOptions(arguments.scans, None, arguments.series, arguments.phantoms, coils=(1,)))
    scans = [path for paths in groups.values() for path in paths]
    scores = evaluate(scans, [BASELINE, *models], list(SAMPLINGS), output=arguments.output, workers=arguments.workers)
    table = gain_table(scores.complete())
    print(table)
    if arguments.write:
        write_section("ablations", f"One coil; {arguments.phantoms} phantoms. Gains over `{BASELINE}`:\n\n{table}")


if __name__ == "__main__":
    main()
