"""A simulated scan holds the k-space of its truth, with noise of the stated level and the stated sampling."""

import h5py
import numpy as np
import pytest
import torch
from helpers import SHARED_DATA, relative_error

from cinerecon.acquisition.open import open_scan
from cinerecon.errors import ConfigError, DataError, FileError
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.metrics.temporal import phase_change
from cinerecon.physics.fourier import fft1c, fft2c, ifft2c
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

SMALL = SimulateConfig(n_frames=4, ky=26, kx=24, n_coils=3, noise=0.0)
REAL = SHARED_DATA / "real" / "sax_mid.npz"
REAL = SHARED_DATA / "real"


def simulate_scan_reference(folder, **settings):
    path = folder / f"{settings['phase']}.h5"
    simulate_scan(path, SimulateConfig(**settings))
    return read(path)[3][0]


def read(path):
    """Noise readouts, k-space (slices, frames, coils, ky, samples), counts of each line, reference and maps."""
    with h5py.File(path) as file:
        rows = file["dataset/data"][()]
        reference, csm = (torch.from_numpy(file[f"truth/{name}"][()]) for name in ("reference", "csm"))
    samples = [row["data"].view(np.complex64).reshape(int(row["head"]["active_channels"]), -1) for row in rows]
    is_noise = (rows["head"]["flags"] & (1 << 18)) != 0
    noise = np.stack([s for s, n in zip(samples, is_noise, strict=True) if n])
    slices, frames, ky, _ = reference.shape
    kspace = torch.zeros(slices, frames, csm.shape[1], ky, samples[-1].shape[-1], dtype=torch.complex64)
    count = torch.zeros(slices, frames, ky, dtype=torch.int64)
    for head, values in zip(rows["head"][~is_noise], samples[is_noise.sum() :], strict=True):
        place = head["idx"]["slice"], head["idx"]["phase"], head["idx"]["kspace_encode_step_1"]
        kspace[place[0], place[1], :, place[2]] = torch.from_numpy(values)
        count[place] += 1
    return noise, kspace, count, reference, csm


@pytest.mark.parametrize(("ky", "kx", "oversampling"), [(26, 24, 2), (25, 23, 2), (16, 15, 1), (12, 13, 3)])
def test_image_is_recovered_by_an_inverse_transform_and_a_crop(tmp_path, ky, kx, oversampling):
    config = SMALL.model_copy(update={"ky": ky, "kx": kx, "oversampling": oversampling})
    simulate_scan(tmp_path / "scan.h5", config)
    _, kspace, count, reference, csm = read(tmp_path / "scan.h5")
    assert torch.all(count == 1)
    left = oversampling * kx // 2 - kx // 2
    images = ifft2c(kspace)[..., left : left + kx]
    combined = (images * csm[:, None].conj()).sum(2)
    assert relative_error(combined, reference) < 1e-3


def test_measured_phase_changes_the_phase_alone(tmp_path):
    sizes = {"n_frames": 16, "ky": 64, "kx": 60, "n_coils": 1}
    smooth, measured = (simulate_scan_reference(tmp_path, phase=phase, **sizes) for phase in ("smooth", "measured"))
    assert relative_error(measured.abs(), smooth.abs()) < 1e-3
    assert phase_change(measured).per_frame == pytest.approx(0.10, rel=0.25)
    change = phase_change(measured)
    assert (change.per_row + change.per_column) / 2 == pytest.approx(0.135, rel=0.25)
    assert phase_change(smooth).per_frame < 0.06


def test_velocities_need_a_smooth_phase():
    with pytest.raises(ConfigError, match="smooth phase"):
        SimulateConfig(phase="measured", venc=150)


def test_noise_has_the_stated_level_and_the_noise_scan_its_colour(tmp_path):
    loud = SMALL.model_copy(update={"noise": 0.05, "ky": 64, "n_frames": 6})
    simulate_scan(tmp_path / "scan.h5", loud)
    noise, kspace, _, reference, csm = read(tmp_path / "scan.h5")
    padded = torch.nn.functional.pad(reference[:, :, None] * csm[:, None], (12, 12))
    error = (kspace - fft2c(padded)).movedim(2, 0).flatten(1).numpy()
    scan = np.moveaxis(noise, 1, 0).reshape(3, -1)
    measured, calibrated = (e @ e.conj().T / e.shape[1] for e in (error, scan))
    assert np.trace(measured).real / 3 == pytest.approx(0.05**2, rel=0.05)
    calibrated = calibrated / (2.6 / 5.0 * 0.793)
    assert np.linalg.norm(calibrated - measured) < 0.1 * np.linalg.norm(measured)


def test_sampling_is_the_stated_one(tmp_path):
    config = SMALL.model_copy(update={"ky": 48, "undersample": "gaussian:4,acs=4", "n_slices": 2})
    simulate_scan(tmp_path / "scan.h5", config)
    _, kspace, count, reference, csm = read(tmp_path / "scan.h5")
    assert torch.all(count.sum(-1) == 12)
    assert torch.all(count[:, :, 22:26] == 1)
    assert not torch.equal(count[0, 0], count[0, 1])
    expected = fft2c(torch.nn.functional.pad(reference[:, :, None] * csm[:, None], (12, 12)))
    mask = count.bool()[:, :, None, :, None]
    assert relative_error(kspace, expected * mask) < 1e-3


