"""Scans in plain arrays give the images of the same scan in HDF5, and refuse what would be a wrong image."""

import warnings

import numpy as np
import pytest
import torch
from helpers import formats_folder, relative_error
from raw_scan import small_scan
from typer.testing import CliRunner

from cinerecon.acquisition.checks.axes_order import are_slices_coils, central_images
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.errors import CineReconError, CineReconWarning, ConfigError, DataError, FileError, ShapeError
from cinerecon.io.bart import PHASE_1, READ, SLICE, TIME, open_cfl, write_cfl
from cinerecon.options import ArrayOptions
from cinerecon.reconstruction.public import reconstruct
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

AXES = "slices frames coils ky kx"
MATRIX = (20, 24)


def config(whiten=False, **arrays):
    return AcquisitionConfig(csm="walsh", whiten=whiten, arrays=ArrayOptions(**arrays))


def run(arguments):
    """0 if a command succeeds, 2 if it refuses its input."""
    result = CliRunner().invoke(app, arguments)
    return 2 if isinstance(result.exception, CineReconError) else result.exit_code


@pytest.fixture
def scan(tmp_path):
    """An undersampled raw scan of two slices, and its k-space ``(slices, frames, coils, ky, kx)`` with oversampling."""
    raw = small_scan(matrix=MATRIX, n_frames=4, n_slices=2, vendor="other")
    line, frame = (raw.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
    raw.keep((np.abs(line - 10) < 4) | ((line + frame) % 3 == 0))
    kspace = np.zeros((2, 4, 3, *MATRIX[:1], 2 * MATRIX[1]), np.complex64)
    for head, samples in zip(raw.heads["idx"], raw.samples, strict=True):
        kspace[head["slice"], head["phase"], :, head["kspace_encode_step_1"]] = samples
    return raw.write(tmp_path / "scan.h5"), kspace


def save_bart(path, values, dimensions):
    write_cfl(path, path.with_suffix(".hdr"), [values], values.shape, dimensions, "test")
    return path


def same_images(found, expected):
    """Whether k-space and mask of all slices are equal to 1e-6, and maps to the rounding of their estimation."""
    assert found.n_slices == expected.n_slices
    for number in range(expected.n_slices):
        one, other = found.read_slice(number), expected.read_slice(number)
        assert torch.equal(one.mask, other.mask)
        assert relative_error(one.kspace, other.kspace) < 1e-6
        assert relative_error(one.csm, other.csm) < 1e-5
    return True


def test_npy_npz_and_bart_are_the_scan_in_hdf5(scan, tmp_path):
    path, kspace = scan
    expected = open_scan(path, config())
    np.save(tmp_path / "k.npy", kspace)
    assert same_images(open_scan(tmp_path / "k.npy", config(axes=AXES, oversampling=2)), expected)
    mask = (kspace != 0).any((0, 2, 4))
    np.savez(tmp_path / "k.npz", kspace=kspace.T, axes=AXES.split()[::-1], oversampling=2, mask=mask)
    assert same_images(open_scan(tmp_path / "k.npz", config()), expected)
    save_bart(tmp_path / "k.cfl", kspace, (SLICE, TIME, 3, PHASE_1, READ))
    pattern = save_bart(tmp_path / "pattern.cfl", (kspace[:1, :, :1, :, :1] != 0).astype("c8"), (SLICE, TIME, 3, 1, 0))
    options = {"pattern": str(pattern), "oversampling": 2}
    assert same_images(open_scan(tmp_path / "k.cfl", config(**options)), expected)


def test_forward_transform_is_mirrored(tmp_path):
    raw = small_scan(matrix=MATRIX, n_frames=4)
    kspace = np.stack(raw.samples).reshape(4, MATRIX[0], 3, -1).transpose(0, 2, 1, 3)
    np.save(tmp_path / "k.npy", kspace)
    settings = config(axes="frames coils ky kx", oversampling=2).model_copy(update={"transform": "fft"})
    assert same_images(open_scan(tmp_path / "k.npy", settings), open_scan(raw.write(tmp_path / "s.h5"), config()))


def test_description_of_the_scan_by_options_and_by_the_archive(scan, tmp_path):
    _, kspace = scan
    np.savez(
        tmp_path / "k.npz",
        kspace=kspace,
        axes=AXES,
        oversampling=2,
        pixel_size_mm=[1.5, 1.25],
        slice_thickness_mm=6,
        frame_times_ms=[0, 30, 65, 90],
    )
    meta = open_scan(tmp_path / "k.npz", config()).read_slice(1).meta
    assert (meta.pixel_size_mm, meta.slice_thickness_mm) == ((1.5, 1.25), 6)
    assert meta.frame_times_ms == (0, 30, 65, 90)
    assert not [text for text in meta.warnings if "unknown" in text or "pixel" in text]
    meta = open_scan(tmp_path / "k.npz", config(pixel_size=(2, 3), frame_time=40)).read_slice(0).meta
    assert (meta.pixel_size_mm, meta.frame_times_ms) == ((2, 3), (0, 40, 80, 120))


def test_what_is_unknown_is_a_warning(scan, tmp_path):
    np.save(tmp_path / "k.npy", scan[1])
    warnings = " ".join(open_scan(tmp_path / "k.npy", config(True, axes=AXES)).read_slice(0).meta.warnings)
    for text in (
        "no pixel size: 1 mm is assumed",
        "times of the frames are unknown",
        "oversampling is unknown",
        "not whitened",
    ):
        assert text in warnings
    assert "no sampling pattern is given" in warnings


def test_given_maps_are_used_with_unit_norm(scan, tmp_path):
    path, kspace = scan
    maps = torch.stack([open_scan(path, config()).read_slice(number).csm for number in (0, 1)]).numpy()
    np.save(tmp_path / "maps.npy", 3 * maps)
    np.save(tmp_path / "k.npy", kspace)
    options = {"axes": AXES, "oversampling": 2, "maps": str(tmp_path / "maps.npy")}
    source = open_scan(tmp_path / "k.npy", config(**options).model_copy(update={"csm": "espirit"}))
    assert relative_error(source.read_slice(1).csm, torch.from_numpy(maps[1])) < 1e-6
    assert tmp_path / "maps.npy" in source.files
    np.save(tmp_path / "maps.npy", maps[:, :2])
    with pytest.raises(ShapeError, match=r"expected \(3, 20, 24\)"):
        source.read_slice(0)
    np.save(tmp_path / "maps.npy", maps[[0, 0, 1]])
    with pytest.raises(ShapeError, match="the coil maps have 3 slices, k-space has 2"):
        source.read_slice(0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda maps: maps, ""),
        (lambda maps: np.roll(maps, (4, -2), (-2, -1)), "if shifted by about -4 and 2 pixels"),
        (lambda maps: maps.conj(), "if complex conjugated"),
        (lambda maps: maps[..., ::-1], "mirrored along x"),
        (lambda maps: maps[[1, 0, 2, 3]], "with the coils in its order"),
        (lambda maps: maps * (np.hypot(*np.mgrid[-32:32, -32:32]) < 12), ""),
    ],
)
def test_maps_of_another_position_are_reported(tmp_path, change, words):
    data = simulate_cine(SimulateConfig(n_frames=4, ky=64, kx=64, n_coils=4))[0]
    kspace, csm = data.kspace.numpy(), change(data.csm.numpy())
    np.savez(tmp_path / "k.npz", kspace=kspace, axes=AXES.split()[1:], csm=csm)
    opened = open_scan(tmp_path / "k.npz", config(oversampling=1)).read_slice(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reconstruct(kspace, csm=csm, method="zerofilled")
    for found in (opened.meta.warnings, [str(warning.message) for warning in caught]):
        texts = [text for text in found if "of the central k-space unexplained" in text]
        assert len(texts) == bool(words)
        assert words in "".join(texts)


def test_first_of_several_sets_of_bart_maps(scan, tmp_path):
    _, kspace = scan
    maps = np.random.default_rng(0).standard_normal((2, 3, 1, *MATRIX)).astype("c8")  # (maps, coils, phs2, y, x)
    save_bart(tmp_path / "k.cfl", kspace[:1], (SLICE, TIME, 3, PHASE_1, READ))
    text = str(save_bart(tmp_path / "maps.cfl", maps, (4, 3, 2, 1, 0)))
    data = open_scan(tmp_path / "k.cfl", config(maps=text, oversampling=2)).read_slice(0)
    first = torch.from_numpy(maps[0, :, 0])
    assert relative_error(data.csm, first / first.abs().square().sum(0).sqrt()) < 1e-6
    assert any("2 sets of coil maps" in text for text in data.meta.warnings)


def test_a_scan_of_bart_with_its_maps_and_pattern(tmp_path):
    """K-space, ESPIRiT maps and pattern of BART 0.8 give the image of its ``pics`` (30 steps of CG)."""
    stored = np.load(formats_folder() / "bart" / "pics_R4.npz")
    kspace, mask = stored["kspace"] * (stored["mask"] != 0), stored["mask"]
    scan = save_bart(tmp_path / "k.cfl", np.stack([kspace, 2j * kspace]), (TIME, 3, 1, 0))
    maps = save_bart(tmp_path / "maps.cfl", stored["maps"], (4, 3, 1, 0))
    pattern = save_bart(tmp_path / "pattern.cfl", mask.astype("c8"), (1, 0))
    options = {"maps": str(maps), "pattern": str(pattern), "oversampling": 1, "settings": ["n_iterations=30"]}
    with pytest.warns(CineReconWarning):
        (part,) = reconstruct(scan, method="cgsense", **options)
    inside = np.abs(stored["maps"][0]).sum(0) > 0
    found, expected = part.image[:, inside], stored["cg30"][inside]
    for frame, factor in zip(found, (1, 2j), strict=True):
        assert np.linalg.norm(frame - factor * expected) < 0.02 * np.linalg.norm(factor * expected)


@pytest.mark.parametrize("axes", [(-2, -1), (-2,), (-1,)])
def test_k_space_that_is_not_centred_is_refused(scan, tmp_path, axes):
    _, kspace = scan
    np.save(tmp_path / "k.npy", np.fft.ifftshift(kspace, axes=axes))
    with pytest.raises(DataError, match="not centred") as info:
        open_scan(tmp_path / "k.npy", config(axes=AXES)).read_slice(0)
    assert f"fftshift(kspace, axes=({', '.join({-2: 'ky', -1: 'kx'}[axis] for axis in axes)}))" in info.value.hint


def test_a_peak_far_from_the_middle_is_refused_and_a_near_one_is_a_warning(tmp_path):
    rng = np.random.default_rng(1)
    kspace = 0.01 * (rng.standard_normal((3, 2, 64, 64)) + 1j * rng.standard_normal((3, 2, 64, 64)))
    kspace[..., 32, 27] = 1 + rng.standard_normal((3, 2)) / 100
    np.save(tmp_path / "k.npy", kspace)
    settings = config(axes="frames coils ky kx")
    warnings = open_scan(tmp_path / "k.npy", settings).read_slice(0).meta.warnings
    assert any("along kx the maximum of k-space is at index 27 of 64" in text for text in warnings)
    np.save(tmp_path / "k.npy", np.roll(kspace, 12, -2))
    with pytest.raises(DataError, match="along ky the maximum of k-space is at index 44"):
        open_scan(tmp_path / "k.npy", settings).read_slice(0)


def test_exchanged_axes_are_refused(scan, tmp_path):
    _, kspace = scan
    np.save(tmp_path / "k.npy", kspace)
    with pytest.raises(DataError, match="exchanged"):
        open_scan(tmp_path / "k.npy", config(axes="slices frames coils kx ky")).read_slice(0)
    frames = small_scan(matrix=MATRIX, n_frames=8, vendor="other").kspace[0].numpy()
    other = np.roll(frames, 7, 1) * np.exp(1j * np.arange(frames.shape[-1]))  # another slice
    np.save(tmp_path / "k.npy", np.stack([frames, other]))
    assert open_scan(tmp_path / "k.npy", config(axes=AXES)).read_slice(0).n_frames == 8
    with pytest.raises(DataError, match="adjacent slices are more similar"):
        open_scan(tmp_path / "k.npy", config(axes="frames slices coils ky kx")).read_slice(0)
    full = frames
    np.save(tmp_path / "k.npy", full)
    with pytest.raises(DataError, match="more similar"):
        open_scan(tmp_path / "k.npy", config(axes="coils frames ky kx")).read_slice(0)


@pytest.mark.parametrize("undersample", [None, "gaussian:4,acs=4"])
def test_exchanged_slices_and_coils_are_refused(tmp_path, undersample):
    cines = simulate_cine(
        SimulateConfig(n_frames=6, ky=64, kx=64, n_coils=4, n_slices=3, noise=0.003, undersample=undersample)
    )
    kspace = np.stack([data.kspace.numpy() for data in cines])
    np.savez(tmp_path / "k.npz", kspace=kspace, axes=AXES, oversampling=1)
    assert torch.equal(open_scan(tmp_path / "k.npz", config()).read_slice(1).kspace, cines[1].kspace)
    np.savez(tmp_path / "k.npz", kspace=kspace, axes="coils frames slices ky kx", oversampling=1)
    with pytest.raises(DataError, match="slices show the same details, but coils of a slice do not"):
        open_scan(tmp_path / "k.npz", config()).read_slice(1)


def test_copies_of_a_slice_are_no_coils():
    kspace = simulate_cine(SimulateConfig(n_frames=3, ky=64, kx=64, n_coils=4, noise=0.3))[0].kspace.numpy()
    assert not are_slices_coils(np.stack([central_images(part) for part in (kspace, 2 * kspace)]))


@pytest.mark.parametrize("option", ["maps", "pattern"])
def test_missing_files_of_maps_and_pattern(scan, tmp_path, option):
    np.save(tmp_path / "k.npy", scan[1])
    with pytest.raises(FileError, match="no such file"):
        open_scan(tmp_path / "k.npy", config(axes=AXES, **{option: str(tmp_path / "nothing.npy")}))


def test_k_space_is_no_coil_maps(scan, tmp_path):
    path = str(save_bart(tmp_path / "k.cfl", scan[1], (SLICE, TIME, 3, PHASE_1, READ)))
    with pytest.raises(ShapeError, match="the coil maps have 4 frames"):
        open_scan(path, config(maps=path)).read_slice(0)


def test_patterns_that_do_not_fit(scan, tmp_path):
    _, kspace = scan
    np.save(tmp_path / "k.npy", kspace)
    np.savez(tmp_path / "mask.npz", mask=np.ones((5, 1, 20, 1), bool))
    with pytest.raises(ConfigError, match="5 frames"):
        open_scan(tmp_path / "k.npy", config(axes=AXES, pattern=str(tmp_path / "mask.npz"))).read_slice(0)
    np.savez(tmp_path / "k.npz", kspace=kspace, axes=AXES, mask=2 * (kspace != 0))
    with pytest.raises(DataError, match="values other than 0 and 1"):
        open_scan(tmp_path / "k.npz", config()).read_slice(0)


@pytest.mark.parametrize(
    "change", [lambda mask: mask[:, ::-1], lambda mask: np.roll(mask, 1, 0)], ids=["flipped", "frames moved"]
)
def test_a_pattern_of_other_lines_is_refused(tmp_path, change):
    cine = simulate_cine(SimulateConfig(n_frames=5, ky=48, kx=48, n_coils=3, undersample="gaussian:4,acs=4"))[0]
    kspace, mask, axes = cine.kspace.numpy(), cine.mask[:, 0, :, 0].numpy(), "frames coils ky kx"
    np.savez(tmp_path / "good.npz", kspace=kspace, axes=axes, mask=mask)
    assert torch.equal(open_scan(tmp_path / "good.npz", config()).read_slice(0).mask, cine.mask)
    np.savez(tmp_path / "other.npz", kspace=kspace, axes=axes, mask=change(mask))
    with pytest.raises(DataError, match="the pattern does not match k-space"):
        open_scan(tmp_path / "other.npz", config()).read_slice(0)
    with pytest.raises(DataError, match="the pattern does not match k-space"):
        reconstruct(kspace, change(mask)[..., None].copy(), method="zerofilled")


def test_samples_outside_of_the_pattern_are_not_used(scan, tmp_path):
    _, kspace = scan
    pattern = (kspace != 0).any((0, 2, 4))
    pattern[1, 10] = False
    np.savez(tmp_path / "k.npz", kspace=kspace, axes=AXES, mask=pattern)
    data = open_scan(tmp_path / "k.npz", config()).read_slice(0)
    assert not data.mask[1, 0, 10].any() and not data.kspace[1, :, 10].any()
    assert any("1 line that its pattern does not include" in text for text in data.meta.warnings)


@pytest.mark.parametrize(
    ("name", "value"), [("pixel_size_mm", [0, 1]), ("frame_times_ms", [0, 1, 1, 2]), ("oversampling", "x")]
)
def test_wrong_numbers_in_an_archive(scan, tmp_path, name, value):
    np.savez(tmp_path / "k.npz", kspace=scan[1], axes=AXES, **{name: value})
    with pytest.raises(CineReconError, match=name):
        open_scan(tmp_path / "k.npz", config())


def test_a_description_of_arrays_is_refused_for_other_files(scan):
    with pytest.raises(ConfigError, match="--axes applies only to plain arrays"):
        open_scan(scan[0], config(axes=AXES))


def test_recon_inspect_prepare_and_evaluate_take_arrays(scan, tmp_path):
    path, kspace = scan
    full = small_scan(matrix=MATRIX, n_frames=4, n_slices=2, vendor="other").kspace.numpy()
    np.savez(tmp_path / "k.npz", kspace=full, axes=AXES, pixel_size_mm=1.5)
    np.save(tmp_path / "k.npy", kspace)
    described = ["--axes", AXES, "--oversampling", "2", "--pixel-size", "1.5", "1.25", "--frame-time", "40"]
    plain = ["--model", "zerofilled", "--set", "preprocessing.whiten=false"]
    assert run(["recon", str(tmp_path / "k.npy"), *described, *plain, "-o", str(tmp_path / "i.cfl")]) == 0
    assert run(["recon", str(path), *plain, "-o", str(tmp_path / "i.npz")]) == 0
    expected, found = np.load(tmp_path / "i.npz")["image"], open_cfl(tmp_path / "i.cfl")
    assert found.shape == (2, 1, 1, 4, 1, 1, 1, 1, 1, 1, 1, 1, *MATRIX)
    assert np.abs(found.reshape(expected.shape) - expected).max() < 1e-6 * np.abs(expected).max()
    assert "warning:" in (tmp_path / "i.hdr").read_text()
    assert run(["recon", str(tmp_path / "k.npy"), *described, *plain, "-o", str(tmp_path / "i.cfl")]) == 2
    (tmp_path / "i.cfl").unlink()  # the header alone is not overwritten either
    assert run(["recon", str(tmp_path / "k.npy"), *described, *plain, "-o", str(tmp_path / "i.cfl")]) == 2
    inspected = CliRunner().invoke(app, ["inspect", str(tmp_path / "k.npy"), *described])
    assert "20 x 24 (y x) pixels of 1.5 x 1.25 mm" in inspected.stdout
    split = ["--split", "test", "--no-pictures", "--workers", "1"]
    assert run(["prepare", str(tmp_path / "k.npz"), "-o", str(tmp_path / "cases"), *split]) == 0
    assert len(list((tmp_path / "cases").rglob("*.h5"))) == 2
    assert run(["evaluate", str(tmp_path / "k.npz"), "--model", "zerofilled", "--undersample", "uniform:2"]) == 0
