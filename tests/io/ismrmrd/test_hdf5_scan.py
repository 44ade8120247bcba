import os
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from raw_scan import small_scan

from cinerecon.errors import CineReconError, DataError, FileError, HeaderError
from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
from cinerecon.io.ismrmrd.raw import has_flag
from cinerecon.io.raw_file import holds_images_only


@pytest.mark.parametrize("numbers", [np.float32, np.float64, np.complex64, np.int16, np.int32])
def test_samples_and_headers(tmp_path, numbers):
    scan = small_scan()
    scan.samples = [np.round(1000 * s) for s in scan.samples]
    raw = read_mrd(scan.write(tmp_path / "scan.h5", numbers=numbers))
    rows = np.arange(len(raw))
    np.testing.assert_array_equal(raw.samples(rows), np.stack(scan.samples))
    np.testing.assert_array_equal(raw.samples(rows[5::7]), np.stack(scan.samples[5::7]))
    np.testing.assert_array_equal(raw.heads["idx"], scan.heads["idx"])
    assert raw.group == "/dataset"


def test_large_files_are_read_on_demand(tmp_path, monkeypatch):
    monkeypatch.setattr("cinerecon.io.ismrmrd.hdf5_scan.READ_AT_ONCE", 0)
    monkeypatch.setattr("cinerecon.io.ismrmrd.hdf5_scan.BLOCK", 7)
    scan = small_scan()
    raw = read_mrd(scan.write(tmp_path / "scan.h5"))
    for rows in (np.arange(len(raw)), np.arange(3, 30, 2), np.array([0, 1, 2, 30, 35])):
        np.testing.assert_array_equal(raw.samples(rows), np.stack([scan.samples[row] for row in rows]))


