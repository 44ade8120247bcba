"""The scripts in ``examples/`` run, and print what they compute."""

import re
from pathlib import Path

import numpy as np
import pytest
from forked import run_python

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, folder):
    """Run a script in a folder; the text that it prints."""
    result = run_python(f"import runpy; runpy.run_path({str(EXAMPLES / name)!r}, run_name='__main__')", cwd=folder)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


def decibels(text):
    """All PSNR values in a text."""
    return [float(number) for number in re.findall(r"PSNR ([\d.]+) dB", text)]


def test_every_example_is_short_listed_and_tested():
    tests = Path(__file__).read_text(encoding="utf-8")
    listing = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.read_text(encoding="utf-8").count("\n") < 60, path.name
        assert f'"{path.name}"' in tests, path.name
        assert f"({path.name})" in listing, path.name


@pytest.mark.slow
def test_reconstruct_scan_writes_the_image_in_three_formats(tmp_path):
    import nibabel

    assert decibels(run("reconstruct_scan.py", tmp_path))[0] > 26
    with np.load(tmp_path / "cine.npz") as file:
        image = abs(file["image"][0])  # (frames, y, x)
    volume = np.asarray(nibabel.load(tmp_path / "cine.nii.gz").dataobj)[:, :, 0]  # (x, y, frames)
    np.testing.assert_allclose(volume.transpose(2, 1, 0), image, rtol=1e-5, atol=1e-6 * image.max())
    assert (tmp_path / "cine.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.slow
def test_numpy_arrays_agree_with_the_truth(tmp_path):
    given, estimated = decibels(run("numpy_arrays.py", tmp_path))
    assert given > estimated > 22


@pytest.mark.slow
def test_compare_methods_ranks_them(tmp_path):
    rows = [line.split() for line in run("compare_methods.py", tmp_path).splitlines()[1:]]
    scores = {(row[0], row[1]): float(row[2]) for row in rows}
    assert len(scores) == 8
    assert scores["gaussian:4", "zerofilled"] < scores["gaussian:4", "cgsense"] < scores["gaussian:4", "ttv"]


def test_sampling_mask_has_the_acceleration_that_is_printed(tmp_path):
    text = run("sampling_mask.py", tmp_path)
    with np.load(tmp_path / "mask.npz") as file:
        mask = file["mask"]
    assert mask.shape == (12, 1, 96, 1)
    printed = float(re.search(r"gaussian:8,acs=4 +net acceleration +([\d.]+)", text)[1])
    assert printed == pytest.approx(mask.size / mask.sum(), abs=0.005)


@pytest.mark.slow
def test_own_network_learns(tmp_path):
    first, *_, last = decibels(run("own_network.py", tmp_path))
    assert last > first + 2


@pytest.mark.slow
def test_trained_network_is_better_than_zero_filling(tmp_path):
    zerofilled, trained = decibels(run("train_on_phantoms.py", tmp_path))
    assert trained > zerofilled + 0.3
    assert (tmp_path / "runs/small/weights.safetensors").is_file()
