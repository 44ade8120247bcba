"""Files carry how their images were made; DICOM files belong to the study of the scan, and are valid."""

import shutil
import subprocess
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image

from cinerecon.errors import FileError
from cinerecon.io.export.dicom_patient import make_patient, read_patient
from cinerecon.reconstruction import ReconRequest, reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

FORMATS = ("dicom/", "cine.nii.gz", "cine.npz", "cine.h5", "cine.png")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    sizes = {"frames": 5, "ky": 32, "kx": 24, "coils": 2, "slices": 2}
    simulate_scan(path, SimulateConfig(**sizes, undersample="gaussian:2"))
    return path


def run(scan, folder, model="zerofilled", **options):
    outputs = tuple(f"{folder}/{name}" for name in options.pop("formats", FORMATS))
    reconstruct_scan(ReconRequest(scan, model, outputs, force=True, **options))
    return folder


def headers(folder):
    return [pydicom.dcmread(file) for file in sorted(Path(folder, "dicom").glob("*.dcm"))]


def test_every_format_has_the_provenance(scan, tmp_path):
    run(scan, tmp_path, settings=("weight_tikhonov=0.01",), model="cgsense")
    npz = np.load(tmp_path / "cine.npz")
    expected = dict(line.split(": ", 1) for line in str(npz["provenance"]).splitlines())
    assert expected["settings"] == "weight_tikhonov=0.01"
    assert len(expected["scan_sha256"]) == len(expected["series_sha256"]) == 64
    assert float(expected["acceleration"]) == pytest.approx(2, rel=0.1)
    assert 0 < float(expected["residual"]) < 1
    comment = nibabel.load(tmp_path / "cine.nii.gz").header.extensions[0].get_content()
    texts = {
        "nifti": comment if isinstance(comment, str) else comment.decode(),
        "dicom": headers(tmp_path)[0].DerivationDescription,
        "png": str(Image.open(tmp_path / "cine.png").text),
        "mrd": h5py.File(tmp_path / "cine.h5")["dataset/image_0/attributes"][0].decode(),
    }
    for name, text in texts.items():
        for value in (expected["series_sha256"], expected["software"], expected["settings"], expected["residual"]):
            assert value in text, name


def test_npz_has_the_geometry_of_nifti(scan, tmp_path):
    run(scan, tmp_path)
    npz, nifti = np.load(tmp_path / "cine.npz"), nibabel.load(tmp_path / "cine.nii.gz")
    np.testing.assert_allclose(npz["affine_ras"][0], nifti.affine, atol=1e-4)
    assert npz["position_mm"].shape == npz["read_dir"].shape == (2, 3)
    np.testing.assert_allclose(npz["pixel_size_mm"], [nifti.header.get_zooms()[1::-1]] * 2, rtol=1e-5)
    step = npz["position_mm"][1] - npz["position_mm"][0]
    assert abs(step @ npz["slice_dir"][0]) == pytest.approx(nifti.header.get_zooms()[2], rel=1e-4)


def test_methods_are_series_of_one_study_in_one_place(scan, tmp_path):
    first, again, other = (
        headers(run(scan, tmp_path / name, model, formats=("dicom/",)))
        for name, model in (("a", "zerofilled"), ("b", "zerofilled"), ("c", "cgsense"))
    )
    for name in ("StudyInstanceUID", "FrameOfReferenceUID"):
        assert len({getattr(image, name) for image in (*first, *again, *other)}) == 1
    for name in ("SeriesInstanceUID", "SeriesNumber"):
        assert {getattr(image, name) for image in first} == {getattr(image, name) for image in again}
        assert {getattr(image, name) for image in first}.isdisjoint({getattr(image, name) for image in other})
    assert [image.SOPInstanceUID for image in first] == [image.SOPInstanceUID for image in again]
    assert len({image.SOPInstanceUID for image in (*first, *other)}) == len(first) + len(other)
    assert len({(image.SeriesDate, image.SeriesTime, image.ContentTime) for image in first}) == 1
    assert first[0].SeriesDescription == "cinerecon zerofilled"
    assert first[0].SoftwareVersions.startswith("cinerecon ")


