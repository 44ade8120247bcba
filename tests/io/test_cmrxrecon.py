"""Folders of the CMRxRecon challenges: the array of k-space, the subject, mask, reference file and table."""

from pathlib import Path

import numpy as np
import pytest
from matlab_file import write_v73

from cinerecon.errors import DataError, FileError, UnsupportedError
from cinerecon.io.cmrxrecon import is_kspace_name, open_cmrxrecon, subject_of

FRAMES, SLICES, COILS, KY, KX = 3, 2, 4, 8, 10
KSPACE = np.random.default_rng(0).standard_normal((FRAMES, SLICES, COILS, KY, KX)).astype(np.float32) + 0j


@pytest.mark.parametrize("variable", ["kspace_full", "kspace"])
def test_full_multi_coil(tmp_path, variable):
    path = write_v73(tmp_path / "MultiCoil/Cine/TrainingSet/FullSample/P001/cine_sax.mat", **{variable: KSPACE})
    file = open_cmrxrecon(path)
    assert file.shape == (SLICES, FRAMES, COILS, KY, KX)
    assert np.array_equal(file.read_slice(1), KSPACE[:, 1])
    assert (file.mask, file.twin, file.read_mask(), file.files) == (None, None, None, (path,))


def test_full_single_coil(tmp_path):
    path = tmp_path / "SingleCoil/Cine/TrainingSet/FullSample/P001/cine_sax.mat"
    file = open_cmrxrecon(write_v73(path, kspace_single_full=KSPACE[:, :, 0]))
    assert file.shape == (SLICES, FRAMES, 1, KY, KX)
    assert np.array_equal(file.read_slice(0), KSPACE[:, 0, :1])


@pytest.mark.parametrize(
    ("name", "mask_name", "variable"),
    [
        ("AccFactor04/P001/cine_sax.mat", "AccFactor04/P001/cine_sax_mask.mat", "kspace_sub04"),
        ("UnderSample_Task1/P001/cine_sax_kus_Uniform4.mat", "Mask_Task1/P001/cine_sax_mask_Uniform4.mat", "kus"),
        (
            "UnderSample_TaskR1/Center001/Siemens_30T_Vida/P001/cine_lax_2ch_kus_ktRadial8.mat",
            "Mask_TaskAll/Center001/Siemens_30T_Vida/P001/cine_lax_2ch_mask_ktRadial8.mat",
            "kus",
        ),
    ],
)
@pytest.mark.parametrize("shape", [(KY, KX), (FRAMES, KY, KX)])
def test_undersampled_with_mask_twin_and_table(tmp_path, name, mask_name, variable, shape):
    root = tmp_path / "MultiCoil/Cine/TrainingSet"
    path = write_v73(root / name, **{variable: KSPACE})
    with pytest.raises(FileError, match="mask of this undersampled file is missing") as caught:
        open_cmrxrecon(path)
    assert str(root) in caught.value.hint
    stored = np.random.default_rng(1).integers(0, 2, shape).astype(float)
    write_v73(root / mask_name, mask=stored)
    file = open_cmrxrecon(path)
    expected = np.broadcast_to(stored != 0, (FRAMES, KY, KX))[:, None]
    assert np.array_equal(file.read_mask(), expected)
    assert file.twin is None
    stem = path.stem.split("_kus_")[0]
    folder = Path(*("FullSample" if part == name.split("/")[0] else part for part in Path(name).parent.parts))
    twin = write_v73(root / folder / f"{stem}.mat", kspace_full=KSPACE)
    table = root / folder / f"{stem}_info.csv"
    table.write_text("FieldStrength,3\nFOVx(mm),400\nFOVy(mm),300.5\nReadOutOversample,2\nSliceThickness,8\nName,x\n")
    file = open_cmrxrecon(path)
    assert (file.twin, file.oversampling, file.fov_mm, file.slice_thickness_mm) == (twin, 2, (300.5, 400), 8)
    assert set(file.files) == {path, root / mask_name, twin, table}


def test_line_masks_keep_one_column(tmp_path):
    root = tmp_path / "TrainingSet/AccFactor04/P001"
    lines = np.zeros((KY, KX))
    lines[::2] = 1
    write_v73(root / "cine_sax_mask.mat", mask04=lines)
    mask = open_cmrxrecon(write_v73(root / "cine_sax.mat", kspace_sub04=KSPACE)).read_mask()
    assert mask.shape == (FRAMES, 1, KY, 1)
    assert np.array_equal(mask[1, 0, :, 0], lines[:, 0] != 0)


