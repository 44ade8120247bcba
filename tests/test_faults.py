"""Inputs that users met, made from two simulated scans: each gives the right image, or an error with a hint.

The scripts that make them are next to the project, each with a README on its origin and the right result.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from forked import run_python
from helpers import SHARED_DATA
from typer.testing import CliRunner

from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.errors import CineReconError
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

FAULTS = SHARED_DATA / "faults"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FAULTS.exists(), reason="the scripts that make faulty inputs are not next to the project"),
]

RIGHT_PSNR = 43.7
"""PSNR of the base scan, fully sampled, against its truth [dB]: 43.75."""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and the error it ended with."""

    output: str
    error: CineReconError | None
    exit_code: int

    @property
    def text(self) -> str:
        """All that was said, in one line."""
        return " ".join(f"{self.output} {self.error or ''}".split())

    @property
    def report(self) -> dict:
        assert self.error is None, self.error
        return json.JSONDecoder().raw_decode(self.output[self.output.index("{") :])[0]

    @property
    def psnr(self) -> list[float]:
        return [part["quality"]["psnr"] for part in self.report["slices"]]


def cinerecon(*arguments: str | Path) -> Outcome:
    """Run a command; an error that is not one of the package's own fails the test."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    error = result.exception if isinstance(result.exception, CineReconError) else None
    if error is None and not isinstance(result.exception, SystemExit | None):
        raise result.exception
    return Outcome(result.output, error, 2 if error else result.exit_code)


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """The makers' tools and the two scans that they change."""
    folder = tmp_path_factory.mktemp("faults")
    for name in ("kit.py", "dk.py"):
        shutil.copy(FAULTS / name, folder)
    (folder / "base").mkdir()
    for name, n_slices in (("one", 1), ("three", 3)):
        config = SimulateConfig(n_frames=8, ky=64, kx=64, n_coils=4, n_slices=n_slices)
        simulate_scan(folder / "base" / f"{name}.h5", config)
    return folder


@pytest.fixture
def make(base, monkeypatch):
    """Run a maker in a folder of its own, which becomes the working directory."""

    def run(name: str) -> Path:
        folder = base / name
        if not folder.exists():
            folder.mkdir()
            maker = shutil.copy(FAULTS / name / "make.py", folder)
            code = f"import sys, runpy; sys.path.insert(0, '.'); runpy.run_path({str(maker)!r}, run_name='__main__')"
            made = run_python(code, cwd=folder)
            assert made.returncode == 0, made.stderr.decode()
        monkeypatch.chdir(folder)
        return folder

    return run


def recon(scan: str, tmp_path: Path, *options: str, model: str = "cgsense") -> Outcome:
    return cinerecon("recon", scan, "--model", model, "-o", tmp_path / "out.npz", "--json", *options)


READ = {
    "beats_in_repetition": "8 values of repetition contain different lines of the same phase",
    "centre_sample_0": "center_sample is 0 in 512 readouts of all 128 samples: 64 is used",
    "image_in_encoding_1": "encoding 1 is reconstructed",
    "lines_from_1": "lines are counted from 1 to 64, according to the header from 0 to 63",
    "metres": "the field of view is 0.254 x 0.254 mm, pixels of 0.004 mm: the header is probably in metres",
    "openrecon_header": "2x oversampling that is missing in the header",
    "sizes_with_point": "",
    "z2": "encodedSpace z is 2, the data contain 1 partition",
    "zip_header": "encodedSpace is zero-filled, 256 x 128",
}
"""Scans that are read as the base scan is, and the warning that comes with their images."""


@pytest.mark.parametrize("name", READ)
def test_read_as_the_base_scan(make, tmp_path, name):
    make(name)
    outcome = recon("scan.h5", tmp_path)
    assert outcome.psnr[0] > RIGHT_PSNR
    assert outcome.report["slices"][0]["matrix"] == [64, 64]
    warnings = outcome.report["warnings"]
    assert any(READ[name] in text for text in warnings) if READ[name] else not warnings


def test_metres_are_refused_by_strict(make, tmp_path):
    make("metres")
    assert "probably in metres" in recon("scan.h5", tmp_path, "--strict").error.what