@pytest.mark.parametrize(
    ("undersample", "partial_fourier", "factor"),
    [
        (None, 1.0, 1),
        (None, 0.75, 1),
        ("equispaced:2", 1.0, 2),
        ("equispaced:4,acs=8", 1.0, 4),
        ("uniform:1.3", 1.0, 2),
    ],
)
def test_header_contains_the_acceleration_without_the_acs_lines(tmp_path, undersample, partial_fourier, factor):
    path = tmp_path / "scan.h5"
    settings = {"undersample": undersample, "partial_fourier": partial_fourier}
    simulate_scan(path, SimulateConfig(n_frames=3, ky=48, kx=48, n_coils=4, **settings))
    assert read_raw_scan(path).header.encoding.acceleration == factor
    texts = [text for text in open_scan(path).read_slice(0).meta.warnings if "not measured in any frame" in text]
    assert bool(texts) == (partial_fourier < 1)


def test_scan_in_memory_is_the_scan_on_disk(tmp_path):
    """Both hold the same truth; the oversampled readout only adds the outside of the image."""
    simulate_scan(tmp_path / "scan.h5", SMALL)
    (cine,) = simulate_cine(SMALL)
    _, kspace, _, reference, _ = read(tmp_path / "scan.h5")
    assert relative_error(reference[0], cine.reference) < 1e-3
    cropped = fft1c(
        torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(kspace[0], -1), norm="ortho"), -1)[..., 12:36], -1
    )
    assert relative_error(cropped, cine.kspace) < 1e-3


def test_slices_are_ten_millimetres_apart():
    first, second = simulate_cine(SMALL.model_copy(update={"n_slices": 2, "n_frames": 1}))
    step = np.subtract(second.meta.geometry.position_mm, first.meta.geometry.position_mm)
    np.testing.assert_allclose(step, 10 * np.array(first.meta.geometry.slice_dir), atol=1e-5)
    assert torch.equal(first.csm, second.csm)


def test_same_seed_gives_the_same_scan():
    (one,), (two,) = (
        simulate_cine(SimulateConfig(n_frames=2, ky=16, kx=16)),
        simulate_cine(SimulateConfig(n_frames=2, ky=16, kx=16)),
    )
    assert torch.equal(one.kspace, two.kspace)


def test_measured_cine_is_cut_out_around_its_centre(tmp_path):
    magnitude = np.random.default_rng(0).random((5, 30, 40))
    arrays = {
        "magnitude": magnitude,
        "trigger_time_ms": 40.0 * np.arange(5),
        "pixel_spacing_mm": np.array([1.5, 1.25]),
        "slice_thickness_mm": 6.0,
        "image_orientation_patient": np.array([1.0, 0, 0, 0, 1, 0]),
        "image_position_patient": np.array([-20.0, -10.0, 5.0]),
    }
    np.savez(tmp_path / "cine.npz", **arrays)
    config = SimulateConfig(n_frames=3, ky=20, kx=16, n_coils=2)
    (cine,) = simulate_cine(config, source=tmp_path / "cine.npz")
    expected = magnitude[[0, 1, 3], 5:25, 12:28]
    np.testing.assert_allclose(cine.reference.abs(), expected / expected.max(), rtol=1e-4)
    assert cine.meta.frame_times_ms == (0.0, 40.0, 120.0)
    assert cine.meta.pixel_size_mm == (1.5, 1.25)
    assert cine.meta.geometry.position_mm == pytest.approx((-20 + 1.25 * 20, -10 + 1.5 * 15, 5))
    with pytest.raises(ConfigError, match="2 slices requested from a cine that has one"):
        simulate_cine(SimulateConfig(n_coils=2, n_slices=2), source=tmp_path / "cine.npz")
    with pytest.raises(DataError, match="30 rows, but 64 are requested"):
        simulate_cine(config.model_copy(update={"ky": 64}), source=tmp_path / "cine.npz")


def test_header_says_that_phase_and_coils_of_a_measured_cine_are_simulated(tmp_path):
    if not REAL.exists():
        pytest.skip("no measured cine next to the project")
    simulate_scan(
        tmp_path / "scan.h5", SimulateConfig(n_frames=2, ky=32, kx=32, n_coils=2), source=REAL / "sax_mid.npz"
    )
    with h5py.File(tmp_path / "scan.h5") as file:
        assert file["truth"].attrs["simulated"] == "phase, coil sensitivity maps, noise"
        assert b"phase, coil sensitivity maps, noise" in file["dataset/xml"][0]


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ConfigError, match="whole readouts"):
        simulate_cine(SMALL.model_copy(update={"undersample": "radial:8"}))
    (tmp_path / "bad.npz").write_bytes(b"not an archive")
    with pytest.raises(FileError, match="cannot read the cine"):
        simulate_cine(SMALL, source=tmp_path / "bad.npz")
    (tmp_path / "scan.h5").touch()
    with pytest.raises(FileError, match="already exists"):
        simulate_scan(tmp_path / "scan.h5", SMALL)


def test_the_source_is_never_overwritten(tmp_path):
    path = tmp_path / "cine.npz"
    path.write_bytes(b"precious")
    (tmp_path / "link.npz").symlink_to(path)
    for name in ("cine.npz", "link.npz"):
        with pytest.raises(FileError, match="is an input"):
            simulate_scan(tmp_path / name, SMALL, source=path, force=True)
    assert path.read_bytes() == b"precious"
