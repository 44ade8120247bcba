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

from cinerecon import export, read_slices, reconstruct
from cinerecon.errors import ConfigError, FileError
from cinerecon.io.export.dicom_patient import make_patient, read_patient, require_same_patient
from cinerecon.provenance import hashed_identifier, hashed_subject
from cinerecon.reconstruction import run as run_module
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

FORMATS = ("dicom/", "cine.nii.gz", "cine.npz", "cine.h5", "cine.png")


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    sizes = {"n_frames": 5, "ky": 32, "kx": 24, "n_coils": 2, "n_slices": 2}
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
    residuals = [float(text) for text in expected["residual"].split(", ")]
    assert len(residuals) == 2
    assert 0 < min(residuals) < max(residuals) < 1
    for image, residual in zip(headers(tmp_path)[::5], residuals, strict=True):
        assert f"residual {residual:.4g}" in image.DerivationDescription
    comment = nibabel.load(tmp_path / "cine.nii.gz").header.extensions[0].get_content()
    texts = {
        "nifti": comment if isinstance(comment, str) else comment.decode(),
        "dicom": headers(tmp_path)[0].DerivationDescription,
        "png": str(Image.open(tmp_path / "cine.png").text),
        "mrd": h5py.File(tmp_path / "cine.h5")["dataset/image_0/attributes"][0].decode(),
    }
    for name, text in texts.items():
        for value in (expected["series_sha256"], expected["software"], expected["settings"], f"{residuals[0]:.4g}"):
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
    simulate_scan(tmp_path / "other.h5", SimulateConfig(n_frames=5, ky=32, kx=24, n_coils=2, seed=5))
    studies = [headers(run(path, tmp_path / path.stem))[0].StudyInstanceUID for path in (scan, tmp_path / "other.h5")]
    assert studies[0] != studies[1]


KNOWN = {
    "PatientID": "P-1970",
    "PatientName": "Doe^Jane",
    "PatientSex": "F",
    "StudyInstanceUID": "1.2.840.99.3",
    "StudyDate": "20260102",
    "StudyDescription": "Heart",
    "FrameOfReferenceUID": "1.2.840.99.4",
}


@pytest.fixture
def like(scan, tmp_path):
    """An image of another program, with patient, study and frame of reference."""
    image = headers(run(scan, tmp_path / "other", formats=("dicom/",)))[0]
    for name, value in KNOWN.items():
        setattr(image, name, value)
    image.save_as(tmp_path / "like.dcm")
    return tmp_path / "like.dcm"


def test_images_are_anonymous_and_those_of_different_studies_different_patients(scan, tmp_path):
    image = headers(run(scan, tmp_path, formats=("dicom/",)))[0]
    assert (image.PatientIdentityRemoved, str(image.PatientName)) == ("YES", "Anonymous^")
    assert image.PatientID.startswith("anonymous-")
    assert hashed_subject(image.PatientID) == ""


def test_patient_and_study_come_from_an_image_and_from_options(scan, tmp_path, like):
    patient = make_patient("P-1970", accession="B2", like=like)
    for image in headers(run(scan, tmp_path / "named", formats=("dicom/",), patient=patient)):
        for name, value in (KNOWN | {"AccessionNumber": "B2", "PatientIdentityRemoved": "NO"}).items():
            assert str(getattr(image, name)) == value
    assert make_patient() is None
    (named,) = {str(i.PatientName) for i in headers(run(scan, tmp_path / "x", patient=make_patient("7", "Müller^B")))}
    assert named == "Müller^B"


def test_images_of_another_patient_have_other_identifiers(scan, tmp_path):
    one, other = (
        headers(run(scan, tmp_path / str(n), formats=("dicom/",), patient=patient))[0]
        for n, patient in enumerate((None, make_patient("P-1970")))
    )
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert getattr(one, name) != getattr(other, name)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"name": "Doe^Jane"}, "needs a patient ID"),
        ({"patient_id": "a" * 65}, "65 characters, DICOM allows 64"),
        ({"patient_id": "1", "accession": "12345678901234567"}, "17 characters, DICOM allows 16"),
        ({"patient_id": "a\\b"}, "backslash"),
        ({"patient_id": "a\nb"}, "control characters"),
        ({"patient_id": " "}, "empty"),
    ],
)
def test_values_that_dicom_cannot_hold_are_refused(values, match):
    with pytest.raises(ConfigError, match=match):
        make_patient(**values)