def test_slices_uncounted(make, base, tmp_path):
    make("slices_uncounted")
    report = recon("scan.h5", tmp_path).report
    assert any("the slice counter is 0 at 3 positions" in text for text in report["warnings"])
    three = cinerecon("recon", base / "base/three.h5", "--model", "cgsense", "-o", tmp_path / "three.npz", "--json")
    assert min(three.psnr) > RIGHT_PSNR
    with np.load(tmp_path / "out.npz") as found, np.load(tmp_path / "three.npz") as right:
        assert found["image"].shape == (3, 8, 64, 64)
        np.testing.assert_allclose(found["image"], right["image"], rtol=1e-4, atol=1e-5 * np.abs(right["image"]).max())


def test_sets_uncounted(make, tmp_path):
    make("sets_uncounted")
    error = recon("scan.h5", tmp_path).error
    assert "there are 2 sets, values 0, 1" in error.what
    assert "--set-index=0" in error.hint
    for number in (0, 1):
        outcome = recon("scan.h5", tmp_path, "--set", f"preprocessing.select.set={number}", "--force")
        assert any("the header has 2 values of set, the readouts have one" in w for w in outcome.report["warnings"])
        assert number == 1 or outcome.psnr[0] > RIGHT_PSNR


def test_late_phases(make, tmp_path):
    make("late_phases")
    words = "frame 6 has 32 of 64 lines; frame 7 has 8 of 64 lines, none of them at the centre"
    warnings = recon("scan.h5", tmp_path).report["warnings"]
    assert any(words in text and "--frames 0:6" in text for text in warnings)
    complete = recon("scan.h5", tmp_path, "--frames", "0:6", "--force")
    assert complete.psnr[0] > RIGHT_PSNR - 0.5
    plan = json.loads(cinerecon("inspect", "scan.h5", "--json").output)
    assert (plan["fewest_lines"], plan["most_lines"]) == (8, 64)
    assert "8 to 64, on average 53, of 64 per frame" in cinerecon("inspect", "scan.h5").output


def test_zero_lines(make, tmp_path):
    make("zero_lines")
    with h5py.File(shutil.copy("scan.h5", tmp_path / "without.h5"), "r+") as file:
        readouts = file["dataset/data"][:]
        measured = readouts[[bool(samples.any()) for samples in readouts["data"]]]
        file["dataset/data"].resize((len(measured),))
        file["dataset/data"][:] = measured
    without = recon(tmp_path / "without.h5", tmp_path, "--force")
    outcome = recon("scan.h5", tmp_path, "--force")
    assert outcome.psnr[0] == pytest.approx(without.psnr[0], abs=0.02)
    assert outcome.psnr[0] > 23
    assert outcome.report["slices"][0]["acceleration"] == pytest.approx(2.56, abs=0.01)
    assert outcome.report["slices"][0]["acceleration_without_acs"] == pytest.approx(4, abs=0.01)
    assert any("312 of 512 lines contain only zeros" in text for text in outcome.report["warnings"])


def test_truth_descending(make, tmp_path):
    make("truth_descending")
    reports = recon("scan.h5", tmp_path).report["slices"]
    measured = [part["quality"]["psnr"] for part in reports if part["quality"]]
    assert len(measured) in (0, 3)
    assert all(psnr > RIGHT_PSNR for psnr in measured)


def test_long_name(make):
    folder = make("long_name")
    error = cinerecon("recon", f"{'x' * 250}.h5", "--model", "zerofilled").error
    assert "too long" in error.what
    assert "-o" in error.hint
    assert [path.name for path in folder.iterdir() if path.suffix != ".py"] == [f"{'x' * 250}.h5"]


def test_named_pipe(make):
    """In a process of its own, which is ended if it waits for the pipe."""
    make("named_pipe")
    code = "import sys; sys.argv = ['cinerecon', 'inspect', 'pipe.h5']; from cinerecon.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, env=os.environ)
    assert done.returncode == 2
    assert "pipe" in done.stderr
    assert "Traceback" not in done.stderr


def prepared(folder: str, base: Path, tmp_path: Path) -> tuple[Outcome, list[list[str]]]:
    """Prepare a folder; which frame of the base scan each frame of each case is: slice and frame."""
    outcome = cinerecon("prepare", folder, "-o", tmp_path / "cases", "--split", "train")
    with h5py.File(base / "base/three.h5") as file:
        truth = np.abs(_truth(file, "reference"))
    truth = truth / np.linalg.norm(truth, axis=(2, 3), keepdims=True)
    cases = []
    for path in sorted((tmp_path / "cases").glob("train/**/*.h5")):
        with h5py.File(path) as file:
            frames = np.abs(file["reference"][()]).reshape(-1, *file["reference"].shape[-2:])
        cases.append([_nearest(frame / max(np.linalg.norm(frame), 1e-30), truth) for frame in frames])
    return outcome, cases


