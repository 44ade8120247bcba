"""Plain arrays of k-space: axes by name, BART's layout, and what damaged or wrong files say."""

import io
import zipfile

import numpy as np
import pytest

from cinerecon.errors import CineReconError, ConfigError, DataError, FileError
from cinerecon.io.bart import open_cfl
from cinerecon.io.kspace_array import holds_kspace, open_kspace_array, parse_axes
from cinerecon.io.recognise import is_kspace_array

SIZES = {"slices": 2, "frames": 3, "coils": 4, "ky": 6, "kx": 8}


def numbers(*axes):
    """Distinct complex numbers with the named axes."""
    shape = [SIZES[axis] for axis in axes]
    return (np.arange(np.prod(shape)) * (1 - 0.5j)).reshape(shape).astype(np.complex64)


def bart_pair(folder, sizes, samples, name="scan"):
    """Header and samples as BART writes them."""
    (folder / f"{name}.hdr").write_text(f"# Dimensions\n{' '.join(map(str, sizes))} \n# Command\nphantom -k\n")
    (folder / f"{name}.cfl").write_bytes(samples)
    return folder / f"{name}.cfl"


@pytest.mark.parametrize(
    "order", ["slices frames coils ky kx", "kx ky coils frames slices", "ky, kx, slices, frames, coils"]
)
def test_axes_by_name_in_any_order(tmp_path, order):
    kspace = numbers(*SIZES)
    names = order.replace(",", "").split()
    np.save(tmp_path / "k.npy", kspace.transpose([list(SIZES).index(name) for name in names]))
    array = open_kspace_array(tmp_path / "k.npy", order)
    assert array.shape == (2, 3, 4, 6, 8)
    assert np.array_equal(array.read_slice(1), kspace[1])


def test_arrays_that_are_not_contiguous_of_other_precision_or_byte_order(tmp_path):
    kspace = numbers("frames", "coils", "ky", "kx")
    stored = np.asfortranarray(kspace.astype(">c16"))
    np.save(tmp_path / "k.npy", stored)
    assert np.array_equal(open_kspace_array(tmp_path / "k.npy", "frames coils ky kx").read_slice(0), kspace)


def test_integers_with_an_axis_of_real_and_imaginary_parts(tmp_path):
    real, imaginary = np.arange(3 * 6 * 8, dtype=np.int16).reshape(3, 6, 8), np.full((3, 6, 8), -7, np.int16)
    np.save(tmp_path / "k.npy", np.stack([real, imaginary], -1))
    array = open_kspace_array(tmp_path / "k.npy", "frames ky kx parts")
    assert np.array_equal(array.read_slice(0), (real + 1j * imaginary)[:, None].astype(np.complex64))
    with pytest.raises(DataError, match="int16, but k-space is complex") as info:
        open_kspace_array(tmp_path / "k.npy", "frames ky kx coils")
    assert "'parts'" in info.value.hint