def test_the_readouts_of_a_small_file_are_read_once(tmp_path, monkeypatch):
    """Each read determines the type of the rows again, which takes a tenth of the time to open a small scan."""
    reads, scan, read = [], small_scan(), h5py.Dataset.__getitem__
    path = scan.write(tmp_path / "scan.h5")

    def count(dataset, *arguments, **options):
        reads.append(dataset.name)
        return read(dataset, *arguments, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", count)
    assert len(read_mrd(path)) > 16
    assert reads.count("/dataset/data") == 1


@pytest.mark.parametrize("locking", [None, True, "best-effort"])
def test_a_file_that_the_program_has_open_is_read(tmp_path, locking):
    """The HDF5 library refuses to open a file again with another kind of lock."""
    path = small_scan().write(tmp_path / "scan.h5")
    with h5py.File(path, "r", locking=locking):
        assert len(read_mrd(path)) == 36


def test_a_file_that_is_still_being_written_is_not_called_damaged(tmp_path):
    """A file in SWMR mode contains a mark that it is open, which a copy also has."""
    with h5py.File(tmp_path / "open.h5", "w", libver="latest") as file:
        file.swmr_mode = True
        shutil.copy(tmp_path / "open.h5", tmp_path / "scan.h5")
    with pytest.raises(FileError, match="another program is writing the file, or ended without closing it"):
        read_mrd(tmp_path / "scan.h5")


def test_read_only_file_stays_as_it_is(tmp_path):
    path = small_scan().write(tmp_path / "scan.h5")
    path.chmod(0o444)
    before = path.read_bytes(), path.stat().st_mtime_ns
    read_mrd(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_flags_are_counted_from_one():
    scan = small_scan()
    for number in (1, 19, 31, 64):
        scan.flag(number // 2, number)
        assert np.flatnonzero(has_flag(scan.heads, number)).tolist() == [number // 2]


def test_stored_length_is_measured_against_the_header(tmp_path):
    for head, value in (("number_of_samples", 40), ("active_channels", 2)):
        scan = small_scan()
        scan.heads[head][9] = value
        with pytest.raises(DataError, match="acquisition 9: the header declares") as caught:
            read_mrd(scan.write(tmp_path / "scan.h5"))
        assert caught.value.where.endswith("acquisition 9")


def test_nothing_is_allocated_from_a_claim(tmp_path):
    scan = small_scan()
    scan.heads["number_of_samples"][9] = scan.heads["active_channels"][9] = 65535
    with pytest.raises(DataError, match="acquisition 9 claims 65535 samples x 65535 channels"):
        read_mrd(scan.write(tmp_path / "scan.h5"))


def test_a_list_longer_than_the_file_can_hold_is_refused(tmp_path):
    path = small_scan().write(tmp_path / "scan.h5")
    with h5py.File(path, "r+") as file:
        file["dataset/data"].resize((10**9,))
    with pytest.raises(DataError, match=r"'data' claims .* GB, more than a file of"):
        read_mrd(path)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (np.inf, "Inf"), (complex(0, -np.inf), "Inf")])
def test_not_finite(tmp_path, value, word):
    scan = small_scan()
    scan.samples[9][1, 3] = value
    raw = read_mrd(scan.write(tmp_path / "scan.h5"))
    with pytest.raises(DataError, match=f"{word} in acquisition 9"):
        raw.samples(np.arange(len(raw)))


def test_groups(tmp_path):
    path = small_scan().write(tmp_path / "scan.h5")
    other = small_scan(n_frames=2)
    other.group = "deep/er"
    other.write(path, mode="r+")
    with pytest.raises(
        FileError, match=r"2 measurements: 'dataset' \(36 readouts\), 'deep/er' \(24 readouts\)"
    ) as caught:
        read_mrd(path)
    assert "--dataset" in caught.value.hint
    assert len(read_mrd(path, "deep/er")) == 24
    with pytest.raises(FileError, match="no raw data in a group 'nosuch'"):
        read_mrd(path, "nosuch")


def test_links_to_other_files_are_not_followed(tmp_path):
    outside = small_scan().write(tmp_path / "outside.h5")
    for place in ("dataset", "dataset/data", "dataset/xml"):
        path = tmp_path / "link.h5"
        shutil.copy(outside, path)
        with h5py.File(path, "r+") as file:
            del file[place]
            file[place] = h5py.ExternalLink("outside.h5", "/" + place)
        with pytest.raises(FileError, match="link to another file"):
            read_mrd(path)


def test_parts_of_the_group(tmp_path):
    path = small_scan().write(tmp_path / "scan.h5")
    cases = (("data", DataError, "no acquisitions are stored"), ("xml", HeaderError, "no XML header"))
    for name, error, words in cases:
        broken = tmp_path / f"no_{name}.h5"
        shutil.copy(path, broken)
        with h5py.File(broken, "r+") as file:
            del file["dataset"][name]
        with pytest.raises(error, match=words):
            read_mrd(broken)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"hello physicist, this is no scan\n", "text"),
        (b"<html>404 Not Found</html>", "HTML"),
        (b"\0\0\0\0\2\0\0\0" + bytes(2000), "Siemens raw file"),
        (b"\x1f\x8b\x08" + bytes(50), "gzip"),
        (bytes(128) + b"DICM" + bytes(50), "DICOM"),
        (b"\\\x01\0\0".ljust(344, b"\0") + b"n+1\0", "NIfTI"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(200), "MATLAB v5"),
        (b"\x93NUMPY\x01\0", "NumPy"),
        (b"\x89HDF\r\n\x1a\x00" + bytes(50), "damaged HDF5 signature"),
        (bytes(range(256)) * 4, "binary"),
    ],
)
def test_other_files_are_called_by_their_name(tmp_path, content, words):
    path = tmp_path / "scan.h5"
    path.write_bytes(content)
    with pytest.raises(FileError, match=words):
        read_mrd(path)


