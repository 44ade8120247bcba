"""Commands that do not compute load neither PyTorch nor SciPy: each is run in a process of its own, with real input."""

import json
import socket
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from cinerecon.acquisition.inspection import inspect_scan
from cinerecon.archives.shards import Shard
from cinerecon.io.mrd_stream.messages import CloseMessage, write_message
from cinerecon.io.mrd_stream.reader import scan_messages
from cinerecon.physics.sampling import PATTERNS, parse_mask
from cinerecon.preparation.run import prepare
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import run_batch
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

HEAVY = ("torch", "scipy", "sigpy", "matplotlib")
ROOT = Path(__file__).parents[2]
SCAN = ROOT / "sample_data/phantom_cine.h5"
MODELS = [
    ["models"],
    ["models", "--json"],
    ["models", "show", "slrnet"],
    ["models", "show", "slrnet", "--settings"],
    ["models", "show", "ktslr-reference", "--settings"],
]


def loaded_by(code, folder):
    """Run Python code in a process of its own; the heavy libraries that it loads, and its standard output."""
    report = f"import json, sys; json.dump([n for n in {HEAVY} if n in sys.modules], open('loaded.json', 'w'))"
    script = f"try:\n    {code}\nfinally:\n    {report}\n"
    outcome = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    return json.loads((folder / "loaded.json").read_text()), outcome.stdout


def run_command(*commands, folder):
    """Run commands in one process, one after the other; see `loaded_by`."""
    texts = [[str(word) for word in words] for words in commands]
    code = f"for words in {texts!r}:\n        sys.argv[1:] = words\n        try: main()\n"
    code += "        except SystemExit as end: assert not end.code, words"
    return loaded_by(f"import sys; from cinerecon.cli import main\n    {code}", folder)


def test_the_check_sees_what_is_loaded(tmp_path):
    assert loaded_by("import torch", tmp_path)[0] == ["torch"]


def test_commands_that_compute_nothing_are_light(tmp_path):
    loaded, printed = run_command(*MODELS, folder=tmp_path)
    assert loaded == []
    assert "slrnet" in printed


def test_import_is_light_and_quick(tmp_path):
    """The number of modules that the import adds, on which its time depends."""
    code = "import sys; before = len(sys.modules); import cinerecon; print(len(sys.modules) - before)"
    loaded, n_modules = loaded_by(code, tmp_path)
    assert loaded == []
    assert int(n_modules) < 60


def test_masks_are_drawn_and_read_by_numpy(tmp_path):
    numbers = {pattern: "" if pattern == "full" else ":16" if pattern == "radial" else ":4" for pattern in PATTERNS}
    sizes = ("--frames", 5, "--ky", 40, "--kx", 36, "--seed", 3)
    commands = [["mask", pattern + number, *sizes, "-o", f"{pattern}.npz"] for pattern, number in numbers.items()]
    loaded, printed = run_command(*commands, folder=tmp_path)
    assert loaded == []
    assert printed.count(".npz\n") == len(PATTERNS)
    for pattern, number in numbers.items():
        expected = parse_mask(pattern + number).draw(5, 40, 36, seed=3)
        assert np.array_equal(np.load(tmp_path / f"{pattern}.npz")["mask"], expected), pattern


def test_a_mask_with_the_order_of_its_lines_is_light(tmp_path):
    drawn = ["mask", "cava:4", "--order", "pattern", "-o", "mask.npz"]
    read = ["mask", "mask.npz", "--order", "linear", "-o", "again.npz"]
    assert run_command(drawn, read, folder=tmp_path)[0] == []
    masks = [np.load(tmp_path / name)["mask"] for name in ("mask.npz", "again.npz")]
    assert np.array_equal(*masks)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """The same raw scan in each format that is read: noise readouts, several coils, an ECG."""
    folder = tmp_path_factory.mktemp("scans")
    simulate_scan(folder / "scan.h5", SimulateConfig(n_frames=4, ky=32, kx=36, n_coils=3, n_slices=2))
    with (folder / "scan.mrd").open("wb") as file:
        for message in scan_messages(folder / "scan.h5"):
            write_message(file, message)
        write_message(file, CloseMessage())
    return folder


@pytest.mark.parametrize("name", ["scan.h5", "scan.mrd"])
@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
def test_raw_scans_are_inspected_by_numpy(name, options, scans, tmp_path):
    loaded, printed = run_command(["inspect", scans / name, *options], folder=tmp_path)
    assert loaded == []
    plan = inspect_scan(scans / name)
    assert plan.noise in printed
    assert plan.steps[-1] in printed
    if options:
        assert json.loads(printed) == json.loads(json.dumps(asdict(plan)))


def test_the_sample_is_inspected_by_numpy(tmp_path):
    loaded, printed = run_command(["inspect", SCAN], folder=tmp_path)
    assert loaded == []
    assert "whiten the coils" in printed


def test_the_label_of_openrecon_is_light(tmp_path):
    loaded, printed = run_command(["openrecon", "label", "--model", "slrnet", "-o", "label.json"], folder=tmp_path)
    assert loaded == []
    assert "slrnet" in printed
    assert json.loads((tmp_path / "label.json").read_text())


@pytest.mark.parametrize("command", ["prepare", "recon"])
def test_cases_and_images_are_merged_without_heavy_libraries(command, scans, tmp_path):
    scan = scans / "scan.h5"
    if command == "prepare":
        prepare([scan], tmp_path / "out", workers=1, pictures=False, shard=Shard(1, 1))
    else:
        request = ReconRequest(scan, "zerofilled", verdict=False)
        run_batch(plan_batch([scan], ["zerofilled"], [f"{tmp_path}/out/"], [".npz"], request, Shard(1, 1)))
    loaded, printed = run_command(["merge", "out"], folder=tmp_path)
    assert loaded == []
    assert "merged" in printed


def test_a_scan_is_sent_without_heavy_libraries(scans, tmp_path):
    """All but the images of the server, which closes the connection at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        thread = Thread(target=lambda: server.accept()[0].close())
        thread.start()
        code = (
            f"import sys; sys.argv = ['cinerecon', 'send', {str(scans / 'scan.h5')!r}, {address!r}, '-o', 'x.h5'];"
            " from cinerecon.cli import main; exec('try: main()\\nexcept SystemExit: pass')"
        )
        loaded, _ = loaded_by(code, tmp_path)
        thread.join()
    assert loaded == []


def test_doctor_reports_versions_before_it_loads_anything(tmp_path):
    """So that it helps where PyTorch cannot be imported."""
    code = "from cinerecon.commands.doctor import examine_versions; print(*(text for _, text in examine_versions()))"
    loaded, printed = loaded_by(code, tmp_path)
    assert loaded == []
    assert f"torch {version('torch')}" in printed
    assert "numpy" in printed
