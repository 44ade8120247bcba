"""Prepared cases: complete or absent, read as written, read lazily, and refused if inconsistent."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import CineReconError, DataError, FileError, ShapeError
from cinerecon.io.case import CaseFile, read_case, write_case
from cinerecon.io.recognise import is_case

META = CineMeta(
    source="scan.h5",
    slice=3,
    frame_times_ms=tuple(41.5 * n for n in range(8)),
    pixel_size_mm=(1.5, 1.25),
    slice_thickness_mm=6.0,
    geometry=Geometry((1.0, -2.0, 3.5), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0), (0.0, 0.0, 1.0), "HFS"),
    protocol="cine, ü",
    warnings=("one thing", "another"),
    crop_y=20,
    reference_is="truth",
    is_one_beat=True,
    is_real_time=True,
)


@pytest.fixture
def case(make_cine):
    return replace(make_cine(), meta=META, shading=torch.rand(24, 21))


@pytest.fixture
def stored(case, tmp_path):
    write_case(tmp_path / "deep" / "case.h5", case, {"subject": "P01", "marks": ("simulated",), "intake": {"csm": "x"}})
    return tmp_path / "deep" / "case.h5"


def test_what_is_read_is_what_was_written(case, stored):
    back = read_case(stored)
    for name in ("kspace", "mask", "csm", "reference", "shading"):
        assert torch.equal(getattr(back, name), getattr(case, name)), name
    assert back.meta == META


def test_optional_parts_of_a_case_may_be_missing(make_cine, tmp_path):
    case = replace(make_cine(n_coils=1), reference=None)
    write_case(tmp_path / "case.h5", case)
    back = read_case(tmp_path / "case.h5")
    assert (back.csm, back.reference, back.shading, back.meta) == (None, None, None, CineMeta())


def test_the_same_case_is_the_same_bytes(case, stored, tmp_path):
    write_case(tmp_path / "again.h5", case, {"subject": "P01", "marks": ("simulated",), "intake": {"csm": "x"}})
    assert (tmp_path / "again.h5").read_bytes() == stored.read_bytes()


def test_h5py_alone_shows_names_axes_and_units(stored, case):
    with h5py.File(stored) as file:
        assert np.array_equal(file["kspace"][2], case.kspace[2].numpy())
        assert file["kspace"].attrs["axes"] == "frames, coils, ky, kx"
        assert file["reference"].attrs["axes"] == "frames, y, x"
        assert file["mask"].dtype == bool
        assert list(file.attrs["pixel_size_y_x_mm"]) == [1.5, 1.25]
        assert file.attrs["slice_thickness_mm"] == 6
        assert list(file.attrs["warnings"]) == ["one thing", "another"]
        assert file.attrs["subject"] == "P01"
        assert file["intake"].attrs["csm"] == "x"
        assert list(file["geometry"].attrs["position_of_the_centre_lps_mm"]) == [1, -2, 3.5]
        assert file["frame_times_ms"][2] == 83


def test_an_open_case_is_sliced_without_being_read(stored, case):
    with CaseFile(stored) as opened:
        assert opened.shape == (8, 4, 24, 21)
        assert np.array_equal(opened.reference[2:5, 3:9, 1:], case.reference[2:5, 3:9, 1:].numpy())
        assert opened.attributes["marks"] == ("simulated",)
        assert opened.attributes["intake"] == {"csm": "x"}
        assert opened.meta == META
    assert not opened.kspace, "closed"


def test_cases_are_distinguished_from_other_files(stored, tmp_path):
    assert is_case(stored)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kspace"] = np.zeros(3)
    (tmp_path / "text.h5").write_text("no")
    for other in (tmp_path / "other.h5", tmp_path / "text.h5", tmp_path / "missing.h5", tmp_path):
        assert not is_case(other)
    with pytest.raises(FileError, match="not a prepared case"):
        read_case(tmp_path / "other.h5")
    with pytest.raises(FileError, match="no such file"):
        read_case(tmp_path / "missing.h5")


def bend(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def test_impossible_contents_are_refused(stored):
    before = stored.read_bytes()

    def refused(change, error, match):
        stored.write_bytes(before)
        bend(stored, change)
        with pytest.raises(error, match=match) as caught:
            read_case(stored)
        assert str(stored) in caught.value.where or error is ShapeError

    def replaced(name, values):
        def change(file):
            del file[name]
            file[name] = values

        return change

    def nan(file):
        file["kspace"][0, 0, 0, 0] = np.nan

    def full(file):
        file["kspace"][...] = 1

    def link(file):
        del file["kspace"]
        file["kspace"] = h5py.ExternalLink("/etc/passwd", "kspace")

    def huge(file):
        del file["reference"]
        file.create_dataset("reference", (10**6, 10**4, 10**4), np.complex64)

    refused(nan, DataError, "'kspace' contains values that are not finite")
    refused(full, DataError, "signal in .* lines outside the mask")
    refused(link, FileError, "link to another file")
    refused(huge, DataError, "'reference' claims 8e\\+05 GB")
    refused(lambda file: file.pop("mask"), DataError, "'mask' is not an array")
    refused(replaced("csm", np.zeros((4, 24, 20), np.complex64)), ShapeError, "axis x of csm has size 20, expected 21")
    refused(replaced("mask", np.ones((8, 1, 24, 1), np.float32)), DataError, "'mask' is not an array")
    refused(lambda file: file.attrs.pop("pixel_size_y_x_mm"), FileError, "damaged")
    refused(lambda file: file.attrs.modify("format_version", 99), FileError, "version 99, expected 1")


def test_a_case_cut_short_is_refused_at_every_length(stored):
    content = stored.read_bytes()
    for length in np.linspace(0, len(content) - 1, 23).astype(int):
        stored.write_bytes(content[:length])
        with pytest.raises(CineReconError):
            read_case(stored)


def test_a_failed_write_leaves_nothing(case, tmp_path, monkeypatch):
    monkeypatch.setattr(
        h5py.Group, "create_dataset", lambda *a, **k: (_ for _ in ()).throw(OSError(28, "No space left"))
    )
    with pytest.raises(FileError, match="No space left"):
        write_case(tmp_path / "case.h5", case)
    assert list(tmp_path.iterdir()) == []
