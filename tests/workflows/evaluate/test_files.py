"""Images of any program against their truth: the scores are those of the images, whatever the file."""

import numpy as np
import pytest
import torch

from cinerecon.data.cine import CineMeta
from cinerecon.data.image import CineImage
from cinerecon.data.mrd_images import write_mrd_images
from cinerecon.data.npz import write_npz
from cinerecon.errors import ConfigError, DataError, FileError, ShapeError
from cinerecon.metrics import psnr
from cinerecon.workflows.evaluate import compare_files, read_scores, require_files, write_results


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


def test_what_does_not_fit_is_said(truth, tmp_path):
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
