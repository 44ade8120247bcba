"""The verdict of ``cinerecon recon``: in the table, JSON, files and exit code, and from Python."""

import json

import numpy as np
import pydicom
import pytest
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.errors import CineReconWarning, ConfigError, DataError
from cinerecon.methods.model_file import RECIPE, WEIGHTS, models_folder, read_model, write_model
from cinerecon.methods.table import load_method
from cinerecon.reconstruction.public import reconstruct
from cinerecon.reconstruction.trust import calibration_of
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SIZES = {"seed": 7000, "n_frames": 12, "ky": 96, "kx": 96, "n_coils": 1, "oversampling": 1}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verdict")
    simulate_scan(folder / "intact.h5", SimulateConfig(**SIZES, noise=0.01, undersample="gaussian:6,acs=4"))
    simulate_scan(folder / "noisy.h5", SimulateConfig(**SIZES, noise=0.4, undersample="gaussian:6,acs=4"))
    return folder


def recon(*arguments):
    return CliRunner().invoke(app, ["recon", *map(str, arguments)])


def test_intact_scan_is_as_expected_and_its_error_inside_the_interval(scans, tmp_path):
    result = recon(scans / "intact.h5", "-m", "ktslr", "--strict", "--json", "-o", tmp_path / "a.npz")
    assert result.exit_code == 0, result.output
    (part,) = json.loads(result.stdout)["slices"]
    verdict = part["verdict"]
    assert (verdict["status"], verdict["reasons"]) == ("as expected", [])
    assert verdict["psnr_low"] < part["quality"]["psnr"] < verdict["psnr_high"]
    assert part["seconds"]["verdict"] > 0
    with np.load(tmp_path / "a.npz") as file:
        assert file["verdict"][0].startswith("verdict: as expected; expected PSNR")


def test_noisy_scan_is_refused_when_strict(scans, tmp_path):
    result = recon(scans / "noisy.h5", "-m", "ktslr", "--strict", "-o", tmp_path / "a.h5")
    assert isinstance(result.exception, DataError), "an error of the user: exit code 2"
    assert result.exception.what.startswith("do not use: ")
    assert not list(tmp_path.iterdir())


def test_verdict_is_in_table_dicom_and_picture(scans, tmp_path):
    result = recon(scans / "noisy.h5", "-m", "ktslr", "-o", tmp_path / "dicom/", "-o", tmp_path / "a.png")
    assert result.exit_code == 0, result.output
    (row,) = (line for line in result.stdout.splitlines() if line.split()[:2] == ["0", "12"])
    assert row.endswith("do not use")
    assert "warning  do not use: " in result.stderr
    image = pydicom.dcmread(tmp_path / "dicom/slice00_frame003.dcm")
    block = image.private_block(0x0071, "CINERECON VERDICT")
    assert block[0x01].value == "do not use"
    low, high = block[0x03].value[1:]
    assert low < block[0x03].value[0] < high
    assert block[0x03].value[0] < block[0x05].value - 6
    assert "verdict: do not use" in image.ImageComments
    without = recon(scans / "noisy.h5", "-m", "ktslr", "--no-verdict", "-o", tmp_path / "b.png")
    assert "do not use" not in without.output
    assert Image.open(tmp_path / "a.png").height > Image.open(tmp_path / "b.png").height


def test_batch_lists_the_worst_verdict(scans, tmp_path):
    arguments = [scans / "intact.h5", scans / "noisy.h5", "-m", "ktslr", "--format", ".npz", "-o", f"{tmp_path}/out/"]
    result = recon(*arguments, "--json")
    assert [outcome["verdict"] for outcome in json.loads(result.stdout)] == ["as expected", "do not use"]
    again = recon(*arguments, "--json", "--resume")
    assert [outcome["verdict"] for outcome in json.loads(again.stdout)] == ["as expected", "do not use"]


def test_from_python(scans):
    with pytest.warns(CineReconWarning, match="do not use"):
        (part,) = reconstruct(scans / "noisy.h5", method="ktslr")
    assert part.verdict.status == "do not use"
    assert part.verdict.risk > 0.5
    (part,) = reconstruct(scans / "intact.h5", method="zerofilled")
    assert part.verdict is None


