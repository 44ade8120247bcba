"""Commands that read one set of a scan with several, and plain arrays, get the data of a file that holds it alone."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.errors import CineReconError
from cinerecon.io.case import read_case
from cinerecon.io.ismrmrd.raw import MemorySamples
from cinerecon.io.raw_file import read_raw_scan, write_raw_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

SIZES = {"n_frames": 3, "ky": 24, "kx": 24, "n_coils": 3}
NOISE = 1 << 18


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A scan of two sets, and one that holds the readouts of its second set alone."""
    folder = tmp_path_factory.mktemp("sets")
    simulate_scan(folder / "simulated.h5", SimulateConfig(**SIZES, venc=150))
    raw = read_raw_scan(folder / "simulated.h5")
    samples, trajectories = (raw.store.read(name, np.arange(len(raw))) for name in ("data", "traj"))
    write_raw_scan(replace(raw, store=MemorySamples(samples, trajectories)), folder / "both.h5")  # without truth
    rows = np.flatnonzero((raw.heads["idx"]["set"] == 1) | (raw.heads["flags"] & NOISE > 0))
    store = MemorySamples(samples[rows], trajectories[rows])
    heads = raw.heads[rows].copy()
    heads["idx"]["set"] = 0
    write_raw_scan(replace(raw, heads=heads, amplitude=raw.amplitude[rows], store=store), folder / "second.h5")
    return folder / "both.h5", folder / "second.h5"


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def scores(output):
    with (output / "scores.csv").open() as file:
        return [(row["psnr"], row["ssim"]) for row in csv.DictReader(file)]


def test_inspect_reports_one_set(scans):
    both, second = scans
    reports = [
        json.loads(run("inspect", both, "--set-index", "1", "--json")),
        json.loads(run("inspect", second, "--json")),
    ]
    assert (
        reports[0]["n_readouts"] > reports[1]["n_readouts"]
        and reports[0]["n_image_readouts"] == reports[1]["n_image_readouts"] == 72
    )
    error = CliRunner().invoke(app, ["inspect", str(both)]).exception
    assert isinstance(error, CineReconError) and "--set-index" in str(error)


def test_prepare_takes_one_set(scans, tmp_path):
    kspace = []
    for name, scan, options in (("a", scans[0], ("--set-index", "1")), ("b", scans[1], ())):
        run("prepare", scan, *options, "-o", tmp_path / name, "--workers", "1", "--no-pictures", "--split", "test")
        (case,) = (tmp_path / name).rglob("*slice00.h5")
        kspace.append(read_case(case).kspace)
    assert np.allclose(kspace[0], kspace[1])
    first = open_scan(scans[1]).read_slice(0).kspace
    assert kspace[0].shape == first.shape


def test_evaluate_scores_one_set(scans, tmp_path):
    command = ["evaluate", "-m", "zerofilled", "--undersample", "gaussian:2", "--pictures", "0", "--seed", "1"]
    label = tmp_path / "same" / "scan.h5"  # the pattern depends on the name of the file
    label.parent.mkdir()
    found = []
    for name, scan, options in (
        ("a", scans[0], ("--set-index", "1")),
        ("b", scans[1], ()),
        ("c", scans[0], ("--set-index", "0")),
    ):
        label.write_bytes(scan.read_bytes())
        run(*command, label, *options, "-o", tmp_path / name)
        found.append(scores(tmp_path / name))
    assert found[0] == found[1] != found[2]
    label.write_bytes(scans[0].read_bytes())
    run(*command, label, "--set-index", "0", "-o", tmp_path / "a")  # the score of set 1 is not taken for that of set 0
    assert len(scores(tmp_path / "a")) == 2


def test_evaluate_reads_arrays_with_named_axes(tmp_path):
    (data,) = simulate_cine(SimulateConfig(**SIZES))
    kspace = data.kspace.numpy()
    found = []
    for name in ("scan.npy", "scan.npz"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        options = []
        if name == "scan.npy":
            np.save(folder / name, kspace)
            options = ["--axes", "frames coils ky kx", "--oversampling", "1", "--pixel-size", "1.5", "1.5"]
        else:
            np.savez(folder / name, kspace=kspace, axes="frames coils ky kx", oversampling=1, pixel_size_mm=[1.5, 1.5])
        command = ["evaluate", folder / name, "-m", "zerofilled", "--undersample", "gaussian:2", "--pictures", "0"]
        run(*command, *options, "-o", folder / "out")
        found.append(scores(folder / "out"))
    assert found[0] == found[1] and len(found[0]) == 1
