"""Measured magnitude series in every format, slice by slice."""

import nibabel
import numpy as np
import pytest
from magnitude_series import series as magnitude_series

from cinerecon.errors import DataError
from cinerecon.io.checksums import hash_file
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.nifti import write_nifti
from cinerecon.training.card import list_data, series_in
from cinerecon.training.data.config import DataConfig, SeriesSource
from cinerecon.training.data.pool import open_pool
from cinerecon.training.data.series import list_series, series_warnings

SOURCE = SeriesSource(matrix=(32, 32), n_variants=1, n_coils=2)


@pytest.fixture
def archive(tmp_path, write_series):
    """Two subjects of an archive, each in a folder of its own, and one archive at the top."""
    cines = magnitude_series(n_slices=2)
    for folder in ("p1", "p2/sax"):
        (tmp_path / "acdc" / folder).mkdir(parents=True)
    write_nifti(tmp_path / "acdc/p1/cine.nii.gz", cines)
    nibabel.save(nibabel.Nifti1Image(np.ones((12, 15, 2), np.int16), np.eye(4)), tmp_path / "acdc/p1/frame01.nii.gz")
    write_dicom(tmp_path / "acdc/p2/sax/dicom", cines[:1])
    write_series(tmp_path / "acdc/volunteer.npz", subject="V1", licence="CC0-1.0")
    np.savez(tmp_path / "acdc/mask.npz", mask=np.ones((4, 12)))
    return tmp_path / "acdc"


def test_series_of_every_format_are_found_slice_by_slice(archive):
    found = {series.name: series for series in list_series(SOURCE, "train", [archive])}
    assert list(found) == ["volunteer", "cine_slice00", "cine_slice01", "dicom"]
    assert [series.folder for series in found.values()] == ["acdc", "acdc/p1", "acdc/p1", "acdc/p2/sax"]
    assert [series.n_frames for series in found.values()] == [4, 4, 4, 4]
    assert found["cine_slice01"].subject == "p1" != found["dicom"].subject
    assert found["volunteer"].licence == "CC0-1.0"
    cines = magnitude_series(n_slices=2)
    for name, cine in (("cine_slice01", cines[1]), ("dicom", cines[0])):
        expected = cine.magnitude / cine.magnitude.max()
        np.testing.assert_allclose(found[name].read(), expected, atol=1e-3)


def test_files_without_a_cine_are_left_out_with_a_note(archive):
    assert series_warnings(SOURCE, [archive]) == [
        "mask.npz: the archive has no array 'magnitude': left out",
        "frame01.nii.gz: the image is (12, 15, 2), but a cine has (x, y, slices, frames): left out",
    ]
    np.savez(archive / "maps.npz", csm=np.ones((4, 12)))
    assert series_warnings(SOURCE, [archive])[0] == "2 NumPy archives with other arrays, such as maps.npz: left out"


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (("cine_slice0?",), ["volunteer", "dicom"]),
        (("p1/*",), ["volunteer", "dicom"]),
        (("acdc/p*",), ["volunteer"]),
        (("acdc/volunteer", "dicom"), ["cine_slice00", "cine_slice01"]),
    ],
)
def test_slices_are_left_out_by_name_or_by_folder_and_name(archive, patterns, left):
    source = SOURCE.model_copy(update={"leave_out": patterns})
    assert [series.name for series in list_series(source, "train", [archive])] == left


def test_a_slice_that_cannot_be_read_is_an_error_unless_it_is_left_out(archive):
    rng = np.random.default_rng(0)
    values = rng.random((12, 15, 2, 1)) + 0.1 * rng.random((12, 15, 2, 4))
    values[:, :, 1] = 0
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), archive / "empty.nii")
    with pytest.raises(DataError, match="all pixels are zero") as error:
        list_series(SOURCE, "train", [archive])
    assert "slice 1" in error.value.where
    source = SOURCE.model_copy(update={"leave_out": ("empty_slice01",)})
    assert "empty_slice00" in [series.name for series in list_series(source, "train", [archive])]


def test_the_list_of_data_has_the_hashes_of_files_that_prepared_cases_have(archive):
    config = DataConfig.parse({"sources": {"real": {"kind": "series", "folder": archive, "validation": ["dicom"]}}})
    lines = [line for line in list_data(config).splitlines() if line.startswith(("real train", "real val"))]
    assert [line.rsplit(" ", 1)[0] for line in lines] == [
        "real train volunteer.npz",
        "real train cine.nii.gz slice 0",
        "real train cine.nii.gz slice 1",
        "real val dicom",
    ]
    hashes = [hash_file(archive / name) for name in ("volunteer.npz", "p1/cine.nii.gz")]
    assert series_in("\n".join(lines)) == hashes


def test_cached_cases_belong_to_the_content_of_a_series(tmp_path, write_series):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    write_series(tmp_path / "one" / "sax.npz", seed=1)
    write_series(tmp_path / "two" / "sax.npz", seed=2)
    config = DataConfig(sources={"real": SOURCE})

    def images():
        pool = open_pool(config, tmp_path / "cases", folders=[tmp_path / "one", tmp_path / "two"])
        cases = [group.cases[0] for group in pool.groups]
        for case in cases:
            case.ensure_cached()
        return [case.motion() for case in cases]

    first, second = images()
    assert not np.array_equal(first, second)
    write_series(tmp_path / "one" / "sax.npz", seed=3)
    changed, same = images()
    assert not np.array_equal(changed, first)
    np.testing.assert_array_equal(same, second)