def test_archives_folders_pipes(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    np.savez(tmp_path / "b.npz", image=np.zeros(3))
    os.mkfifo(tmp_path / "pipe")
    for name, words in (
        ("a.zip", "zip archive"),
        ("b.npz", "npz"),
        ("", "folder"),
        ("pipe", "pipe"),
        ("no", "no such"),
    ):
        with pytest.raises(FileError, match=words):
            read_mrd(tmp_path / name)


def test_other_layouts_are_called_by_their_name(tmp_path):
    def fill(name, **arrays):
        with h5py.File(tmp_path / name, "w") as file:
            for key, value in arrays.items():
                file[key] = value
        return tmp_path / name

    cases = [
        (fill("fast.h5", kspace=np.zeros(3), ismrmrd_header="x"), "fastMRI"),
        (fill("cine_sax.mat", kspace_full=np.zeros(3)), "MATLAB v7.3"),
        (fill("empty.h5"), "it is empty"),
        (fill("array.h5", dataset=np.zeros(3)), "'dataset' is an array"),
        (fill("other.h5", spectra=np.zeros(3)), "it contains 'spectra'"),
    ]
    for path, words in cases:
        with pytest.raises(FileError, match=words):
            read_mrd(path)


def test_links_to_other_files_are_not_followed_to_find_images(tmp_path):
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["dataset/image_0/data"] = np.zeros(3)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["dataset"] = h5py.ExternalLink("images.h5", "dataset")
    assert holds_images_only(tmp_path / "images.h5")
    assert not holds_images_only(tmp_path / "link.h5")


def test_zeros_in_the_heap_do_not_hang(tmp_path):
    """A copy that was cut short but kept its length: the HDF5 library would walk over the zeros forever."""
    path = small_scan().write(tmp_path / "scan.h5")
    content = bytearray(path.read_bytes())
    start = content.index(b"GCOL", content.index(b"GCOL") + 8)
    content[start + 16 :] = bytes(len(content) - start - 16)
    path.write_bytes(content)
    with pytest.raises(FileError, match=f"zeros at byte {start + 16}"):
        read_mrd(path)


def test_damage_never_raises_another_error(tmp_path):
    """Overwriting any part of the file's structure gives the scan, or one of our errors."""
    good = small_scan(n_frames=1).write(tmp_path / "good.h5").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.h5"
    for _ in range(60):
        damaged = bytearray(good)
        start, length = int(rng.integers(8, min(len(good), 6000))), int(rng.integers(1, 40))
        damaged[start : start + length] = rng.bytes(length)
        path.write_bytes(damaged)
        try:
            raw = read_mrd(path)
            raw.samples(np.arange(len(raw)))
        except CineReconError as error:
            assert str(path) in error.where


@pytest.mark.parametrize("n_slices", [1, 3])
def test_samples_of_several_slices_are_not_kept(tmp_path, monkeypatch, n_slices):
    monkeypatch.setattr("cinerecon.io.ismrmrd.hdf5_scan.BLOCK", 10)
    path = small_scan(n_slices=n_slices).write(tmp_path / "scan.h5")
    at_once = read_mrd(path)
    monkeypatch.setattr("cinerecon.io.ismrmrd.hdf5_scan.ALWAYS_AT_ONCE", 0)
    lazy = read_mrd(path)
    assert at_once.store.rows is not None
    assert (lazy.store.rows is not None) == (n_slices == 1)
    assert np.array_equal(lazy.heads, at_once.heads)
    rows = np.arange(3, len(lazy), 2)
    assert np.array_equal(lazy.samples(rows), at_once.samples(rows))


@pytest.mark.parametrize("in_memory", [True, False])
def test_samples_of_another_file_are_not_read_with_the_headers_of_the_first(tmp_path, monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.setattr("cinerecon.io.ismrmrd.hdf5_scan.ALWAYS_AT_ONCE", 0)
        monkeypatch.setattr("cinerecon.io.ismrmrd.hdf5_scan.READ_AT_ONCE", 0)
    path = small_scan(n_slices=2).write(tmp_path / "scan.h5")
    scan = read_mrd(path)
    rows = np.arange(len(scan))
    before = scan.store.read("data", rows)
    small_scan(n_slices=2, n_coils=3).write(tmp_path / "other.h5").replace(path)
    with pytest.raises(FileError, match="was replaced or changed while it was being read"):
        scan.store.read("traj", rows)
    if in_memory:
        assert all(map(np.array_equal, scan.store.read("data", rows), before))
    else:
        with pytest.raises(FileError, match="was replaced or changed"):
            scan.store.read("data", rows)