def test_a_patient_who_is_not_that_of_the_image_is_refused(like):
    with pytest.raises(ConfigError, match="'P2' is given, the image has PatientID 'P-1970'"):
        make_patient("P2", like=like)
    with pytest.raises(ConfigError, match=r"the image has PatientName .Doe\^Jane."):
        make_patient(name="Doe^John", like=like)


def test_an_image_of_another_patient_or_coordinate_system_is_refused(like):
    patient = make_patient(like=like)
    require_same_patient(patient, hashed_subject("P-1970"), hashed_identifier("1.2.840.99.4"), "scan.h5")
    require_same_patient(patient, "", "", "scan.h5")
    with pytest.raises(ConfigError, match="the scan does not belong to the patient") as caught:
        require_same_patient(patient, hashed_subject("P-1971"), "", "scan.h5")
    assert "--patient 'P-1970'" in caught.value.hint
    require_same_patient(make_patient("P-1970", like=like), hashed_subject("P-1971"), "", "scan.h5")
    with pytest.raises(ConfigError, match="frame of reference"):
        require_same_patient(patient, "", hashed_identifier("1.2.840.99.5"), "scan.h5")


def with_header(scan, path, extra):
    """A scan whose header has more elements."""
    shutil.copy(scan, path)
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0].decode()
        file["dataset/xml"][0] = text.replace("</ismrmrdHeader>", f"{extra}</ismrmrdHeader>").encode()
    return path


def test_the_header_of_the_scan_is_compared_before_any_work(scan, tmp_path, like):
    extra = "<subjectInformation><patientID>P-1971</patientID></subjectInformation>"
    path = with_header(scan, tmp_path / "scan.h5", extra)
    with pytest.raises(ConfigError, match="the scan does not belong to the patient"):
        run(path, tmp_path / "out", formats=("dicom/",), patient=make_patient(like=like))
    assert not (tmp_path / "out").exists()


def test_scans_of_one_study_have_their_own_frames_of_reference(scan, tmp_path):
    extra = "<studyInformation><studyInstanceUID>1.2.840.99.3</studyInstanceUID></studyInformation>"
    first, second = (
        headers(run(path, tmp_path / path.stem, formats=("dicom/",)))[0]
        for path in (with_header(scan, tmp_path / f"{n}.h5", extra + f"<!-- {n} -->") for n in (1, 2))
    )
    assert first.StudyInstanceUID == second.StudyInstanceUID
    assert first.StudyInstanceUID != "1.2.840.99.3"
    assert first.FrameOfReferenceUID != second.FrameOfReferenceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_a_patient_needs_dicom_and_the_image_is_never_overwritten(scan, tmp_path, like):
    with pytest.raises(ConfigError, match="a patient can be written only to DICOM"):
        run(scan, tmp_path, formats=("cine.npz",), patient=make_patient("7"))
    inside = like.rename(tmp_path / "other/dicom/slice00_frame000.dcm")
    with pytest.raises(FileError, match="is an input file and would be overwritten"):
        run(scan, tmp_path / "other", formats=("dicom/",), patient=make_patient(like=inside))


def test_finished_slices_of_an_earlier_run_get_the_patient_and_settings_of_this_one(scan, tmp_path, monkeypatch):
    """The first run is for another patient, and stops while it writes."""

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "export_series", stop)
        with pytest.raises(KeyboardInterrupt):
            run(scan, tmp_path, formats=("dicom/",), patient=make_patient("WRONG"), slices=(0,))
    assert list(tmp_path.glob("*slices*")), "the slice is kept"
    assert not [path for path in tmp_path.rglob("*.json") if "WRONG" in path.read_text()]
    images = headers(run(scan, tmp_path, formats=("dicom/",), patient=make_patient("RIGHT"), resume=True))
    assert {image.PatientID for image in images} == {"RIGHT"}
    assert len({image.SeriesInstanceUID for image in images}) == 1


