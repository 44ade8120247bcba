import json

import h5py
import numpy as np
import pytest
from raw_scan import small_scan
from typer.testing import CliRunner

from cinerecon.acquisition.open import open_scan
from cinerecon.commands.inspect import app
from cinerecon.errors import ConfigError, DataError, UnsupportedError
from cinerecon.io.case import write_case
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan


@pytest.fixture
def run():

    def invoke(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0
        return result.stdout

    return invoke


@pytest.fixture
def scan():
    """Frames of 6 of 12 lines, the 2 central ones always; a navigator and a noise readout."""
    scan = small_scan(n_slices=2)
    lines = scan.heads["idx"]["kspace_encode_step_1"]
    scan.keep(((lines + scan.heads["idx"]["phase"]) % 3 == 0) | (lines == 5) | (lines == 6))
    for number in (19, 23):
        scan.append(0)
        scan.flag(len(scan.heads) - 1, number)
    return scan


def test_what_is_in_the_scan(run, scan, tmp_path):
    plan = json.loads(run(scan.write(tmp_path / "scan.h5"), "--json"))
    assert (plan["n_slices"], plan["n_frames"], plan["n_coils"]) == (2, [3, 3], 3)
    assert (plan["matrix"], plan["encoded_matrix"], plan["oversampling"]) == ([12, 16], [12, 32], 2)
    assert plan["pixel_size_mm"] == [20, 20]
    kept = len(scan.heads) - 2
    assert plan["acceleration"] == pytest.approx(72 / kept)
    assert plan["n_acs"] == 2
    assert plan["acceleration_without_acs"] == pytest.approx((72 - 12) / (kept - 12))
    assert (plan["n_image_readouts"], plan["n_noise_readouts"]) == (kept, 1)
    assert plan["dropped"] == [{"n_readouts": 1, "reason": "flag 23: navigator"}]
    assert plan["flags"] == {"19 noise measurement": 1, "23 navigator": 1}
    assert "remove readout oversampling: 32 to 16 samples" in plan["steps"]


@pytest.mark.parametrize("vendor", ["SIEMENS", "GE"])
def test_the_acceleration_is_that_of_the_reconstruction(run, tmp_path, vendor):
    """Phase oversampling, partial Fourier, an asymmetric echo: none of them is counted as acceleration."""
    scan = small_scan(matrix=(24, 16), rows=30, vendor=vendor)
    lines = scan.heads["idx"]["kspace_encode_step_1"]
    scan.keep((lines >= 8) & ((lines + scan.heads["idx"]["phase"]) % 3 == 0))
    scan.samples = [samples[:, 8:] for samples in scan.samples]
    scan.heads["number_of_samples"] -= 8
    scan.heads["center_sample"] -= 8
    path = scan.write(tmp_path / "scan.h5")
    plan = json.loads(run(path, "--json"))
    report = reconstruct_scan(ReconRequest(path, "zerofilled", (str(tmp_path / "image.npz"),)))
    assert (plan["acceleration"], plan["acceleration_without_acs"]) == pytest.approx(
        (report.slices[0].acceleration, report.slices[0].acceleration_without_acs)
    )
    assert plan["acceleration"] == pytest.approx(3 * 22 / len(scan.heads))
    assert plan["phase_fraction"] == pytest.approx(22 / 28)
    assert "partial Fourier: 79% of k-space" in run(path)


def test_the_text_of_the_command(run, scan, tmp_path):
    scan.heads["read_dir"] = scan.heads["phase_dir"] = scan.heads["slice_dir"] = 0
    lines = run(scan.write(tmp_path / "scan.h5")).splitlines()
    found = {line[:14].strip(): line[14:].strip() for line in reversed(lines)}
    assert found["scanner"] == "SIEMENS"
    assert found["coils"] == "3"
    assert found["readout"] == "oversampled 2x, echo symmetric"
    assert found["noise scan"] == "1 readouts of 32 samples"
    assert any("1 flag 23: navigator" in line for line in lines)
    assert any("warning" in line for line in lines)
    assert any("geometry is missing" in line for line in lines)


def test_settings_reach_the_preprocessing(run, tmp_path):
    scan = small_scan()
    for row in range(36):
        scan.append(row)["idx"]["contrast"] = 1
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(UnsupportedError, match="2 contrasts"):
        run(path)
    plan = json.loads(run(path, "--set", "preprocessing.select.contrast=1", "--json"))
    assert plan["n_image_readouts"] == 36


def test_samples_are_checked(run, tmp_path):
    scan = small_scan()
    scan.samples[20][0, 0] = np.nan
    with pytest.raises(DataError, match="NaN in acquisition 20"):
        run(scan.write(tmp_path / "scan.h5"))


@pytest.mark.parametrize("kind", ["case", "challenge"])
def test_what_recon_reads_is_inspected_too(run, tmp_path, kind):
    scan = small_scan(n_slices=2)
    if kind == "case":
        path = tmp_path / "case.h5"
        write_case(path, open_scan(scan.write(tmp_path / "scan.h5")).read_slice(0))
    else:
        path = tmp_path / "FullSample" / "P001" / "cine_sax.mat"
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            kspace = scan.kspace.numpy().swapaxes(0, 1)
            stored = np.empty(kspace.shape, [("real", "<f4"), ("imag", "<f4")])
            stored["real"], stored["imag"] = kspace.real, kspace.imag
            file["kspace_full"] = stored
    found = json.loads(run(path, "--json"))
    n_slices = 1 if kind == "case" else 2
    assert (found["n_slices"], found["n_frames"], found["n_coils"]) == (n_slices, [3] * n_slices, 3)
    assert (found["matrix"], found["acceleration"], found["n_references"]) == ([12, 16], 1, n_slices)
    lines = run(path).splitlines()
    assert any("12 x 16 (y x) pixels" in line for line in lines)
    with pytest.raises(ConfigError, match="--dataset applies only to ISMRMRD"):
        run(path, "--dataset", "dataset")
    with pytest.raises(ConfigError, match="exclude_coils applies only to ISMRMRD"):
        run(path, "--set", "preprocessing.exclude_coils=[0]")
