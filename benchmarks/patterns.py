"""Quality of k-t SLR from each sampling pattern at the same acceleration.

    python benchmarks/patterns.py                    # held-out phantoms; prints a table
    python benchmarks/patterns.py --series FOLDER    # measured magnitude series as well
    python benchmarks/patterns.py --write            # writes the table to docs/benchmarks.md

Cases, noise and measures are those of `classical.py`. The settings of the method are the same for all patterns. Each
case is undersampled with several seeds.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import mean

from cases import Sizes, list_anatomies, make_cases
from command import make_parser, positive, run_benchmark, series_folder
from pages import markdown_head, markdown_row, write_section

from cinerecon.methods.table import load_method
from cinerecon.metrics.measures import compare
from cinerecon.physics.sampling import PATTERNS, net_acceleration, parse_mask

ACCELERATION = 8
OPTIONS = {"equispaced": "adjusted,acs=8", "kt-gaussian": "acs=4", "kt-radial": "acs=4"}
"""Options without which the net acceleration would be far from the nominal one."""
NUMBERS = {"radial": 16}
"""Patterns whose number is not an acceleration: spokes."""


def main() -> None:
    args = read_arguments()
    rows = []
    for n_coils in args.coils:
        for name in args.undersample or [name for name in PATTERNS if name != "full"]:
            rows.append(markdown_row(score_pattern(pattern_text(name), n_coils, args)))
            print(rows[-1], flush=True)
    anatomies = args.anatomy or list_anatomies(args.series)
    y, x = args.matrix
    text = "\n".join(
        [
            f"`ktslr`, {args.frames} frames of {y} x {x}; means over {', '.join(anatomies)} and {args.seeds} seeds.\n",
            markdown_head(("coils", "sampling", "kind", "net acceleration", "PSNR [dB]", "lowest", "SSIM")),
            *rows,
        ]
    )
    if args.write:
        write_section("patterns", text)


def pattern_text(name: str) -> str:
    """The text of a pattern at the common acceleration."""
    options = f",{OPTIONS[name]}" if name in OPTIONS else ""
    return f"{name}:{NUMBERS.get(name, ACCELERATION)}{options}"


def score_pattern(sampling: str, n_coils: int, args: argparse.Namespace) -> tuple[object, ...]:
    """The cells of a row: means over all cases and seeds."""
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
    numbers = f"{mean(net):.2f}", f"{mean(psnr):.2f}", f"{min(psnr):.2f}", f"{mean(ssim):.4f}"
    return n_coils, sampling, kind, *numbers


def read_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__, writes="the table to docs/benchmarks.md")
    parser.add_argument("--anatomy", nargs="+", help="series, or phantom:SEED; default: all on which nothing is tuned")
    parser.add_argument("--undersample", nargs="+", choices=list(PATTERNS), help="default: all")
    parser.add_argument("--coils", nargs="+", type=positive, default=[1, 8])
    parser.add_argument("--frames", type=positive, default=16)
    parser.add_argument("--matrix", nargs=2, type=positive, default=[160, 160])
    parser.add_argument("--seeds", type=positive, default=2, help="masks per case")
    parser.add_argument("--series", type=series_folder, help="folder of measured magnitude series")
    return parser.parse_args(given)


if __name__ == "__main__":
    run_benchmark(main)
