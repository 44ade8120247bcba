"""Memory of ``cinerecon recon``: the plan, the limit, and what is reported where memory is exhausted."""

import re
import subprocess
import sys

import numpy as np
import pytest
from raw_scan import small_scan

from cinerecon import cli
from cinerecon.memory import parse_size
from cinerecon.methods import memory_plan
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, reconstruct_scan

CODE = (
    "import atexit, sys; from pathlib import Path; from cinerecon.cli import main; "
    "atexit.register(lambda: print(Path('/proc/self/status').read_text() if sys.platform == 'linux' else '')); "
    "sys.argv[1:] = {arguments!r}; main()"
)
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_AS, (n := {limit}, n)); "


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


def command(arguments, *, limit=None):
    """Run a command in a process of its own: exit code, messages, and peak memory [bytes]."""
    code = (LIMITED.format(limit=limit) if limit else "") + CODE.format(arguments=[*map(str, arguments)])
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    # of the process alone: what `wait4` returns begins with the memory of the process that started it
    peak = re.search(r"^VmHWM:\s*(\d+) kB", run.stdout, re.MULTILINE)
    return run.returncode, run.stderr, int(peak[1]) * 1024 if peak else 0


def predicted_and_measured(arguments):
    """The memory that ``recon`` reports before it reads samples, and its peak [bytes]."""
    code, text, peak = command(["recon", *arguments, "--memory", "1.5GB"])
    assert code == 0, text
    return parse_size(next(line for line in text.splitlines() if "predicted" in line)[8:14]), peak


@pytest.fixture(scope="module")
def large_scans(tmp_path_factory):
    """Scans of one and of four slices, whose k-space takes 75 MB each."""
    folder = tmp_path_factory.mktemp("large")
    for n_slices in (1, 4):
        sizes = ["--coils", "16", "--frames", "16", "--ky", "192", "--kx", "192", "--slices", n_slices]
        assert command(["simulate", "-o", folder / f"{n_slices}.h5", *sizes])[0] == 0
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory as Linux counts it")
def test_memory_is_as_predicted_and_does_not_grow_with_the_number_of_slices(large_scans, tmp_path):
    peaks = []
    for n_slices in (1, 4):
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
        (4, 16, ["--model", "cgsense", "--undersample", "gaussian:4", "--uncertainty", "--variants", "4"]),
    ],
)
def test_memory_is_as_predicted_for_few_and_many_coils_and_each_kind_of_method(tmp_path, n_coils, n_frames, arguments):
    sizes = ["--coils", n_coils, "--frames", n_frames, "--ky", "128", "--kx", "128"]
    assert command(["simulate", "-o", tmp_path / "scan.h5", *sizes])[0] == 0
    predicted, peak = predicted_and_measured([tmp_path / "scan.h5", *arguments, "-o", tmp_path / "cine.h5"])
    assert 0.75 * predicted < peak <= predicted


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory as Linux counts it")
def test_images_of_many_slices_take_no_memory(tmp_path):
    """Each slice has 2 MB of image and reference, which are on the disk as soon as it is finished."""
    peaks = []
    for n_slices in (3, 19):
        sizes = ["--coils", "2", "--frames", "8", "--ky", "128", "--kx", "128", "--slices", n_slices]
        assert command(["simulate", "-o", tmp_path / "scan.h5", *sizes, "--force"])[0] == 0
        outputs = [word for ending in ("npz", "h5", "cfl") for word in ("-o", tmp_path / f"{n_slices}.{ending}")]
        peaks.append(predicted_and_measured([tmp_path / "scan.h5", "--model", "zerofilled", *outputs])[1])
    assert peaks[1] - peaks[0] < 16 * 2**20


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of the address space as Linux has them")
def test_a_process_without_enough_memory_ends_with_a_hint(large_scans, tmp_path):
    arguments = ["recon", large_scans / "4.h5", "--model", "zerofilled", "-o", tmp_path / "o.npz", "--quiet", "--force"]
    reports = [command(arguments, limit=n * 10**8) for n in range(10, 22, 2)]
    codes = [code for code, *_ in reports]
    texts = [text for code, text, _ in reports if code == 2]
    assert 0 in codes
    assert any(text.startswith("error  out of memory") and text.count("\n") == 3 for text in texts), reports
