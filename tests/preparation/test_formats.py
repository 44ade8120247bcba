"""Prepared files of other programs: cases have the reference and the data of the raw file."""

import importlib.util

import h5py
import numpy as np
import pytest
import torch
from helpers import SHARED_DATA, formats_folder, relative_error

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.errors import CineReconError, ConfigError, DataError, FileError
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.io.case import read_case
from cinerecon.io.cmrxrecon import is_kspace_name
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.physics.final_image import finish_image
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.run import prepare
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

FORMATS = formats_folder()
RAW = sorted([*FORMATS.glob("ocmr_like/*.h5"), *FORMATS.glob("shepp/*.h5")])
MATLAB = sorted(path for path in FORMATS.glob("cmrxrecon/**/*.mat") if is_kspace_name(path))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def magnitude_error(found, expected):
    expected = torch.as_tensor(expected).abs().expand_as(found)
    scale = (found * expected).sum() / (found * found).sum()
    return relative_error(scale * found, expected)


def prepared(path, folder, **settings):
    report = prepare([path], folder, PrepareConfig.parse(settings), workers=1, pictures=False)
    assert report.refused == ()
    return [folder / row.case for row in sorted(report.rows, key=lambda row: row.slice)]


def assert_same_slices(path, cases):
    source = open_scan(path)
    assert source.n_slices == len(cases)
    for number, case in enumerate(cases):
        raw, stored = source.read_slice(number), read_case(case)
        for name in ("kspace", "mask", "csm", "reference", "shading"):
            one, two = getattr(raw, name), getattr(stored, name)
            assert (one is None) == (two is None), name
            assert one is None or torch.equal(one, two), name
        assert raw.meta.crop_y == stored.meta.crop_y
        assert raw.meta.geometry == stored.meta.geometry
        assert raw.meta.frame_times_ms == stored.meta.frame_times_ms
        assert set(raw.meta.warnings) <= set(stored.meta.warnings)


@pytest.mark.parametrize("path", [*RAW, *MATLAB], ids=lambda path: str(path.relative_to(FORMATS)).replace("/", "-"))
def test_a_case_is_the_slice_as_it_is_read(path, tmp_path):
    cases = prepared(path, tmp_path / "data")
    assert_same_slices(path, cases)
    truth = path.with_name(f"{path.stem}_truth.npz")
    if truth.exists():
        for case, expected in zip(cases, np.load(truth)["img"], strict=True):
            data = read_case(case)
            assert magnitude_error(finish_image(data.reference, data).abs(), expected) < 0.045


def test_single_coil_files_are_the_truth_of_multi_coil_ones(tmp_path):
    """The makers' own single-coil k-space against our combination of their coils, full and undersampled with a twin."""
    root = FORMATS / "cmrxrecon" / "2023"
    rows = prepare([root], tmp_path / "data", workers=1, pictures=False).rows
    by_kind = {kind: [row for row in rows if kind in row.source] for kind in ("SingleCoil", "AccFactor04", "MultiCoil")}
    assert [len(group) for group in by_kind.values()] == [3, 3, 6]
    for row in by_kind["MultiCoil"]:
        (single,) = (other for other in by_kind["SingleCoil"] if other.slice == row.slice)
        found, expected = (read_case(tmp_path / "data" / r.case).reference.abs() for r in (row, single))
        assert magnitude_error(found, expected) < 1e-4
    assert {row.acceleration for row in by_kind["AccFactor04"]} == {round(36 / 27, 4)}
    assert {row.subject for row in rows} == {"TrainingSet-P001"}


@pytest.mark.parametrize("style", ["fs_sola_stk", "us_sola_gro", "fs_avanto_asy"])
def test_real_anatomy_as_an_ocmr_file(style, tmp_path):
    real = SHARED_DATA / "real" / "sax_mid.npz"
    if not real.exists():
        pytest.skip("no measured cine next to the project")
    img, csm = load(SHARED_DATA / "real" / "make_cine.py").make(real, 6, (96, 112), 6)
    real = SHARED_DATA / "real"
    if not real.exists():
        pytest.skip("no measured cine next to the project")
    img, csm = load(real / "make_cine.py").make(real / "sax_mid.npz", 6, (96, 112), 6)
    np.savez(tmp_path / "cine.npz", img=img, csm=csm)
    scan = tmp_path / "scan.h5"
    load(FORMATS / "make_ocmr_like.py").main([str(tmp_path / "cine.npz"), str(scan), "--style", style, "--no-ecg"])
    (case,) = prepared(scan, tmp_path / "data")
    assert_same_slices(scan, [case])
    data = read_case(case)
    if style.startswith("us_"):
        assert data.reference is None
    else:
        limit = 0.1 if style == "fs_avanto_asy" else 0.05
        assert magnitude_error(finish_image(data.reference, data).abs(), img[0]) < limit


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "full.h5"
    simulate_scan(path, SimulateConfig(n_frames=6, ky=40, kx=36, n_coils=4, n_slices=2, noise=0.003))
    return path


def test_recon_of_scan_and_case_is_the_same_image(scan, tmp_path):
    cases = prepared(scan, tmp_path / "data")
    options = {"undersample": "gaussian:3", "seed": 5}
    names = ("raw.npz", "raw.h5")
    raw = reconstruct_scan(
        ReconRequest(scan, "cgsense", tuple(str(tmp_path / n) for n in names), slices=(1,), **options)
    )
    name = str(tmp_path / "case.npz")
    case = reconstruct_scan(ReconRequest(cases[1], "cgsense", (name,), **options))
    one, two = raw.slices[0], case.slices[0]
    assert np.array_equal(one.cine.image, two.cine.image)
    assert np.array_equal(one.cine.reference, two.cine.reference)
    assert (one.quality, one.residual) == (two.quality, two.residual)
    assert (one.cine.meta.slice, two.cine.meta.slice) == (1, 1)
    assert one.cine.meta.geometry == two.cine.meta.geometry
    assert case.warnings == ("the scan is simulated",)
    reconstruct_scan(ReconRequest(cases[0], "zerofilled", tuple(str(tmp_path / n) for n in ("a.h5", "a.nii.gz"))))