@pytest.mark.parametrize("method", ["slrnet", "stvarnet"])
def test_networks_have_verdicts_of_their_own(scans, method):
    result = recon(scans / "intact.h5", "-m", method, "--strict", "--json")
    assert result.exit_code == 0, result.output
    (part,) = json.loads(result.stdout)["slices"]
    verdict = part["verdict"]
    assert verdict["status"] == "as expected"
    assert verdict["psnr_low"] < part["quality"]["psnr"] < verdict["psnr_high"]
    assert calibration_of(method) != calibration_of("ktslr")


@pytest.mark.parametrize("name", ["slrnet", "ktslr"])
def test_a_loaded_method_gives_the_name_and_verdict_of_its_name(scans, name):
    (by_name,) = reconstruct(scans / "intact.h5", method=name)
    (loaded,) = reconstruct(scans / "intact.h5", method=load_method(name))
    assert loaded.cine.method == by_name.cine.method == name
    assert loaded.verdict == by_name.verdict is not None
    assert loaded.cine.provenance.series == by_name.cine.provenance.series


def other_weights(folder):
    """A run folder with the recipe of a shipped network, and weights that differ slightly."""
    config, path = read_model("slrnet")
    folder.mkdir()
    (folder / RECIPE).write_text((models_folder() / "slrnet" / RECIPE).read_text())
    write_model(folder / WEIGHTS, {name: 1.01 * tensor for name, tensor in load_file(path).items()}, config)
    return folder


def test_other_weights_of_the_same_name_have_no_verdict(scans, tmp_path):
    """The expected error was calibrated with the shipped weights."""
    folder = other_weights(tmp_path / "slrnet")
    for options in ({"method": folder}, {"method": "slrnet", "weights": folder / WEIGHTS}):
        (part,) = reconstruct(scans / "intact.h5", **options)
        assert part.cine.method == "slrnet" and part.verdict is None
        assert part.no_verdict == "slrnet does not have the shipped weights"


def test_other_settings_have_no_verdict(scans):
    """The expected error was calibrated with the default settings; the precision does not change the image."""
    for method, text in (("ktslr", "n_iterations=5"), ("slrnet", "phase_smoothing=1"), ("slrnet", "scale=max")):
        (part,) = reconstruct(scans / "intact.h5", method=method, settings=[text])
        assert part.verdict is None and part.no_verdict == f"{method} does not have the default settings"
    for method, text in (("ktslr", "n_iterations=40"), ("slrnet", "precision=float32")):
        (part,) = reconstruct(scans / "intact.h5", method=method, settings=[text])
        assert part.verdict is not None and not part.no_verdict


def test_requested_verdict_of_other_weights_or_settings_is_refused(scans, tmp_path):
    folder = other_weights(tmp_path / "slrnet")
    for arguments, reason in (
        (("-m", folder), "slrnet does not have the shipped weights"),
        (("-m", "ktslr", "--set", "n_iterations=5"), "ktslr does not have the default settings"),
    ):
        result = recon(scans / "intact.h5", *arguments, "--verdict", "-o", tmp_path / "a.h5")
        assert isinstance(result.exception, ConfigError) and reason in result.exception.what
        result = recon(scans / "intact.h5", *arguments, "-o", tmp_path / "a.h5", "--force")
        assert result.exit_code == 0 and f"slice 0  no verdict: {reason}" in result.stdout


def test_small_cines_report_that_they_have_no_verdict(tmp_path):
    simulate_scan(tmp_path / "short.h5", SimulateConfig(**SIZES | {"n_frames": 6}, undersample="gaussian:4,acs=4"))
    result = recon(tmp_path / "short.h5", "-m", "ktslr", "-o", tmp_path / "a.h5")
    assert "slice 0  no verdict: fewer than 8 frames" in result.stdout
    result = recon(tmp_path / "short.h5", "-m", "ktslr", "-o", tmp_path / "b.h5", "--no-verdict")
    assert "no verdict" not in result.stdout
