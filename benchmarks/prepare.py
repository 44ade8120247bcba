"""Memory and time of `cinerecon prepare` as the number of slices grows.

python benchmarks/prepare.py [--slices 1 10 40] [--matrix 128] [--coils 8] [--frames 12]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIMULATE = "--frames {frames} --ky {matrix} --kx {matrix} --coils {coils} --slices {slices}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, nargs="+", default=[1, 10, 40])
    parser.add_argument("--matrix", type=int, default=128)
    parser.add_argument("--coils", type=int, default=8)
    parser.add_argument("--frames", type=int, default=12)
    options = vars(parser.parse_args())
    print("| slices | scan [MB] | peak memory [MB] | against one slice | seconds a slice |")
    print("|---|---|---|---|---|")
    first = None
    for slices in options.pop("slices"):
        with tempfile.TemporaryDirectory() as folder:
            scan, cases = Path(folder, "scan.h5"), Path(folder, "data")
            run("simulate", "-o", scan, *SIMULATE.format(slices=slices, **options).split())
            start = time.perf_counter()
            peak_mb = run("prepare", scan, "-o", cases, "--workers", 1)
            seconds = (time.perf_counter() - start) / slices
            first = first or peak_mb
            size_mb = scan.stat().st_size / 1e6
            print(f"| {slices} | {size_mb:.0f} | {peak_mb:.0f} | {peak_mb / first:.2f} | {seconds:.2f} |", flush=True)


def run(*arguments: object) -> float:
    """Run a command in a process of its own; its peak memory [MB]."""
    code = (
        "import resource, sys; from cinerecon.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(output.split()[-1]) / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
