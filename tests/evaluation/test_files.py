"""Images of any program against their reference: the scores do not depend on the file format."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import ConfigError, DataError, FileError, ShapeError
from cinerecon.evaluation import compare_files, read_scores, require_files, write_results
from cinerecon.evaluation.image_files import read_truth
from cinerecon.image import CineImage
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.export.npz import write_npz
from cinerecon.io.ismrmrd.images import write_mrd_images
from cinerecon.metrics import psnr
from cinerecon.reconstruction import ReconRequest, reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan


@pytest.fixture
def truth(tmp_path):
    """Two slices of 4 frames, complex, and the file that holds them."""
    generator = np.random.default_rng(0)
    images = (generator.normal(size=(2, 4, 20, 24)) + 1j * generator.normal(size=(2, 4, 20, 24))).astype(np.complex64)
    np.savez(tmp_path / "truth.npz", reference=images)
    return tmp_path / "truth.npz", images


def cines(images):
    return [CineImage(image, meta=CineMeta(slice=number)) for number, image in enumerate(images)]


def test_every_kind_of_file_gives_the_same(truth, tmp_path):
    path, images = truth
    noisy = images + 0.1 * np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
    write_npz(tmp_path / "ours.npz", cines(noisy))
    write_mrd_images(tmp_path / "images.h5", cines(noisy))
    np.save(tmp_path / "array.npy", np.abs(noisy))
    files = [tmp_path / name for name in ("ours.npz", "images.h5", "array.npy")]
    scores = compare_files(files, path)
    assert [(s.method, s.slice) for s in scores] == [(f.stem, n) for f in files for n in (0, 1)]
    expected = [psnr(torch.from_numpy(abs(a)), torch.from_numpy(abs(b))) for a, b in zip(noisy, images, strict=True)]
    assert [s.psnr for s in scores] == pytest.approx(expected * 3, abs=1e-4)


def test_results_of_files_make_a_page(truth, tmp_path):
    path, images = truth
    np.save(tmp_path / "half.npy", images / 2)
    scores = compare_files([tmp_path / "half.npy"], path, output=tmp_path / "out", pictures=1)
    compare_files([tmp_path / "half.npy"], path, output=tmp_path / "out", pictures=1)
    assert len(read_scores(tmp_path / "out")) == len(scores) == 2
    assert scores[0].nmse == pytest.approx(0.25, rel=1e-5)
    page = write_results(scores, tmp_path / "out")[-1].read_text(encoding="utf-8")
    assert "as given, coils unknown, 2 slices" in page


def test_images_that_do_not_fit_are_refused(truth, tmp_path):
    path, images = truth
    np.save(tmp_path / "short.npy", images[:, :3])
    with pytest.raises(ShapeError, match=r"\(3, 20, 24\)"):
        compare_files([tmp_path / "short.npy"], path)
    np.save(tmp_path / "flat.npy", images[0, 0])
    with pytest.raises(DataError, match="expected images"):
        compare_files([tmp_path / "flat.npy"], path)
    np.savez(tmp_path / "other.npz", kspace=images)
    with pytest.raises(DataError, match="holds kspace"):
        compare_files([tmp_path / "other.npz"], path)
    np.save(tmp_path / "nan.npy", np.full_like(images, np.nan))
    with pytest.raises(DataError, match="not finite"):
        compare_files([tmp_path / "nan.npy"], path)
    with pytest.raises(FileError):
        compare_files([tmp_path / "missing.npy"], path)
    with pytest.raises(ConfigError, match="--reference is missing"):
        require_files([path], None, [])
    with pytest.raises(ConfigError, match="without scans"):
        require_files([path], path, ["scan.h5"])


def test_files_of_one_name_are_rows_of_their_own(truth, tmp_path):
    path, images = truth
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "ok.npy", images * (1 + number))
    files = [tmp_path / folder / "ok.npy" for folder in ("one", "two", "one")]
    scores = compare_files(files, path)
    assert [(s.method, s.slice) for s in scores] == [("one/ok", 0), ("one/ok", 1), ("two/ok", 0), ("two/ok", 1)]
    assert scores[0].nmse == pytest.approx(0, abs=1e-9)
    assert scores[2].nmse == pytest.approx(1, rel=1e-4)
    assert scores[2].marks == "two/ok: brighter by a factor of 2?"


def test_slices_of_different_sizes_are_all_read(tmp_path):
    generator = np.random.default_rng(0)
    images = [generator.normal(size=(3, y, 16)).astype(np.complex64) for y in (16, 20, 16)]
    truth = [CineImage(one, one, CineMeta(slice=number)) for number, one in enumerate(images)]
    write_npz(tmp_path / "truth.npz", truth)
    write_npz(tmp_path / "ours.npz", cines(images))
    write_mrd_images(tmp_path / "images.h5", cines(images))
    scores = compare_files([tmp_path / "ours.npz", tmp_path / "images.h5"], tmp_path / "truth.npz")
    assert [s.slice for s in scores] == [0, 1, 2] * 2
    assert all(s.nmse == pytest.approx(0, abs=1e-9) for s in scores)


def test_nifti_and_dicom_are_read_in_their_own_units(truth, tmp_path):
    """DICOM holds stored values; their factor to the magnitude is printed under the table."""
    path, images = truth
    write_nifti(tmp_path / "ours.nii.gz", cines(images))
    place = Geometry((0.0, 0, 0), (1.0, 0, 0), (0.0, 1, 0), (0.0, 0, 1))
    placed = [
        CineImage(one, meta=CineMeta(slice=n, geometry=replace(place, position_mm=(0.0, 0, 8 * n))))
        for n, one in enumerate(images)
    ]
    write_dicom(tmp_path / "dicom", placed)
    scores = compare_files([tmp_path / "ours.nii.gz"], path)
    assert len(scores) == 2
    assert all(s.nmse < 1e-6 and not s.marks for s in scores)
    scores = compare_files([tmp_path / "dicom"], path)
    assert len(scores) == 2
    assert all("brighter" in s.marks and "flipped" not in s.marks for s in scores)
    with pytest.raises(DataError, match="no DICOM cines"):
        compare_files([tmp_path], path)


def test_the_truth_may_be_the_scan_that_carries_it(full_scan, tmp_path):
    request = ReconRequest(full_scan, "zerofilled", (str(tmp_path / "ours.npz"),), undersample="gaussian:2")
    (report,) = reconstruct_scan(request).slices
    (score,) = compare_files([tmp_path / "ours.npz"], full_scan)
    assert score.psnr == pytest.approx(report.quality["psnr"], abs=1e-3)
    simulate_scan(tmp_path / "fast.h5", SimulateConfig(n_frames=4, ky=24, kx=24, n_coils=2, undersample="gaussian:2"))
    assert read_truth(tmp_path / "fast.h5")[0].image.shape == (4, 24, 24), "a simulated scan carries it"
