"""Quality, time and memory of the classical methods, and of BART where it is installed.

    python benchmarks/classical.py --series FOLDER            # all cases; prints a table
    python benchmarks/classical.py --series FOLDER --write    # also writes it to docs/benchmarks.md
    python benchmarks/classical.py --series FOLDER --tune     # tunes BART's weights on the tuning case
    python benchmarks/classical.py --series FOLDER --converged --matrix 96 96  # k-t SLR against the released algorithm

With `--keep FILE`, several runs that choose cases or methods can share the work on a table; the last one writes it.

Cases are held-out phantoms and measured magnitude series (`.npz` with `magnitude`), undersampled, with simulated phase,
coils and noise; nothing was tuned on them. PSNR and SSIM are those of magnitudes. Each reconstruction is a separate
process. Times are those of the reconstruction alone; BART's include reading and writing its files. Memory is the peak
of the process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import bart_pics
import converged
import torch
from cases import Case, Sizes, list_anatomies, make_cases
from classical_tables import Row, describe_results
from command import make_parser, positive, run_benchmark, series_folder
from pages import machine, write_section
from stored_rows import StoredRows
from usage import Usage
from worker import work

from cinerecon.methods.table import METHODS
from cinerecon.metrics.measures import compare

Methods = dict[str, tuple[str, list[str]]]
"""Label of a method, its name and its settings."""
SAMPLINGS = ("gaussian:8,acs=4", "radial:16")
OURS: Methods = {
    name: (name, [])
    for name, entry in METHODS.items()
    if entry.kind == "classical" and name != "ktslr-reference"  # takes minutes per cine, see `--converged`
} | {"ktslr global": ("ktslr", ["block_size=0"])}
HEADINGS = f"{'case':38}{'method':18}{'PSNR [dB]':>9}{'SSIM':>8}{'wall [s]':>10}{'CPU [s]':>9}{'memory [MB]':>13}"


def main() -> None:
    args = read_arguments()
    if args.worker:
        print(json.dumps(asdict(work(*args.worker[:3], args.worker[3:]))))
    elif args.tune:
        tune(args)
    elif args.converged:
        rows = run_all(args, converged.methods())
        show("converged", converged.describe_converged(rows, describe_sizes(args)), args.write)
    else:
        bart = {name: (name, []) for name in bart_pics.METHODS} if bart_pics.is_installed() else {}
        show("classical", describe_results(run_all(args, OURS | bart)), args.write)


def show(section: str, text: str, write: bool) -> None:
    print(text)
    if write:
        write_section(section, text)


def run_all(args: argparse.Namespace, methods: Methods) -> list[Row]:
    """Run every method on every case, printing and storing each row; stored rows are not run again."""
    common = {
        "machine": machine(),
        "frames": args.frames,
        "matrix": args.matrix,
        "noise": args.noise,
        "maps": args.maps,
    }
    stored = StoredRows(args.keep, common)
    print(HEADINGS)
    for case in selected_cases(args):
        for label in args.model or methods:
            if (*case.key, label) not in stored.rows:
                stored.add(print_row(case, label, *run(case, label, *methods.get(label, (label, [])))))
    return stored.sorted(list(methods))


def describe_sizes(args: argparse.Namespace) -> str:
    y, x = args.matrix
    return f"{args.frames} frames of {y} x {x}, the middle of the measured series."


def selected_cases(args: argparse.Namespace) -> Iterator[Case]:
    anatomies = args.anatomy or list_anatomies(args.series)
    return make_cases(anatomies, args.coils, args.undersample, args.series, sizes_of(args), args.maps)


def sizes_of(args: argparse.Namespace) -> Sizes:
    return Sizes(args.frames, tuple(args.matrix), args.noise)


def run(case: Case, label: str, name: str, settings: list[str]) -> tuple[torch.Tensor, Usage]:
    """The image of a method that runs in a separate process, with time and memory."""
    if label in bart_pics.METHODS:
        return bart_pics.reconstruct(case.data, bart_pics.read_weights(label, case.data.n_coils))
    with tempfile.TemporaryDirectory() as folder:
        case_file, image_file = Path(folder) / "case.pt", Path(folder) / "image.pt"
        torch.save({name: getattr(case.data, name) for name in ("kspace", "mask", "csm")}, case_file)
        command = [sys.executable, __file__, "--worker", name, str(case_file), str(image_file), *settings]
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        return torch.load(image_file), Usage(**json.loads(output.splitlines()[-1]))


def print_row(case: Case, method: str, image: torch.Tensor, usage: Usage) -> Row:
    """Score an image and print its row."""
    scores = compare(image, case.data.reference)
    row = Row(case.anatomy, case.data.n_coils, case.sampling, method, scores["psnr"], scores["ssim"], usage)
    minimum = f"   minimum {usage.minimum_s:.2f} s" if usage.minimum_s else ""
    numbers = f"{row.psnr:9.2f}{row.ssim:8.4f}{usage.wall_s:10.2f}{usage.cpu_s:9.2f}{usage.memory_mb:13.0f}"
    print(f"{case!s:38}{method:18}{numbers}{minimum}", flush=True)
    return row


def tune(args: argparse.Namespace) -> None:
    """Tune BART's weights on the tuning case, starting from the stored ones, and store them."""
    anatomy, sampling = (args.anatomy or ["sax_base"])[0], args.undersample[0]
    for case in make_cases([anatomy], args.coils, [sampling], args.series, sizes_of(args)):
        for method in args.model or bart_pics.METHODS:

            def psnr_of(weights: bart_pics.Weights, case: Case = case, method: str = method) -> float:
                return print_row(case, method, *bart_pics.reconstruct(case.data, weights)).psnr

            start = bart_pics.read_weights(method, case.data.n_coils)
            weights, psnr = bart_pics.search(start, psnr_of)
            bart_pics.write_weights(method, case.data.n_coils, weights, f"{anatomy}, {sampling}: {psnr:.2f} dB")


def read_arguments() -> argparse.Namespace:
    parser = make_parser(__doc__, writes="the tables into docs/benchmarks.md")
    parser.add_argument("--series", type=series_folder, help="folder of measured magnitude series")
    parser.add_argument(
        "--anatomy", nargs="+", help="series in it, or phantom:SEED; default: all on which nothing is tuned"
    )
    parser.add_argument("--coils", type=positive, nargs="+", default=[1, 8])
    parser.add_argument("--undersample", nargs="+", default=SAMPLINGS)
    parser.add_argument("--noise", type=float, default=Sizes.noise, help="noise of a sample relative to the peak")
    parser.add_argument(
        "--maps", default="true", help="coil maps: true, or a method that estimates them: smooth, espirit, walsh"
    )
    parser.add_argument("--frames", type=positive, default=Sizes.frames)
    parser.add_argument("--matrix", type=positive, nargs=2, default=Sizes.matrix, metavar=("Y", "X"), help="[pixels]")
    choices = [*dict.fromkeys([*OURS, *bart_pics.METHODS, *converged.methods()])]
    parser.add_argument("--model", action="append", choices=choices, help="default: all")
    parser.add_argument("--converged", action="store_true", help="compare with the released algorithm, converged")
    parser.add_argument(
        "--keep", type=Path, help="file of rows: those in it are not computed again, new ones are added, all are shown"
    )
    parser.add_argument("--tune", action="store_true", help="tune BART's weights")
    parser.add_argument("--worker", nargs="+", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    run_benchmark(main)