def test_evaluate_on_cases_gives_the_scores_of_the_scan(scan, tmp_path):
    prepared(scan, tmp_path / "data", split=(0, 0, 1))
    raw = evaluate([scan], EvaluationRequest(["zerofilled"], ["gaussian:3"])).scores
    stored = evaluate([tmp_path / "data"], EvaluationRequest(["zerofilled"], ["gaussian:3"])).scores
    assert [(s.slice, s.psnr, s.ssim, s.nmse) for s in stored] == [(s.slice, s.psnr, s.ssim, s.nmse) for s in raw]
    assert {score.marks for score in stored} == {"simulated"}
    prepared(scan, tmp_path / "all", split=(1, 0, 0))
    with pytest.raises(FileError, match="no case of the split 'test'"):
        evaluate([tmp_path / "all"], EvaluationRequest(["zerofilled"], ["gaussian:3"]))
    assert len(evaluate([tmp_path / "all" / "train"], EvaluationRequest(["zerofilled"], ["gaussian:3"])).scores) == 2


def test_a_case_warns_of_other_settings(scan, tmp_path):
    case, _ = prepared(scan, tmp_path / "data", preprocessing={"csm": "walsh", "n_virtual_coils": 3})
    config = AcquisitionConfig(csm="walsh", n_virtual_coils=3)
    assert open_scan(case, config).read_slice(0).meta.warnings == ("the scan is simulated",)
    *_, warning = open_scan(case).read_slice(0).meta.warnings
    assert warning == (
        "the case was prepared with n_virtual_coils 3 (requested: not set), csm walsh (requested: smooth), "
        "and is used as it is"
    )
    with pytest.raises(DataError, match="there is no slice 1, the file has only slice 0"):
        open_scan(case).read_slice(1)
    with pytest.raises(
        ConfigError, match="--noise applies only to ISMRMRD and Siemens raw scans, but this is a prepared case"
    ):
        open_scan(case, noise=scan)


def test_a_case_is_not_read_as_a_raw_scan(scan, tmp_path):
    case, _ = prepared(scan, tmp_path / "data")
    with pytest.raises(FileError, match="this is a prepared case, not a raw scan"):
        read_raw_scan(case)


@pytest.mark.parametrize("version", ["2023", "2023_v5"])
def test_damaged_matlab_files_are_reported_in_three_lines(version, tmp_path):
    content = (FORMATS / "cmrxrecon" / version / "MultiCoil/Cine/TrainingSet/FullSample/P001/cine_sax.mat").read_bytes()
    path = tmp_path / "cine_sax.mat"
    for length in (0, 60, 200, len(content) // 3, len(content) - 100):
        path.write_bytes(content[:length])
        with pytest.raises(CineReconError) as caught:
            source = open_scan(path)
            for number in range(source.n_slices):
                source.read_slice(number)
        error = caught.value
        assert error.what
        assert error.hint
        assert str(path) in error.where


def test_the_command(scan, tmp_path, capsys):
    folder = tmp_path / "data"
    options = ["--csm", "walsh", "--compress-coils", "3", "--combine", "adaptive", "--frames", "4"]
    options += [
        "--patch",
        "4x32x32",
        "--patch",
        "2x16x16",
        "--stride",
        "2x8x4",
        "--split",
        "1,0,0",
        "--no-pictures",
        "--workers",
        "1",
    ]
    app(["prepare", str(scan), "-o", str(folder), *options], standalone_mode=False)
    text = capsys.readouterr().out
    assert "train         1       2    104" in text
    assert "104 cases prepared" in text
    assert "warning  the coils were combined" in text
    with h5py.File(next(folder.rglob("*_4x32x32_at_000_008_004.h5"))) as file:
        assert file["kspace"].shape == (4, 1, 32, 32)
        assert file.attrs["first_frame_row_column"] == "0, 8, 4"
    (tmp_path / "bad.mat").write_text("x")
    with pytest.raises(SystemExit) as stopped:
        options = ["-o", str(tmp_path / "b"), "--no-pictures", "--workers", "1"]
        app(["prepare", str(scan), str(tmp_path / "bad.mat"), *options])
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert "2 cases prepared" in captured.out
    assert captured.err.startswith("refused  this is not a MATLAB file, but text\nwhere    ")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--patch", "16x192"], "'16x192' is not frames x y x x"),
        (["--crop", "192"], "'192' is not rows x columns"),
        (["--split", "80"], "'80' is neither train, val, test nor three fractions"),
        (["--split", "0,0,0"], "not all zero"),
        (["--stride", "1x1x1"], "a stride needs a patch"),
        (["--crop", "8x8", "--crop-readout", "8"], "not by both"),
        (["--patch", "0x8x8"], "at least 1"),
        (["--combine", "sum"], "'adaptive', 'espirit' or 'smooth'"),
        (["--csm", "guess"], "csm"),
        (["--compression", "jpeg"], "compression"),
    ],
)
def test_wrong_options_are_named_before_any_work(scan, tmp_path, options, match):
    with pytest.raises(ConfigError, match=match):
        app(["prepare", str(scan), "-o", str(tmp_path / "data"), *options], standalone_mode=False)
    assert list(tmp_path.iterdir()) == []
