"""Memory of ``cinerecon recon``: the plan, the limit, and what is reported where memory is exhausted."""

import re
import subprocess
import sys

import numpy as np
import pytest
from forked import run_python
from raw_scan import SLICE, small_scan

from cinerecon import cli
from cinerecon.memory import parse_size
from cinerecon.methods import memory_plan
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

CODE = (
    "import atexit, sys; from pathlib import Path; from cinerecon.cli import main; "
    "atexit.register(lambda: print(Path('/proc/self/status').read_text() if sys.platform == 'linux' else '')); "
    "sys.argv[1:] = {arguments!r}; main()"
)
LIMITED = (
    "import resource; from pathlib import Path; size = int(Path('/proc/self/statm').read_text().split()[0]) * 4096; "
    "resource.setrlimit(resource.RLIMIT_AS, (limit := size + {n_more}, limit)); "
)
"""A process may take so many bytes more than those it has after its libraries were imported."""


@pytest.fixture
def scan(tmp_path):
    return small_scan(n_coils=8, n_slices=2).write(tmp_path / "scan.h5")


@pytest.fixture
def small_constants(monkeypatch):
    """What a small scan would not reach: constants of the prediction, and the memory of the process."""
    monkeypatch.setattr(memory_plan, "_process_bytes", lambda: 0)
    for name in (
        "SPARE_BYTES",
        "LIBRARY_BYTES",
        "MAPS_BYTES",
        "SSIM_BYTES",
        "SPLINE_SIZE",
        "N_BLOCKS",
    ):
        monkeypatch.setattr(memory_plan, name, 0)


@pytest.mark.usefixtures("small_constants")
def test_coils_are_compressed_to_keep_a_limit(scan, tmp_path):
    plans = []
    limits = (None, "225KB", "160KB")
    reports = [
        reconstruct_scan(ReconRequest(scan, "zerofilled", [str(tmp_path / f"{n}.npz")], memory=limit), plan_to(plans))
        for n, limit in enumerate(limits)
    ]
    coils = [[part.n_coils for part in report.slices] for report in reports]
    assert coils[0] == coils[1] == [8, 8]
    assert 4 <= coils[2][0] == coils[2][1] < 8
    assert [plan.is_compressed for plan in plans] == [False, False, True]
    assert all(plan.predicted <= parse_size(limit) for plan, limit in zip(plans[1:], limits[1:], strict=True))
    assert np.array_equal(reports[0].slices[1].image, reports[1].slices[1].image)
    text = reports[2].slices[1].cine.provenance.texts
    assert text["coil_compression"].startswith(f"8 coils compressed to {coils[2][0]}: ")
    assert "memory=160KB" in text["settings"]


def plan_to(plans):
    return Observer(plan=plans.append)


def run(arguments, capsys):
    code = cli._run([*map(str, arguments)], is_debug=False)
    return code, capsys.readouterr().err


