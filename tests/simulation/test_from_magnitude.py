"""A raw scan simulated from measured images keeps their slices, beat, field strength and subject."""

import numpy as np
import pydicom
import pytest
from magnitude_series import series

from cinerecon.acquisition.open import open_scan
from cinerecon.acquisition.scan import Scan
from cinerecon.errors import ConfigError, DataError, FileError
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.magnitude import open_one_magnitude
from cinerecon.provenance import hashed_name, hashed_subject
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

QUIET = SimulateConfig(n_coils=2, noise=0.0)


def archive(path, n_frames=25, **values):
    """Bars that move one pixel per frame: each frame differs from the others."""
    columns = np.arange(24)
    frames = [1 + np.cos(2 * np.pi * (columns - n) / 24) + 0.02 * n for n in range(n_frames)]
    np.savez(
        path,
        magnitude=np.stack(frames)[:, None] * np.linspace(0.5, 1, 26)[:, None],
        trigger_time_ms=36.0 * np.arange(n_frames),
        pixel_spacing_mm=[1.5, 1.5],
        slice_thickness_mm=8.0,
        image_orientation_patient=[1.0, 0, 0, 0, 1, 0],
        image_position_patient=[0.0, 0, 0],
        **values,
    )
    return path


def test_sizes_are_those_of_the_source(tmp_path):
    source = archive(tmp_path / "cine.npz")
    simulate_scan(tmp_path / "scan.h5", QUIET, source=source)
    data = open_scan(tmp_path / "scan.h5").read_slice(0)
    magnitude, meta = open_one_magnitude(source).read_slice(0)
    assert (data.n_frames, data.matrix) == (25, (26, 24))
    image = data.reference.abs().numpy()
    np.testing.assert_allclose(image / image.max(), magnitude, atol=2e-2)
    assert data.meta.frame_times_ms == pytest.approx(meta.frame_times_ms, abs=3)


def test_fewer_frames_are_the_whole_beat(tmp_path):
    source = archive(tmp_path / "cine.npz")
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_coils=2, noise=0.0, n_frames=12), source=source)
    data = open_scan(tmp_path / "scan.h5").read_slice(0)
    magnitude, meta = open_one_magnitude(source).read_slice(0)
    chosen = [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22]
    image, expected = data.reference.abs().numpy(), magnitude[chosen]
    np.testing.assert_allclose(image / image.max(), expected / expected.max(), atol=2e-2)
    assert data.meta.frame_times_ms == pytest.approx([meta.frame_times_ms[n] for n in chosen], abs=3)


@pytest.mark.parametrize(("field", "shown"), [(3.0, 3.0), (None, None)])
def test_field_strength_and_subject_are_kept(tmp_path, field, shown):
    stored = {} if field is None else {"field_strength_tesla": field, "subject": "SCD0000301"}
    source = archive(tmp_path / "cine.npz", n_frames=3, **stored)
    simulate_scan(tmp_path / "scan.h5", QUIET, source=source)
    scan = open_scan(tmp_path / "scan.h5")
    assert isinstance(scan, Scan)
    assert scan.plan.field_strength_tesla == shown
    assert scan.subject == open_one_magnitude(source).subject == hashed_subject(stored.get("subject", ""))
    assert b"SCD0000301" not in (tmp_path / "scan.h5").read_bytes()


def test_a_subject_can_be_given(tmp_path):
    source = archive(tmp_path / "cine.npz", n_frames=3, subject="SCD0000301")
    config = SimulateConfig(n_coils=2, subject="a001", n_frames=3, ky=20, kx=20)
    for name, path in (("own.h5", source), ("phantom.h5", None)):
        simulate_scan(tmp_path / name, config, source=path)
        assert open_scan(tmp_path / name).subject == hashed_name("a001") != ""
        assert b"a001" not in (tmp_path / name).read_bytes()


def test_a_phantom_is_scanned_at_one_and_a_half_tesla_and_is_no_subject(tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2))
    scan = open_scan(tmp_path / "scan.h5")
    assert (scan.plan.field_strength_tesla, scan.subject) == (1.5, "")


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_all_slices_of_a_stack_are_scanned_where_they_are(tmp_path, kind):
    cines = series(n_slices=3, matrix=(18, 16))
    if kind == "nifti":
        source = tmp_path / "cine.nii.gz"
        write_nifti(source, cines)
    else:
        source = tmp_path / "dicom"
        source.mkdir()
        write_dicom(source, cines)
        for file in source.iterdir():
            image = pydicom.dcmread(file)
            image.PatientID, image.MagneticFieldStrength = "P-1970", 3
            image.save_as(file)
    simulate_scan(tmp_path / "scan.h5", QUIET, source=source)
    scan = open_scan(tmp_path / "scan.h5")
    assert scan.n_slices == 3
    positions = {tuple(np.round(cine.meta.geometry.position_mm, 2)): cine for cine in cines}
    for number in range(3):
        data = scan.read_slice(number)
        cine = positions[tuple(np.round(data.meta.geometry.position_mm, 2))]
        image = data.reference.abs().numpy()
        np.testing.assert_allclose(image / image.max(), cine.magnitude / cine.magnitude.max(), atol=3e-2)
    if kind == "dicom":
        assert (scan.plan.field_strength_tesla, scan.subject) == (3.0, hashed_subject("P-1970"))
    (middle,) = simulate_cine(SimulateConfig(n_coils=2, n_slices=1), source=source)
    assert middle.meta.geometry.position_mm == pytest.approx(cines[1].meta.geometry.position_mm, abs=1e-3)
    with pytest.raises(ConfigError, match="4 slices requested from a cine that has 3"):
        simulate_cine(SimulateConfig(n_coils=2, n_slices=4), source=source)


def test_sources_without_times_or_of_another_kind_are_refused(tmp_path):
    import nibabel

    pixels = np.random.default_rng(0).random((8, 8, 1, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), tmp_path / "cine.nii")
    with pytest.raises(DataError, match="times of the frames are unknown"):
        simulate_cine(QUIET, source=tmp_path / "cine.nii")
    (tmp_path / "folder").mkdir()
    write_dicom(tmp_path / "folder", series(n_slices=1))
    (file, *_) = sorted((tmp_path / "folder").iterdir())
    with pytest.raises(FileError, match="one DICOM image") as error:
        simulate_cine(QUIET, source=file)
    assert str(file.parent) in error.value.hint


@pytest.mark.parametrize("name", ["x.dat", "x", "x.nii.gz", "x.npz"])
def test_a_scan_is_written_as_hdf5_alone(tmp_path, name):
    with pytest.raises(FileError, match=r"cannot be written to a file with") as error:
        simulate_scan(tmp_path / name, QUIET)
    assert not (tmp_path / name).exists()
    assert ".h5" in error.value.hint
    with pytest.raises(FileError, match="this is a folder"):
        simulate_scan(tmp_path, QUIET, force=True)