def test_other_settings_or_slices_are_another_series(scan, tmp_path):
    options = ({}, {"settings": ("n_iterations=3",)}, {"slices": (1,)}, {"frames": "0:4"}, {"csm": "walsh"})
    uids = [
        headers(run(scan, tmp_path / str(n), "cgsense", formats=("dicom/",), **option))[0].SeriesInstanceUID
        for n, option in enumerate(options)
    ]
    assert len(set(uids)) == len(options)


def test_another_scan_is_another_study(scan, tmp_path):
    simulate_scan(tmp_path / "other.h5", SimulateConfig(frames=5, ky=32, kx=24, coils=2, seed=5))
    studies = [headers(run(path, tmp_path / path.stem))[0].StudyInstanceUID for path in (scan, tmp_path / "other.h5")]
    assert studies[0] != studies[1]


def test_patient_and_study_come_from_an_image_and_from_options(scan, tmp_path):
    run(scan, tmp_path, formats=("dicom/",))
    image = headers(tmp_path)[0]
    assert (image.PatientIdentityRemoved, image.PatientID, str(image.PatientName)) == ("YES", "anonymous", "Anonymous^")
    known = {"PatientID": "P7", "PatientName": "Doe^Jane", "StudyInstanceUID": "1.2.3", "FrameOfReferenceUID": "1.2.4"}
    known |= {"StudyDate": "20260102", "AccessionNumber": "A1", "PatientSex": "F", "StudyDescription": "Heart"}
    for name, value in known.items():
        setattr(image, name, value)
    image.save_as(tmp_path / "like.dcm")
    patient = make_patient(accession="B2", like=tmp_path / "like.dcm")
    for image in headers(run(scan, tmp_path / "named", formats=("dicom/",), patient=patient)):
        for name, value in (known | {"AccessionNumber": "B2"}).items():
            assert str(getattr(image, name)) == value
        assert "PatientIdentityRemoved" not in image
    assert make_patient() is None
    (named,) = {str(i.PatientName) for i in headers(run(scan, tmp_path / "x", patient=make_patient("7", "A^B")))}
    assert named == "A^B"


def test_a_file_without_a_study_is_refused(tmp_path):
    (tmp_path / "text.dcm").write_text("no image")
    with pytest.raises(FileError, match="cannot read the DICOM file"):
        read_patient(tmp_path / "text.dcm")


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("model", ["zerofilled", "cgsense"])
def test_dicom_files_are_valid(scan, tmp_path, model):
    run(scan, tmp_path, model, formats=("dicom/",))
    for file in (tmp_path / "dicom").glob("*.dcm"):
        text = subprocess.run(["dciodvfy", file], capture_output=True, text=True).stderr
        assert not [line for line in text.splitlines() if line.startswith("Error")], text


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
def test_each_series_is_one_file_for_dcm2niix(scan, tmp_path):
    for model in ("zerofilled", "cgsense"):
        run(scan, tmp_path / model, model, formats=("dicom/", "cine.nii.gz"))
        shutil.copytree(tmp_path / model / "dicom", tmp_path / "all" / model)
    (tmp_path / "out").mkdir()
    subprocess.run(["dcm2niix", "-z", "n", "-o", tmp_path / "out", tmp_path / "all"], capture_output=True, check=True)
    files = sorted((tmp_path / "out").glob("*.nii"))
    assert len(files) == 2
    for file in files:
        image, ours = nibabel.load(file), nibabel.load(tmp_path / "zerofilled" / "cine.nii.gz")
        assert image.shape == ours.shape == (24, 32, 2, 5)
        corners = [volume.affine @ [*index, 1] for volume in (image, ours) for index in ((0, 0, 0), (23, 31, 1))]
        low, high = (np.array(sorted(map(tuple, np.round(pair, 2)))) for pair in (corners[:2], corners[2:]))
        assert np.abs(low.mean(0) - high.mean(0)).max() < 0.1
