"""Replay a simulated scan through `cinerecon serve` at the pace of a scanner: latency, memory and images.

The latency of a slice is the time from sending its last readout to receiving its last image. Memory is the resident set
of the server after each scan. The images of the first and the last slice are compared with those reconstructed from the
file.

    python benchmarks/replay.py --scans 10 --undersample gaussian:4 --write replay
    python benchmarks/replay.py --scans 10 --model zerofilled --slices 3 --matrix 64 64 --frames 8 --coils 4 --tr 0
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from command import make_parser, positive, run_benchmark
from pages import machine, markdown_table, write_section

from cinerecon.io.mrd_stream.messages import AcquisitionMessage, ImageMessage, Message, TextMessage
from cinerecon.reconstruction.public import reconstruct
from cinerecon.reconstruction.stream.client import exchange
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

NOISE_FLAG = 1 << 18


@dataclass
class Replay:
    """Measurements of one replay.

    Attributes
    ----------
    sent_s, latency_s
        Time of the last readout of each slice since the start [s], and from there to its last image [s].
    images
        ``(frames, y, x)`` of each slice.
    cpu_s
        CPU time of the server [s].
    memory_mb
        Resident set of the server afterwards [MB].
    """

    sent_s: dict[int, float] = field(default_factory=dict)
    latency_s: dict[int, float] = field(default_factory=dict)
    images: dict[int, list[np.ndarray]] = field(default_factory=dict)
    cpu_s: float = 0.0
    memory_mb: float = 0.0


@contextmanager
def server(model: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run the server in a separate process; yields the process and its address."""
    command = [sys.executable, "-m", "cinerecon.cli", "serve", "--port", "0", "--model", model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split(",")[0].split()[-1]
        finally:
            process.terminate()


def replay(scan: Path, process: subprocess.Popen, address: str, tr_ms: float) -> Replay:
    """Send a scan, and record when its images arrive."""
    result, start, cpu_s = Replay(), time.perf_counter(), cpu_seconds(process.pid)

    def record_time(message: Message) -> None:
        if isinstance(message, AcquisitionMessage) and not int(message.head["flags"]) & NOISE_FLAG:
            result.sent_s[int(message.head["idx"]["slice"])] = time.perf_counter() - start

    for message in exchange(scan, address, pace_ms=tr_ms, on_sent=record_time):
        if isinstance(message, TextMessage):
            print(message.text, file=sys.stderr)
        if isinstance(message, ImageMessage):
            number = int(message.head["slice"])
            result.images.setdefault(number, []).append(message.values[0, 0])
            result.latency_s[number] = time.perf_counter() - start - result.sent_s[number]
    result.cpu_s, result.memory_mb = cpu_seconds(process.pid) - cpu_s, resident_mb(process.pid)
    return result


def resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def largest_difference(images: dict[int, list[np.ndarray]], scan: Path, model: str) -> float:
    """Largest difference from the images of the file, in the first and the last slice, relative to their maximum."""
    chosen = (0, len(images) - 1)
    parts = reconstruct(scan, method=model, slices=chosen)
    differences = [
        np.abs(np.stack(images[n]) - np.abs(part.image)).max() for n, part in zip(chosen, parts, strict=True)
    ]
    return float(max(differences) / max(np.abs(part.image).max() for part in parts))


def describe(config: SimulateConfig, options: argparse.Namespace, replays: list[Replay], difference: float) -> str:
    """Settings of the replays, the latency of each slice over all of them, and the memory after each of them."""
    slices = list(replays[0].latency_s)
    latencies = np.array([[part.latency_s[number] for number in slices] for part in replays])
    cpu_s = np.mean([part.cpu_s for part in replays]) / len(slices)
    sizes = f"{len(slices)} slices x {config.n_frames} frames x {config.n_coils} coils, {config.ky} x {config.kx}"
    settings = (
        f"{machine()} {sizes}, {config.undersample or 'all lines'}, TR {options.tr:g} ms, `{options.model}`. "
        f"Load average of the machine {os.getloadavg()[1]:.1f}; CPU time of the server {cpu_s:.1f} s per slice. "
        f"Largest difference from the images of the file, relative to their maximum: {difference:.1g}."
    )
    medians, largest = ([f"{value:.1f}" for value in f(latencies, axis=0)] for f in (np.median, np.max))
    latency = markdown_table(
        ("slice", *map(str, slices)),
        [("latency, median [s]", *medians), ("latency, largest [s]", *largest)],
    )
    memory = markdown_table(
        ("scan", *map(str, range(1, len(replays) + 1))),
        [("memory afterwards [MB]", *(f"{part.memory_mb:.0f}" for part in replays))],
    )
    return "\n\n".join([settings, latency, memory])


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--model", default="ktslr")
    parser.add_argument("--slices", type=positive, default=12)
    parser.add_argument("--frames", type=positive, default=25)
    parser.add_argument("--coils", type=positive, default=8)
    parser.add_argument("--matrix", type=positive, nargs=2, default=(128, 128), metavar=("KY", "KX"))
    parser.add_argument("--undersample", default=None, help="sampling pattern, e.g. gaussian:4; all lines if not given")
    parser.add_argument("--tr", type=float, default=3.0, help="time between readouts [ms]; 0: as fast as possible")
    parser.add_argument("--scans", type=positive, default=1, help="replays through one server")
    parser.add_argument("--write", metavar="SECTION", help="write the tables into this section of docs/benchmarks.md")
    options = parser.parse_args()
    ky, kx = options.matrix
    config = SimulateConfig(
        n_slices=options.slices,
        n_frames=options.frames,
        n_coils=options.coils,
        ky=ky,
        kx=kx,
        undersample=options.undersample,
        noise=0.003,
    )
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder) / "scan.h5"
        simulate_scan(scan, config)
        with server(options.model) as (process, address):
            replays = [replay(scan, process, address, options.tr) for _ in range(options.scans)]
        text = describe(config, options, replays, largest_difference(replays[-1].images, scan, options.model))
    print(text)
    if options.write:
        write_section(options.write, text)


if __name__ == "__main__":
    run_benchmark(main)