def test_the_folder_of_a_mask_is_not_written(scan, tmp_path):
    simulate_scan(tmp_path / "full.h5", SimulateConfig(n_frames=4, ky=32, kx=24, n_coils=2))
    (tmp_path / "jane_doe").mkdir()
    mask = np.ones((4, 1, 32, 1), bool)
    mask[::2, :, ::3] = False
    np.savez(tmp_path / "jane_doe/mask.npz", mask=mask)
    run(tmp_path / "full.h5", tmp_path / "out", undersample=str(tmp_path / "jane_doe/mask.npz"))
    text = str(np.load(tmp_path / "out/cine.npz")["provenance"])
    assert "undersample=mask.npz" in text
    assert "jane_doe" not in text + headers(tmp_path / "out")[0].DerivationDescription


def test_slices_from_python_have_a_provenance(scan, tmp_path):
    (data, _) = read_slices(scan)
    part = reconstruct(data, method="zerofilled")
    export(part, tmp_path / "dicom")
    image = headers(tmp_path)[0]
    assert f"residual {part.residual:.4g}" in image.DerivationDescription
    assert part.cine.provenance.series in image.DerivationDescription


def test_a_file_without_a_study_is_refused(tmp_path, like):
    (tmp_path / "text.txt").write_text("no image")
    with pytest.raises(FileError, match="this is not a DICOM file") as caught:
        read_patient(tmp_path / "text.txt")
    assert caught.value.where == f"--like {tmp_path}/text.txt"
    assert caught.value.hint == "give a DICOM image of the same examination"
    with pytest.raises(FileError, match="cannot read the DICOM file: no such file"):
        read_patient(tmp_path / "missing.dcm")
    with pytest.raises(FileError, match="this is a folder"):
        read_patient(tmp_path)
    image = pydicom.dcmread(like)
    del image.FrameOfReferenceUID
    image.save_as(like)
    with pytest.raises(FileError, match="no FrameOfReferenceUID"):
        read_patient(like)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize(
    "options",
    [{}, {"model": "cgsense"}, {"frames": "0:4"}, {"patient": make_patient("7", "Doe^Jane", "A1")}],
    ids=["gated", "another method", "part of a beat", "patient"],
)
def test_dicom_files_are_valid(scan, tmp_path, options):
    run(scan, tmp_path, formats=("dicom/",), **options)
    for file in (tmp_path / "dicom").glob("*.dcm"):
        text = subprocess.run(["dciodvfy", file], capture_output=True, text=True).stderr
        assert not [line for line in text.splitlines() if line.startswith("Error")], text


@pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("frames", ["", "0:4"], ids=["gated", "part of a beat"])
def test_each_series_is_one_file_for_dcm2niix(scan, tmp_path, frames):
    for model in ("zerofilled", "cgsense"):
        run(scan, tmp_path / model, model, formats=("dicom/", "cine.nii.gz"), frames=frames)
        shutil.copytree(tmp_path / model / "dicom", tmp_path / "all" / model)
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["dcm2niix", "-z", "n", "-f", "%d", "-o", tmp_path / "out", tmp_path / "all"], capture_output=True, check=True
    )
    files = sorted((tmp_path / "out").glob("*.nii"))
    assert len(files) == 2
    for file, model in zip(files, ("cgsense", "zerofilled"), strict=True):
        image, ours = nibabel.load(file), nibabel.load(tmp_path / model / "cine.nii.gz")
        assert image.shape == ours.shape == (24, 32, 2, 4 if frames else 5)
        sums, expected = (volume.get_fdata().sum((0, 1)) for volume in (image, ours))  # (slices, frames)
        sums = sums if np.sign(image.affine[:3, 2] @ ours.affine[:3, 2]) > 0 else sums[::-1]
        np.testing.assert_allclose(sums / sums.sum(), expected / expected.sum(), rtol=1e-3)
        corners = [volume.affine @ [*index, 1] for volume in (image, ours) for index in ((0, 0, 0), (23, 31, 1))]
        low, high = (np.array(sorted(map(tuple, np.round(pair, 2)))) for pair in (corners[:2], corners[2:]))
        assert np.abs(low.mean(0) - high.mean(0)).max() < 0.1