def test_a_mask_of_another_size_is_refused(tmp_path):
    root = tmp_path / "TrainingSet/AccFactor04/P001"
    write_v73(root / "cine_sax_mask.mat", mask04=np.ones((KX, KY)))
    file = open_cmrxrecon(write_v73(root / "cine_sax.mat", kspace_sub04=KSPACE))
    with pytest.raises(DataError, match=r"the mask is \(10, 8\), expected \(8, 10\) or \(3, 8, 10\)"):
        file.read_mask()


def test_what_is_no_cine_is_refused(tmp_path):
    with pytest.raises(UnsupportedError, match=r"MATLAB size \(10, 8, 4, 2\), a cine has \(kx, ky, coils"):
        open_cmrxrecon(write_v73(tmp_path / "MultiCoil/FullSample/P001/cine.mat", kspace_full=KSPACE[0]))
    with pytest.raises(DataError, match=r"not clear which array is the k-space: found 'a' .* 'b'"):
        open_cmrxrecon(write_v73(tmp_path / "FullSample/P001/other.mat", a=KSPACE, b=KSPACE))
    bad = KSPACE.copy()
    bad[0, 1, 0, 0, 0] = np.nan
    file = open_cmrxrecon(write_v73(tmp_path / "FullSample/P001/bad.mat", kspace_full=bad))
    assert np.isfinite(file.read_slice(0)).all()
    with pytest.raises(DataError, match="not finite"):
        file.read_slice(1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Mapping/TrainingSet/FullSample/P001/T1map.mat", "inversion times"),
        ("Mapping/TrainingSet/FullSample/P001/other.mat", "contrast weightings"),
        ("Tagging/TrainingSet/FullSample/P001/tagging.mat", "cardiac phases with tags"),
        ("Flow2d/TrainingSet/FullSample/P001/flow2d.mat", "velocity encodings"),
        ("Aorta/TrainingSet/FullSample/P001/aorta_sag.mat", None),
        ("Cine/TrainingSet/FullSample/P001/cine_lvot.mat", None),
        ("mapping_of_folders/scan.mat", None),
    ],
)
def test_frames_that_are_not_cardiac_phases_are_reported(tmp_path, name, text):
    file = open_cmrxrecon(write_v73(tmp_path / name, kspace_full=KSPACE))
    assert [text in warning for warning in file.warnings] == ([True] if text else [])
    assert file.is_one_beat == (not name.lower().startswith("mapping"))


def test_many_more_lines_than_samples_are_reported(tmp_path):
    for n_samples, is_reported in ((4, True), (KX, False)):
        kspace = KSPACE[..., :n_samples]
        path = write_v73(tmp_path / f"{n_samples}.mat", kspace_full=kspace)
        assert any("are the axes ky and kx exchanged?" in text for text in open_cmrxrecon(path).warnings) == is_reported


def test_a_subject_keeps_the_name_in_all_folders_of_a_set():
    subject = "TrainingSet-P007"
    for path in (
        "MultiCoil/Cine/TrainingSet/FullSample/P007/cine_sax.mat",
        "SingleCoil/Cine/TrainingSet/AccFactor08/P007/cine_lax.mat",
        "x/MultiCoil/Mapping/TrainingSet/Mask_Task1/P007/T1map_mask_Uniform4.mat",
        "MultiCoil/Aorta/TrainingSet/UnderSample_Task2/P007/aorta_sag_kus_ktGaussian8.mat",
    ):
        assert subject_of(Path(path)) == subject
    assert subject_of(Path("MultiCoil/Cine/ValidationSet/FullSample/P007/cine_sax.mat")) == "ValidationSet-P007"
    scanner = "TrainingSet/FullSample/Center001/Siemens_30T_Vida/P007/cine_sax.mat"
    assert subject_of(Path(scanner)) == "TrainingSet-Center001-Siemens_30T_Vida-P007"
    assert subject_of(Path("somewhere/P007/cine.mat")) == "P007"
    assert subject_of(Path("somewhere/cine.mat")) is None


def test_names_of_kspace():
    assert is_kspace_name(Path("cine_sax.mat"))
    assert is_kspace_name(Path("cine_lax_3ch_kus_Uniform8.mat"))
    for name in ("cine_sax_mask.mat", "cine_sax_mask_Uniform4.mat", "T1map.mat", "cine_sax_info.csv", "cine.nii"):
        assert not is_kspace_name(Path(name))
