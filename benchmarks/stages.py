"""Time the stages of a reconstruction from raw file to images: 8 coils, 25 frames, by default 160 x 192 points.

python benchmarks/stages.py --matrix 192 192
"""

import tempfile
from pathlib import Path

from command import make_parser, positive, run_benchmark
from pages import markdown_head, markdown_row

from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="slrnet")
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--matrix", type=positive, nargs=2, default=(160, 192), metavar=("KY", "KX"))
    options = parser.parse_args()
    ky, kx = options.matrix
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.h5"
        simulate_scan(scan, SimulateConfig(n_frames=25, ky=ky, kx=kx, n_coils=8, undersample="gaussian:8,acs=4"))
        heads = "read [s]", "maps [s]", "reconstruct [s]", "write .h5 [s]", "other / reconstruct", "peak memory [MB]"
        print(markdown_head(heads))
        for _ in range(options.repeats):
            output = str(Path(folder) / "image.h5")
            report = reconstruct_scan(ReconRequest(scan, options.model, outputs=(output,), force=True))
            seconds, write = report.slices[0].seconds, sum(report.written.values())
            other = seconds["read"] + seconds["maps"] + write
            stages = [f"{value:.2f}" for value in (seconds["read"], seconds["maps"], seconds["reconstruct"], write)]
            ratio = other / seconds["reconstruct"]
            print(markdown_row((*stages, f"{ratio:.2f}", f"{report.peak_memory_mb:.0f}")), flush=True)


if __name__ == "__main__":
    run_benchmark(main)
