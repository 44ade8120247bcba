"""Memory and time of `cinerecon prepare` for increasing numbers of slices.

python benchmarks/prepare.py --slices 1 10 40
"""

import sys
import tempfile
from pathlib import Path

from command import make_parser, positive, run_benchmark
from pages import markdown_head, markdown_row
from usage import Usage, run_measured

SIMULATE = "--frames {frames} --ky {matrix} --kx {matrix} --coils {coils} --slices {slices}"


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--slices", type=positive, nargs="+", default=[1, 10, 40])
    parser.add_argument("--matrix", type=positive, default=128)
    parser.add_argument("--coils", type=positive, default=8)
    parser.add_argument("--frames", type=positive, default=12)
    options = vars(parser.parse_args())
    print(markdown_head(("slices", "scan [MB]", "peak memory [MB]", "relative to the first row", "seconds per slice")))
    first_mb = None
    for slices in options.pop("slices"):
        with tempfile.TemporaryDirectory() as folder:
            scan, cases = Path(folder, "scan.h5"), Path(folder, "data")
            run("simulate", "-o", scan, *SIMULATE.format(slices=slices, **options).split())
            usage = run("prepare", scan, "-o", cases, "--workers", 1)
            first_mb = first_mb or usage.memory_mb
            ratio, seconds = usage.memory_mb / first_mb, usage.wall_s / slices
            numbers = f"{scan.stat().st_size / 1e6:.0f}", f"{usage.memory_mb:.0f}", f"{ratio:.2f}", f"{seconds:.2f}"
            print(markdown_row((slices, *numbers)), flush=True)


def run(*arguments: object) -> Usage:
    """Run a command of the program in a separate process."""
    return run_measured([sys.executable, "-m", "cinerecon.cli", *map(str, arguments)])


if __name__ == "__main__":
    run_benchmark(main)
