"""Files of an archive that are prepared, their names, and their subjects."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path, PurePath

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from helpers import relative_error
from matlab_file import write_v73
from raw_scan import small_scan

from cinerecon.archives.case_index import read_index
from cinerecon.errors import ConfigError, FileError
from cinerecon.image import CineImage
from cinerecon.io.case import VERSION, read_case
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.display import radiological_turn
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.ismrmrd.images import write_mrd_images
from cinerecon.physics.fourier import ifft2c
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.run import prepare
from cinerecon.preparation.sources import find_sources
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan


@pytest.fixture
def cine():
    data = simulate_cine(SimulateConfig(n_frames=5, ky=32, kx=30, n_coils=2, noise=0))[0]
    return CineImage(data.reference.numpy(), meta=data.meta)


def as_in_dicom(cine):
    """The magnitude of maximum 1, turned as DICOM stores it."""
    magnitude = radiological_turn(cine.first_voxel).pixels(cine.magnitude)
    return torch.from_numpy(magnitude / magnitude.max())


def fft2(images):
    """K-space of images, by NumPy."""
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho"), axes)


def test_archive_with_files_of_every_kind(run, tmp_path, cine):
    root = tmp_path / "archive"
    for folder in ("p1", "p2/deep", "p3/dicom/series", "p4"):
        (root / folder).mkdir(parents=True)
    small_scan().write(root / "p1" / "cine.h5")
    write_nifti(root / "p2/deep/cine.nii.gz", [cine])
    write_dicom(root / "p3/dicom/series", [cine])
    noise = np.random.default_rng(0).standard_normal((2, 3, 2, 2, 16, 14))
    write_v73(root / "p4/cine_sax.mat", kspace_full=noise[0] + 1j * noise[1])
    write_v73(root / "p4/cine_sax_mask.mat", mask=np.ones((16, 14)) + 0j)
    (root / "p4/notes.txt").write_text("not a scan")
    np.savez(root / "p4/other.npz", x=np.ones(3))
    (root / ".hidden").mkdir()
    small_scan().write(root / ".hidden" / "cine.h5")
    report = run(root, simulated_coils=3)
    names = {row.case.partition("/")[2] for row in report.rows}
    assert names == {
        "p1/cine_slice00.h5",
        "p2/deep/cine_slice00.h5",
        "p3/dicom/series_slice00.h5",
        "p4/cine_sax_slice00.h5",
        "p4/cine_sax_slice01.h5",
    }
    assert {row.subject for row in report.rows} == {"p1", "p2", "p3", "p4"}
    assert report.passed == {"MATLAB files that contain no cine k-space (masks, maps)": 1}
    assert (report.refused, report.n_unknown_subjects) == ((), 0)


@pytest.mark.parametrize("coils", [1, 3])
def test_magnitude_images_become_a_scan_that_says_so(run, tmp_path, cine, coils):
    write_nifti(tmp_path / "cine.nii", [cine])
    (row,) = run(tmp_path / "cine.nii", simulated_coils=coils, preprocessing={}).rows
    assert row.marks == "magnitude only; simulated phase and coils"
    data = read_case(tmp_path / "data" / row.case)
    assert (data.n_coils, data.csm is None) == (coils, coils == 1)
    assert "phase and coil maps are simulated" in data.meta.warnings
    assert data.meta.geometry.position_mm == pytest.approx(cine.meta.geometry.position_mm, abs=1e-3)
    magnitude = torch.from_numpy(cine.magnitude / cine.magnitude.max())
    assert relative_error(data.reference.abs(), magnitude) < (1e-6 if coils == 1 else 0.01)
    combined = ifft2c(data.kspace) if data.csm is None else data.csm.conj() * ifft2c(data.kspace)
    assert relative_error(combined.sum(1), data.reference) < 1e-5
    assert data.reference.angle().std() > 0.1


def test_the_same_images_get_the_same_simulation_under_any_name(run, tmp_path, cine):
    (tmp_path / "a").mkdir()
    write_nifti(tmp_path / "a" / "cine.nii", [cine])
    (tmp_path / "other.nii").write_bytes((tmp_path / "a" / "cine.nii").read_bytes())
    (one,), (two,) = run(tmp_path / "a", to="one").rows, run(tmp_path / "other.nii", to="two").rows
    data, again = read_case(tmp_path / "one" / one.case), read_case(tmp_path / "two" / two.case)
    assert torch.equal(data.kspace, again.kspace)
    (three,) = run(tmp_path / "a", to="three", seed=1).rows
    assert not torch.equal(read_case(tmp_path / "three" / three.case).kspace, data.kspace)


def test_strict_refuses_data_that_bias_scores(run, tmp_path, cine):
    write_nifti(tmp_path / "cine.nii", [cine])
    report = run(tmp_path / "cine.nii", strict=True)
    assert report.rows == ()
    assert report.refused[0].what.startswith("magnitude only")
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=3, ky=24, kx=24, n_coils=2))
    (row,) = run(tmp_path / "scan.h5", to="scan", strict=True).rows
    assert row.marks == "simulated"


def test_combined_coils_are_marked(run, archive, tmp_path):
    report = run(archive, combine="adaptive")
    assert {(row.marks, row.coils) for row in report.rows} == {("combined coils", 1)}
    data = read_case(tmp_path / "data" / report.rows[0].case)
    assert relative_error(ifft2c(data.kspace)[:, 0], data.reference) < 1e-6


def test_coils_are_compressed(run, archive, tmp_path):
    whole, pca, geometric = (
        run(archive, to=name, preprocessing={"csm": "walsh", "n_virtual_coils": n, "compression": kind})
        for name, n, kind in (("whole", None, "pca"), ("pca", 2, "pca"), ("geometric", 2, "geometric"))
    )
    images = []
    for name, report, coils in (("whole", whole, 3), ("pca", pca, 2), ("geometric", geometric, 2)):
        assert {row.coils for row in report.rows} == {coils}
        images.append(read_case(tmp_path / name / report.rows[0].case).reference.abs())
    assert relative_error(images[1], images[0]) < 0.15
    assert relative_error(images[2], images[0]) < relative_error(images[1], images[0]), "as it varies along the readout"


@pytest.mark.parametrize(
    ("pattern", "expected"), [("", "archive-wide"), (r"sub-(\d+)", "017"), (r"(site\w)/sub-(\d+)", "siteA-017")]
)
def test_a_pattern_finds_the_subject(run, tmp_path, pattern, expected):
    folder = tmp_path / "archive-wide" / "siteA" / "sub-017"
    folder.mkdir(parents=True)
    small_scan().write(folder / "cine.h5")
    (row,) = run(tmp_path, to="data", subject=pattern).rows
    assert row.subject == expected


def test_settings_with_former_names_are_the_same():
    """Cases prepared when settings were called ``person`` and ``intake`` keep the hash of their settings."""
    config = PrepareConfig.parse({"person": "(a001)", "intake": {"csm": "walsh"}})
    assert config == PrepareConfig(subject="(a001)", preprocessing={"csm": "walsh"})
    values = config.model_dump(mode="json", exclude={"split"})
    values |= {"person": values.pop("subject"), "intake": values.pop("preprocessing")}
    text = json.dumps([VERSION, values], sort_keys=True)
    assert config.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_path_that_does_not_fit_the_pattern_is_refused(run, archive):
    report = run(archive, subject="(a001)")
    assert {row.subject for row in report.rows} == {"a001"}
    assert report.refused[0].what == "the path does not match the subject pattern '(a001)'"
    with pytest.raises(ConfigError, match="not a regular expression"):
        run(archive, to="other", subject="(a001")


def test_the_patient_of_a_header_is_hashed_and_wins_over_the_folder(run, archive):
    for subject in ("a001", "b002"):
        with h5py.File(archive / subject / "cine.h5", "r+") as file:
            xml = file["dataset/xml"][0].decode()
            info = "<subjectInformation><patientID>A-4711</patientID></subjectInformation>"
            file["dataset/xml"][0] = xml.replace("<acquisitionSystem", info + "<acquisitionSystem").encode()
    (subject,) = {row.subject for row in run(archive).rows}
    assert subject.startswith("person-")
    assert "4711" not in subject


@pytest.mark.parametrize("blank", ["XXXXXXXX", "anonymous", "00000000", ""])
def test_a_blanked_patient_number_is_ignored(run, archive, blank):
    for subject in ("a001", "b002"):
        with h5py.File(archive / subject / "cine.h5", "r+") as file:
            xml = file["dataset/xml"][0].decode()
            info = f"<subjectInformation><patientID>{blank}</patientID></subjectInformation>"
            file["dataset/xml"][0] = xml.replace("<acquisitionSystem", info + "<acquisitionSystem").encode()
    assert {row.subject for row in run(archive).rows} == {"a001", "b002"}


def test_files_of_one_folder_count_as_subjects_with_a_warning(run, archive):
    report = run(archive / "a001" / "cine.h5", archive / "b002" / "cine.h5")
    assert {row.case.partition("/")[2][:9] for row in report.rows} == {"a001/cine", "b002/cine"}
    assert report.n_unknown_subjects == 2


def test_prepared_cases_are_prepared_further(run, archive, tmp_path):
    run(archive)
    before = {(row.subject, row.slice): row for row in read_index(tmp_path / "data")}
    report = run(tmp_path / "data", to="cut", crop=(8, 10))
    assert {row.case for row in report.rows} == {row.case for row in before.values()}
    assert len(report.rows) == 4
    for row in report.rows:
        data = read_case(tmp_path / "cut" / row.case)
        assert data.matrix == (8, 10)
        whole = read_case(tmp_path / "data" / before[row.subject, data.meta.slice].case)
        assert torch.equal(data.reference, whole.reference[:, 2:10, 3:13])


def test_a_twin_is_the_truth_of_an_undersampled_file(run, tmp_path):
    simulated = simulate_cine(SimulateConfig(n_frames=3, ky=32, kx=30, n_coils=3, noise=0))[0]
    kspace = simulated.kspace.numpy()[:, None]
    mask = np.zeros((32, 30))
    mask[::3] = mask[12:20] = 1
    root = tmp_path / "TrainingSet"
    write_v73(root / "FullSample/P001/cine_sax.mat", kspace_full=kspace)
    write_v73(root / "AccFactor03/P001/cine_sax.mat", kspace_sub03=kspace * mask)
    write_v73(root / "AccFactor03/P001/cine_sax_mask.mat", mask03=mask + 0j)
    table = "FOVx,300\nFOVy,320\nReadOutOversample,2\nSliceThickness,8\n"
    (root / "FullSample/P001/cine_sax_info.csv").write_text(table)
    rows = run(root, preprocessing={"csm": "smooth"}).rows
    assert {row.subject for row in rows} == {"TrainingSet-P001"}
    full, fast = (read_case(tmp_path / "data" / row.case) for row in sorted(rows, key=lambda row: row.acceleration))
    expected = simulated.reference.abs()[..., 15 - 7 : 15 - 7 + 15]
    for data in (full, fast):
        assert data.matrix == (32, 15), "without its oversampling"
        assert data.meta.pixel_size_mm == (10, 20)
        assert relative_error(data.reference.abs(), expected) < 0.03
    assert fast.mask[0, 0, :, 0].tolist() == (mask[:, 0] != 0).tolist()


def test_k_space_of_magnitude_images_is_marked(run, tmp_path, cine):
    write_v73(tmp_path / "SingleCoil/FullSample/P001/cine_sax.mat", kspace_single_full=fft2(cine.magnitude)[:, None])
    (row,) = run(tmp_path / "SingleCoil").rows
    assert row.marks == "magnitude only"
    assert row.acceleration == 1


def test_gaps_of_a_full_file_are_not_measured(run, tmp_path):
    kspace = (
        simulate_cine(SimulateConfig(n_frames=3, ky=32, kx=30, n_coils=3, noise=0))[0].kspace.numpy()[:, None].copy()
    )
    kspace[..., :3, :] = kspace[..., -2:, :] = 0
    write_v73(tmp_path / "padded/FullSample/P001/cine_sax.mat", kspace_full=kspace)
    (row,) = run(tmp_path / "padded").rows
    data = read_case(tmp_path / "data" / row.case)
    assert row.marks == "zero-padded"
    assert data.mask[0, 0, :, 0].tolist() == [False] + [True] * 27
    assert "the outer 5 of 32 lines of k-space are empty: they are treated as not measured" in data.meta.warnings
    kspace[..., 7, :] = 0
    write_v73(tmp_path / "gap/FullSample/P001/cine_sax.mat", kspace_full=kspace)
    report = run(tmp_path / "gap", to="gaps")
    data = read_case(tmp_path / "gaps" / report.rows[0].case)
    assert (data.reference, data.mask[:, 0, 7].any()) == (None, False)
    assert report.rows[0].acceleration == round(32 / 26, 4)
    claim = (
        "18 of 96 lines contain only zeros, although the file is supposed to be fully sampled: they are treated "
        "as not measured"
    )
    assert claim in report.warnings
    mask = np.ones((32, 30))
    mask[20] = 0
    write_v73(tmp_path / "wrong/AccFactor04/P001/cine_sax.mat", kspace_sub04=kspace)
    write_v73(tmp_path / "wrong/AccFactor04/P001/cine_sax_mask.mat", mask04=mask + 0j)
    (refusal,) = run(tmp_path / "wrong", to="wrongs").refused
    assert refusal.what == "the file contains samples where its mask marks nothing as measured"


def test_a_damaged_nifti_file_stops_no_other(run, archive, cine):
    write_nifti(archive / "a001" / "x.nii.gz", [replace(cine)])
    path = archive / "a001" / "x.nii.gz"
    path.write_bytes(path.read_bytes()[:-4000])
    report = run(archive)
    assert report.n_new == 4
    assert [refusal.path.name for refusal in report.refused] == ["x.nii.gz"]


def test_what_is_no_cine_is_left_out_of_folders_and_refused_by_name(run, archive, cine):
    """Label files and volumes next to the images, as in the ACDC and M&Ms archives."""
    write_nifti(archive / "a001" / "a_sa.nii.gz", [cine])
    labels = np.zeros((4, 4, 2, 3), np.uint8)
    labels[1:3, 1:3, 1, 0], labels[1:3, 2, 1, 2] = 2, 3
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), archive / "a001" / "a_sa_gt.nii.gz")
    for name, pixels in (("a_frame01", np.ones((4, 4, 4))), ("a_frame01_gt", labels[..., 0])):
        nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), archive / "a001" / f"{name}.nii.gz")
    report = run(archive)
    assert {Path(row.source).name for row in report.rows} == {"cine.h5", "a_sa.nii.gz"}
    assert report.refused == ()
    assert report.passed == {
        "images without a time axis, such as a_frame01.nii.gz": 2,
        "segmentations, such as a_sa_gt.nii.gz": 1,
    }
    (refusal,) = run(archive / "a001" / "a_sa_gt.nii.gz", to="others").refused
    assert refusal.what == "this is a segmentation, not an image: its pixels are labels, 0, 2, 3"


def test_a_segmentation_among_dicom_series_is_left_out(run, tmp_path, cine):
    labels = np.zeros(cine.image.shape, np.complex64)
    labels[:, 2:5, 2:5] = 3
    for number, image in enumerate((cine.image, labels)):
        write_dicom(tmp_path / str(number), [replace(cine, image=image)])
        for file in (tmp_path / str(number)).iterdir():
            head = pydicom.dcmread(file)
            head.Manufacturer, head.SeriesInstanceUID, head.SeriesNumber = "SCANNER", f"1.2.{number}", number + 1
            (tmp_path / "both").mkdir(exist_ok=True)
            head.save_as(tmp_path / "both" / f"{number}-{file.name}")
    report = run(tmp_path / "both", simulated_coils=1)
    (row,) = report.rows
    assert row.case.endswith("both-series1_slice00.h5")
    reference = read_case(tmp_path / "data" / row.case).reference.abs()
    assert relative_error(reference / reference.max(), as_in_dicom(cine)) < 0.001
    assert report.passed == {"segmentations, such as both": 1}
    assert report.refused == ()


def test_the_folder_of_the_cases_is_no_source(run, tmp_path, monkeypatch):
    (tmp_path / "scans").mkdir()
    small_scan().write(tmp_path / "scans" / "a.h5")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        report = run(tmp_path / "scans", to=Path("scans/out"))
        assert [row.source for row in report.rows] == [str(tmp_path / "scans" / "a.h5")]
    with pytest.raises(ConfigError, match="must not contain the input files"):
        run(tmp_path / "scans", to=Path("scans"))


def test_images_next_to_their_scan_are_skipped(run, tmp_path, cine):
    (tmp_path / "scans").mkdir()
    small_scan().write(tmp_path / "scans" / "a.hdf5")
    write_mrd_images(tmp_path / "scans" / "a.zerofilled.h5", [cine])
    report = run(tmp_path / "scans")
    assert (report.n_new, report.refused) == (1, ())
    assert report.passed == {"image files written by a reconstruction": 1}


def test_images_of_a_method_are_no_reference(run, archive, cine):
    made = replace(cine, method="cgsense")
    write_nifti(archive / "a001" / "made.nii.gz", [made])
    (archive / "a001" / "made").mkdir()
    write_dicom(archive / "a001" / "made", [made])
    report = run(archive)
    assert report.n_new == 4
    assert report.passed["image files written by a reconstruction"] == 1 + cine.n_frames


def test_reconstructions_among_dicom_images_of_a_scanner_are_no_truth(run, tmp_path, cine):
    """Files have UIDs as names, as scanners and archives give them."""
    for images in (cine, replace(cine, image=cine.image[::-1].copy(), method="cgsense")):
        write_dicom(tmp_path / "made", [images])
        (tmp_path / "P1").mkdir(exist_ok=True)
        for file in (tmp_path / "made").iterdir():
            file.rename(tmp_path / "P1" / f"MR.{pydicom.dcmread(file).SOPInstanceUID}")
    report = run(tmp_path / "P1", simulated_coils=1)
    (row,) = report.rows
    reference = read_case(tmp_path / "data" / row.case).reference.abs()
    assert relative_error(reference / reference.max(), as_in_dicom(cine)) < 0.001
    assert report.passed == {"image files written by a reconstruction": cine.n_frames}


def test_a_folder_of_nothing_but_reconstructions_is_refused_with_the_reason(tmp_path, cine):
    folder = tmp_path / "dicom"
    write_dicom(folder, [replace(cine, method="ktslr")])
    with pytest.raises(FileError, match="only 5 image files written by a reconstruction"):
        find_sources([folder], tmp_path / "cases")


def test_a_folder_of_nothing_but_other_images_is_refused(run, tmp_path):
    """With the reason, and without an empty folder of cases."""
    folder = tmp_path / "P1"
    folder.mkdir()
    labels = np.zeros((24, 24, 2, 4), np.uint8)
    labels[8:16, 8:16, :, 0], labels[10:14, 10:14, :, 0] = 1, 2
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([2, 2, 8, 1.0])), folder / "P1_gt.nii.gz")
    with pytest.raises(FileError, match="nothing to prepare was found, only segmentations") as caught:
        run(folder)
    assert "P1_gt.nii.gz" in caught.value.where


def test_listed_files_are_not_compared_pair_by_pair(tmp_path, monkeypatch):
    """The time to list an archive is proportional to the number of its scans."""
    calls, original = [], PurePath.__eq__

    def equal(one, other):
        calls.append(None)
        return original(one, other)

    monkeypatch.setattr(PurePath, "__eq__", equal)
    listed = [tmp_path / f"P{number}/cine.h5" for number in range(300)]
    sources, _ = find_sources([], tmp_path / "data", listed)
    assert len({source.name for source in sources}) == 300
    assert len(calls) < 20 * 300


def test_cases_stay_in_the_folder_of_their_split(tmp_path):
    """Also of two files of one name, of which one is listed by a path through another folder."""
    for number in (1, 2):
        (tmp_path / f"P{number}").mkdir()
        config = SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2, seed=number, subject=f"P{number}")
        simulate_scan(tmp_path / f"P{number}/cine.h5", config)
    (tmp_path / "link").symlink_to("P2", target_is_directory=True)
    listed = [tmp_path / "P1/cine.h5", tmp_path / "link/../P2/cine.h5"]
    report = prepare([], tmp_path / "data", workers=1, pictures=False, listed=listed)
    folders = {row.case: tmp_path / "data" / row.split for row in report.rows}
    cases = {case: (tmp_path / "data" / case).resolve() for case in folders}
    assert len(set(cases.values())) == 2
    assert all(path.is_relative_to(folders[case]) for case, path in cases.items())


def test_a_scan_that_is_given_twice_is_prepared_once(run, archive, tmp_path, monkeypatch):
    monkeypatch.chdir(archive)
    report = run(Path("a001/cine.h5"), archive / "a001/cine.h5", archive / "a001", Path())
    assert (report.n_new, report.refused, report.passed) == (4, (), {})