def test_axes_of_length_one_need_no_name(tmp_path):
    np.save(tmp_path / "k.npy", numbers("frames", "ky", "kx")[:, None, :, :, None])
    assert open_kspace_array(tmp_path / "k.npy", "frames ky kx").shape == (1, 3, 1, 6, 8)
    assert open_kspace_array(tmp_path / "k.npy", "frames 1 ky kx 1").shape == (1, 3, 1, 6, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not named"),
        ("frames coils ky", "3 axes are named, but the array .* has 4"),
        ("frames coils ky kz", "unknown axis 'kz'"),
        ("frames coils ky ky", "named twice"),
        ("frames 1 ky kx", "name '1' and the length 4"),
        ("frames coils ky slices", "no axis is named 'kx'"),
    ],
)
def test_wrong_names_of_axes(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_axes(text, (3, 4, 6, 8), "k.npy")


def test_the_example_for_bart_has_its_order_of_dimensions(tmp_path):
    pair = bart_pair(tmp_path, [8, 6, 2, 4], np.zeros(8 * 6 * 2 * 4, "<c8").tobytes())
    for axes in ("", "kx ky coils"):
        with pytest.raises(ConfigError) as info:
            open_kspace_array(pair, axes)
        assert '--axes "kx ky coils frames"' in info.value.hint


def test_bart_dimensions_have_their_meaning(tmp_path):
    kspace = numbers(*SIZES)
    sizes = [1] * 16
    sizes[0], sizes[1], sizes[3], sizes[10], sizes[13] = 8, 6, 4, 3, 2
    samples = np.ascontiguousarray(kspace, "<c8").tobytes()  # the first dimension is the fastest
    array = open_kspace_array(bart_pair(tmp_path, sizes, samples))
    assert array.shape == (2, 3, 4, 6, 8)
    assert np.array_equal(array.read_slice(0), kspace[0])
    assert [path.name for path in array.files] == ["scan.hdr", "scan.cfl"]
    assert open_kspace_array(tmp_path / "scan.hdr").shape == array.shape


def test_other_bart_dimensions_are_refused_or_named(tmp_path):
    kspace = numbers("frames", "coils", "ky", "kx")
    sizes = [8, 6, 1, 4, 1, 3]  # echoes in dimension 5
    path = bart_pair(tmp_path, sizes, kspace.tobytes())
    with pytest.raises(ConfigError, match="dimension 5 of the BART array is 3"):
        open_kspace_array(path)
    assert np.array_equal(open_kspace_array(path, "kx ky coils frames").read_slice(0), kspace)


@pytest.mark.parametrize(
    ("header", "n_bytes", "message"),
    [
        ("# Dimensions\n8 6 1 4 1 1 1 1 1 1 3\n", 8 * 575, "scan.cfl has 4600 bytes"),
        ("# Dimensions\n8 6 1 4 1 1 1 1 1 1 3\n", 8 * 577, "scan.cfl has 4616 bytes"),
        ("# Dimensions\n8 6 -1 4\n", 8, "expected sizes of at least 1"),
        ("# Dimensions\n8 0 4\n", 0, "expected sizes of at least 1"),
        ("# Dimensions\n8 six\n", 8, "expected sizes of at least 1"),
        ("# Dimensions\n", 8, "'# Dimensions' is missing"),
        ("# Command\nfft\n", 8, "'# Dimensions' is missing"),
        (f"# Dimensions\n{'99999 ' * 9}\n", 8, "which is larger than any scan"),
        (f"# Dimensions\n{'9' * 30}\n", 8, "expected sizes of at least 1"),
    ],
)
def test_headers_that_are_wrong(tmp_path, header, n_bytes, message):
    (tmp_path / "scan.hdr").write_text(header)
    (tmp_path / "scan.cfl").write_bytes(bytes(n_bytes))
    with pytest.raises(DataError, match=message):
        open_cfl(tmp_path / "scan.cfl")


@pytest.mark.parametrize("missing", ["hdr", "cfl"])
def test_half_a_pair_is_refused(tmp_path, missing):
    bart_pair(tmp_path, [8, 6, 1, 1, 1, 1, 1, 1, 1, 1, 3], bytes(8 * 144))
    (tmp_path / f"scan.{missing}").unlink()
    with pytest.raises(FileError, match=f"no scan.{missing}"):
        open_cfl(tmp_path / ("scan.cfl" if missing == "hdr" else "scan.hdr"))


def test_headers_of_other_programs_are_not_of_bart(tmp_path):
    (tmp_path / "analyze.hdr").write_bytes(b"\x5c\x01\0\0" + bytes(344))
    assert not is_kspace_array(tmp_path / "analyze.hdr")


def test_an_archive_names_its_axes_and_what_is_not_read(tmp_path):
    kspace = numbers("frames", "coils", "ky", "kx")
    np.savez(tmp_path / "k.npz", kspace=kspace, axes="frames coils ky kx", comment="x")
    array = open_kspace_array(tmp_path / "k.npz")
    assert np.array_equal(array.read_slice(0), kspace)
    assert "comment" in array.warnings[0]
    assert holds_kspace(tmp_path / "k.npz")
    np.savez(tmp_path / "k.npz", kspace=kspace, axes=np.array(["frames", "coils", "ky", "kx"]))
    assert open_kspace_array(tmp_path / "k.npz").shape == (1, 3, 4, 6, 8)
    np.savez(tmp_path / "k.npz", ksp=kspace)
    with pytest.raises(FileError, match="contains 'ksp', expected 'kspace'"):
        open_kspace_array(tmp_path / "k.npz")


def test_objects_in_arrays_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    np.save(tmp_path / "k.npy", np.array([Bomb()], object), allow_pickle=True)
    np.savez(tmp_path / "k.npz", kspace=np.array([Bomb()], object))
    for name in ("k.npy", "k.npz"):
        with pytest.raises(CineReconError):
            open_kspace_array(tmp_path / name, "frames ky kx")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_cut_files(tmp_path, suffix):
    path = tmp_path / f"k.{suffix}"
    kspace = numbers("frames", "ky", "kx")
    if suffix == "npy":
        np.save(path, kspace)
    else:
        np.savez(path, kspace=kspace)
    whole = path.read_bytes()
    for n_bytes in (6, 20, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(CineReconError):
            open_kspace_array(path, "frames ky kx")


def test_archives_that_claim_more_than_they_hold(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<c8", "fortran_order": False, "shape": (1 << 20,) * 2})
    with zipfile.ZipFile(tmp_path / "k.npz", "w") as archive:
        archive.writestr("kspace.npy", header.getvalue())
    with pytest.raises(DataError, match="more than a file of"):
        open_kspace_array(tmp_path / "k.npz", "ky kx")
    np.savez(tmp_path / "k.npz", kspace=numbers("frames", "ky", "kx"))
    with pytest.raises(DataError, match="limit 1e-06 GB"):
        open_kspace_array(tmp_path / "k.npz", "frames ky kx", limit_gb=1e-6)
    (tmp_path / "k.npy").write_bytes(header.getvalue())
    with pytest.raises(FileError, match="truncated"):
        open_kspace_array(tmp_path / "k.npy", "ky kx")


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_numbers_that_are_not_finite(tmp_path, value):
    kspace = numbers("frames", "ky", "kx").astype(np.complex128)
    kspace[1, 2, 3] = value
    np.save(tmp_path / "k.npy", kspace)
    with pytest.raises(DataError, match="not finite"):
        open_kspace_array(tmp_path / "k.npy", "frames ky kx").read_slice(0)


def test_a_single_frame_is_no_cine(tmp_path):
    np.save(tmp_path / "k.npy", numbers("coils", "ky", "kx"))
    with pytest.raises(DataError, match="a cine has several"):
        open_kspace_array(tmp_path / "k.npy", "coils ky kx")


@pytest.mark.parametrize("number", ["f4", "i2"])
def test_pairs_of_real_and_imaginary_parts_are_refused_with_the_way_to_join_them(tmp_path, number):
    """As h5py reads the complex numbers of MATLAB and of other programs."""
    np.save(tmp_path / "k.npy", np.zeros((4, 2, 8, 8), [("real", number), ("imag", number)]))
    with pytest.raises(DataError) as caught:
        open_kspace_array(tmp_path / "k.npy", "frames coils ky kx")
    assert caught.value.hint == "kspace = array['real'] + 1j * array['imag']"


def test_arrays_of_objects_are_not_called_damaged(tmp_path):
    np.save(tmp_path / "k.npy", np.array([None, None]), allow_pickle=True)
    with pytest.raises(FileError, match="cannot read") as caught:
        open_kspace_array(tmp_path / "k.npy", "frames coils")
    assert caught.value.hint == "save it as an array of numbers"