def _truth(file: h5py.File, name: str) -> np.ndarray:
    return next(file[group][name][()] for group in ("truth", "dataset/truth") if group in file)


def _nearest(frame: np.ndarray, truth: np.ndarray) -> str:
    distance = np.linalg.norm(frame - truth, axis=(2, 3))
    number = np.unravel_index(distance.argmin(), distance.shape)
    return f"{number[0]}.{number[1]}" if distance.min() < 0.1 else "none"


IN_ORDER = [[f"{number}.{frame}" for frame in range(8)] for number in range(3)]
"""Three slices of eight frames, as the base scan has them."""


@pytest.mark.parametrize(
    ("name", "folder", "words"),
    [
        ("frames_padded", "nii", "frames 8 to 11 of 12 left out"),
        ("dicom_duplicates", "dcm", "24 (copies"),
        ("dicom_no_preamble", "dcm", ""),
        ("dicom_position_jitter", "dcm", ""),
        ("dicom_temporal_position", "dcm", ""),
        ("labels_as_cine", "nii", "segmentation"),
    ],
)
def test_prepared_as_the_base_scan(make, base, tmp_path, name, folder, words):
    make(name)
    outcome, cases = prepared(folder, base, tmp_path)
    assert cases == IN_ORDER
    assert words in outcome.text


def test_dicom_rgb(make, base, tmp_path):
    """Colour images are refused; a good series in the same archive is prepared."""
    make("dicom_rgb")
    outcome, cases = prepared("dcm", base, tmp_path)
    assert outcome.exit_code == 2
    assert "colour" in outcome.text or "RGB" in outcome.text
    assert not cases


def test_mask_claims_more(make, tmp_path):
    make("mask_claims_more")
    path = "MultiCoil/Cine/TrainingSet/AccFactor04/P001/cine_sax.mat"
    outcome = recon(path, tmp_path, "--slice", "1")
    if outcome.error is None:
        shutil.copytree("MultiCoil", tmp_path / "MultiCoil")
        with h5py.File((tmp_path / path).with_name("cine_sax_mask.mat"), "r+") as file:
            mask = np.zeros((64, 1))  # that of the data: every eighth line and the central twelve
            mask[::8] = mask[26:38] = 1
            file["mask04"][:] = np.repeat(mask, file["mask04"].shape[1], 1)
        right = recon(tmp_path / path, tmp_path, "--slice", "1", "--force")
        part = outcome.report["slices"][0]
        assert part["acceleration"] == pytest.approx(3.37, abs=0.02)
        assert part["quality"]["psnr"] == pytest.approx(right.psnr[0], abs=0.01)
        assert any("mask" in text for text in outcome.report["warnings"])
    else:
        assert "mask" in outcome.error.what


def test_mat_python_order(make):
    make("mat_python_order")
    outcome = cinerecon("inspect", "cine_sax.mat")
    assert "axes" in outcome.text


def test_eval_half_fov(make, base, tmp_path):
    make("eval_half_fov")
    reference = base / "base/one.h5"
    outcome = cinerecon("evaluate", "--recon", "theirs.npy", "--reference", reference, "-o", tmp_path / "results")
    assert "shifted by half the field of view along y and x?" in outcome.text
    np.save("right.npy", np.fft.ifftshift(np.load("theirs.npy"), axes=(1, 2)))
    unshifted = cinerecon("evaluate", "--recon", "right.npy", "--reference", reference, "-o", tmp_path / "unshifted")
    assert "marked" not in unshifted.text
    assert "40.2" in unshifted.text


def test_base_scans_are_right(base):
    """The values that the other tests compare with."""
    for name, n_slices in (("one", 1), ("three", 3)):
        scan = open_scan(base / "base" / f"{name}.h5")
        assert scan.n_slices == n_slices
        assert open_scan(base / "base" / f"{name}.h5").read_slice(0).reference is not None
        assert not scan.plan.warnings


def test_every_folder_is_tested():
    folders = {path.name for path in FAULTS.iterdir() if (path / "make.py").exists()}
    assert all(name in Path(__file__).read_text(encoding="utf-8") for name in folders)
