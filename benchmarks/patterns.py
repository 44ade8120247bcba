"""Quality of k-t SLR from each sampling pattern at the same acceleration.

    python benchmarks/patterns.py                      # held-out phantoms; prints a table
    python benchmarks/patterns.py --series FOLDER        # and measured magnitude series
    python benchmarks/patterns.py --write              # puts it into docs/benchmarks.md

Cases, noise and measures are those of `classical.py`; the method is the same for all patterns, and nothing is tuned on
any of them. Each case is undersampled by several seeds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

from cases import Sizes, list_anatomies, make_cases
from report import write_section

from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import compare
from cinerecon.physics.sampling import PATTERNS, net_acceleration, parse_mask

ACCELERATION = 8
OPTIONS = {"equispaced": "adjusted,acs=8", "kt-gaussian": "acs=4", "kt-radial": "acs=4"}
"""Options without which the net acceleration would be far from the nominal one."""
NUMBERS = {"radial": 16}
"""Spokes where the number is not an acceleration."""


def main() -> None:
    args = read_arguments()
    rows = []
    for n_coils in args.coils:
        for name in args.undersample or [name for name in PATTERNS if name != "full"]:
            rows.append(row_of(text_of(name), n_coils, args))
            print(rows[-1], flush=True)
    anatomies = args.anatomy or list_anatomies(args.series)
    y, x = args.matrix
    text = "\n".join(
        [
            f"`ktslr`, {args.frames} frames of {y} x {x}; means over {', '.join(anatomies)} and {args.seeds} seeds.\n",
            "| coils | sampling | kind | net acceleration | PSNR [dB] | lowest | SSIM |",
            "|" + "---|" * 7,
            *rows,
        ]
    )
    if args.write:
        write_section("patterns", text)


def text_of(name: str) -> str:
    """The text of a pattern at the common acceleration."""
    options = f",{OPTIONS[name]}" if name in OPTIONS else ""
    return f"{name}:{NUMBERS.get(name, ACCELERATION)}{options}"


def row_of(sampling: str, n_coils: int, args: argparse.Namespace) -> str:
    """A row of the table: means over all cases and seeds."""
    method = load_method("ktslr", [])
    psnr, ssim, net = [], [], []
    for seed in range(args.seeds):
        sizes = replace(Sizes(args.frames, tuple(args.matrix)), seed=seed)
        for case in make_cases(args.anatomy or list_anatomies(args.series), [n_coils], [sampling], args.series, sizes):
            scores = compare(method(case.data), case.data.reference)
            psnr.append(scores["psnr"])
            ssim.append(scores["ssim"])
            net.append(net_acceleration(case.data.mask))
    kind = "points" if parse_mask(sampling).kind == "points" else "lines"
    numbers = f"{mean(net):.2f} | {mean(psnr):.2f} | {min(psnr):.2f} | {mean(ssim):.4f}"
    return f"| {n_coils} | {sampling} | {kind} | {numbers} |"


def read_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anatomy", nargs="+")
    parser.add_argument("--undersample", nargs="+", choices=list(PATTERNS))
    parser.add_argument("--coils", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--matrix", nargs=2, type=int, default=[160, 160])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--series", type=Path)
    parser.add_argument("--write", action="store_true")
    return parser.parse_args(given)


if __name__ == "__main__":
    main()