def test_a_limit_below_the_least_is_refused_before_any_work(scan, tmp_path, capsys):
    code, text = run(["recon", scan, "--model", "cgsense", "--memory", "1MB", "-o", tmp_path / "o.npz"], capsys)
    assert code == 2
    lines = text.splitlines()
    assert lines[0].startswith("error  the reconstruction needs at least ")
    assert lines[1] == f"where  {scan}, slice 0: 3 frames x 8 coils x 12 x 16, cgsense"
    assert lines[2].startswith("try    --memory ")
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")]
)
def test_exhausted_memory_is_reported_in_three_lines(scan, tmp_path, capsys, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("cinerecon.methods.classical.linear.ZeroFilled.solve", fail)
    code, text = run(["recon", scan, "--model", "zerofilled", "-o", tmp_path / "o.npz", "--quiet"], capsys)
    assert code == 2
    lines = text.splitlines()
    assert lines[0].startswith("error  out of memory")
    assert lines[1] == f"where  {scan}, slice 0: 3 frames x 8 coils x 12 x 16, zerofilled"
    assert lines[2].startswith("try    ")
    assert len(lines) == 3
    assert not (tmp_path / "o.npz").exists()


def test_exhausted_memory_of_other_commands_is_reported_too(tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("cinerecon.simulation.slices.draw_coil_maps", fail)
    code, text = run(["simulate", "-o", tmp_path / "s.h5", "--ky", "16", "--kx", "16", "--frames", "2"], capsys)
    assert code == 2
    assert text == ("error  out of memory\nwhere  cinerecon simulate\ntry    fewer --coils, --frames or --slices\n")


def predicted_and_measured(arguments):
    """The memory that ``recon`` reports before it reads samples, and its peak [bytes], in a process of its own."""
    code = CODE.format(arguments=["recon", *map(str, arguments), "--memory", "1.5GB"])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    # of the process alone: what `wait4` returns begins with the memory of the process that started it
    peak = re.search(r"^VmHWM:\s*(\d+) kB", run.stdout, re.MULTILINE)
    predicted = next(line for line in run.stderr.splitlines() if "predicted" in line)
    return parse_size(predicted[8:14]), int(peak[1]) * 1024


@pytest.fixture(scope="module")
def large_scans(tmp_path_factory):
    """Scans of one and of three slices, whose k-space takes 37 MB each."""
    folder = tmp_path_factory.mktemp("large")
    scan = small_scan(matrix=(192, 192), n_frames=16, n_coils=8, oversampling=1)
    scan.write(folder / "1.h5")
    n_slices = 3
    scan.space["limits"]["slice"] = (n_slices - 1, 0)
    scan.heads = np.tile(scan.heads, n_slices)
    scan.heads["idx"]["slice"] = np.repeat(np.arange(n_slices), len(scan.samples))
    scan.heads["position"] = 10.0 * scan.heads["idx"]["slice"][:, None] * SLICE
    scan.samples = n_slices * scan.samples
    scan.write(folder / "3.h5")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory as Linux counts it")
def test_memory_is_as_predicted_and_does_not_grow_with_the_number_of_slices(large_scans, tmp_path):
    peaks = []
    for n_slices in (1, 3):
        arguments = [large_scans / f"{n_slices}.h5", "--model", "zerofilled", "-o", tmp_path / f"{n_slices}.npz"]
        predicted, peak = predicted_and_measured(arguments)
        assert 0.8 * predicted < peak <= predicted
        peaks.append(peak)
    # the samples of a file of one slice are held in memory, those of several are read slice by slice
    assert peaks[1] < peaks[0]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory as Linux counts it")
@pytest.mark.parametrize(
    ("n_coils", "n_frames", "arguments"),
    [
        (1, 16, ["--model", "ktslr", "--set", "n_iterations=2"]),
        (32, 4, ["--model", "zerofilled"]),
        (8, 16, ["--model", "slrnet", "--undersample", "gaussian:8"]),
        (
            4,
            16,
            [
                "--model",
                "cgsense",
                "--set",
                "n_iterations=2",
                "--undersample",
                "gaussian:4",
                "--uncertainty",
                "--variants",
                "4",
            ],
        ),
    ],
)
def test_memory_is_as_predicted_for_few_and_many_coils_and_each_kind_of_method(tmp_path, n_coils, n_frames, arguments):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_coils=n_coils, n_frames=n_frames, ky=128, kx=128))
    predicted, peak = predicted_and_measured([tmp_path / "scan.h5", *arguments, "-o", tmp_path / "cine.h5"])
    assert 0.75 * predicted < peak <= predicted


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory as Linux counts it")
def test_images_of_many_slices_take_no_memory(tmp_path):
    """Each slice has 4 MB of image and reference, which are on the disk as soon as it is finished."""
    peaks = []
    for n_slices in (2, 8):
        config = SimulateConfig(n_coils=1, n_frames=16, ky=128, kx=128, n_slices=n_slices)
        simulate_scan(tmp_path / f"{n_slices}.h5", config)
        outputs = [word for ending in ("npz", "h5", "cfl") for word in ("-o", tmp_path / f"cine{n_slices}.{ending}")]
        peaks.append(predicted_and_measured([tmp_path / f"{n_slices}.h5", "--model", "zerofilled", *outputs])[1])
    assert peaks[1] - peaks[0] < 12 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space as Linux has them")
@pytest.mark.parametrize("n_more", [20e6, 60e6, 100e6])
def test_a_process_without_enough_memory_ends_with_a_hint(large_scans, tmp_path, n_more):
    arguments = ["recon", str(large_scans / "3.h5"), "--model", "zerofilled", "-o", str(tmp_path / "o.npz"), "--quiet"]
    run = run_python(LIMITED.format(n_more=int(n_more)) + CODE.format(arguments=arguments))
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith(b"error  out of memory"), run.stderr
    assert run.stderr.count(b"\n") == 3
    assert not (tmp_path / "o.npz").exists()
