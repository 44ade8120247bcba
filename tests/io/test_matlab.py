"""MATLAB files of both versions give the same arrays; damaged ones are refused, saying what and where."""

import h5py
import numpy as np
import pytest
from matlab_file import write_v5, write_v73

from cinerecon.errors import CineReconError, DataError, FileError
from cinerecon.io.matlab import open_matlab
from cinerecon.io.recognise import is_matlab

RNG = np.random.default_rng(0)
KSPACE = (RNG.standard_normal((3, 2, 4, 6, 5)) + 1j * RNG.standard_normal((3, 2, 4, 6, 5))).astype(np.complex64)


@pytest.fixture(params=["7.3", "5", "5 compressed"])
def mat(request, tmp_path):
    arrays = {"kspace_full": KSPACE, "mask": np.eye(4, 3)}
    path = tmp_path / "file.mat"
    return (
        write_v73(path, **arrays) if request.param == "7.3" else write_v5(path, "compressed" in request.param, **arrays)
    )


def test_arrays_and_their_parts(mat):
    opened = open_matlab(mat)
    assert opened.shapes == {"kspace_full": (3, 2, 4, 6, 5), "mask": (4, 3)}
    whole = opened.read("kspace_full")
    assert whole.dtype == np.complex64
    assert np.array_equal(whole, KSPACE)
    assert np.array_equal(opened.read("kspace_full", (slice(None), 1)), KSPACE[:, 1])
    assert np.array_equal(opened.read("mask"), np.eye(4, 3))
    with pytest.raises(DataError, match="no array 'kus', found: kspace_full, mask"):
        opened.read("kus")


def test_matlab_files_are_known_by_name_or_beginning(mat, tmp_path):
    assert is_matlab(mat)
    renamed = mat.rename(tmp_path / "file.dat")
    assert is_matlab(renamed)
    (tmp_path / "text.dat").write_text("no")
    assert not is_matlab(tmp_path / "text.dat")
    assert not is_matlab(tmp_path / "missing.dat")


def test_damage_is_reported_at_every_length(mat):
    content = mat.read_bytes()
    for length in (0, 4, 100, 127, 128, 140, 520, len(content) // 2, len(content) - 9):
        mat.write_bytes(content[:length])
        with pytest.raises(CineReconError) as caught:
            opened = open_matlab(mat)
            for name in opened.shapes:
                opened.read(name)
            if not opened.shapes:
                raise DataError("no arrays are left", where=str(mat))
        assert str(mat) in caught.value.where


def test_random_bytes_in_the_file_never_raise_another_error(mat):
    content = bytearray(mat.read_bytes())
    rng = np.random.default_rng(1)
    n_refused = 0
    for _ in range(40):
        bent = content.copy()
        for place in rng.integers(128, len(bent), 20):
            bent[place] = rng.integers(256)
        mat.write_bytes(bytes(bent))
        try:
            opened = open_matlab(mat)
            for name in opened.shapes:
                opened.read(name)
        except CineReconError as error:
            assert str(mat) in error.where
            n_refused += 1
    assert n_refused > 0


def test_other_files_are_named(tmp_path):
    path = tmp_path / "file.mat"
    with pytest.raises(FileError, match="no such file"):
        open_matlab(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(FileError, match="not a MATLAB file, but an HTML page"):
        open_matlab(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(2000))
    with pytest.raises(FileError, match="not valid HDF5"):
        open_matlab(path)


def test_a_claim_larger_than_the_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "file.mat", "w") as file:
        file.create_dataset("kspace", (10**5, 10**5, 10), np.float32)
    with pytest.raises(DataError, match="'kspace' claims 400 GB"):
        open_matlab(tmp_path / "file.mat")


def test_complex_numbers_of_h5py_are_read(tmp_path):
    values = (np.arange(24) + 2j).astype(np.complex64).reshape(2, 3, 4)
    with h5py.File(tmp_path / "kspace.mat", "w") as file:
        file["kspace"] = values
    file = open_matlab(tmp_path / "kspace.mat")
    assert file.shapes == {"kspace": (2, 3, 4)}
    assert np.array_equal(file.read("kspace"), values)
