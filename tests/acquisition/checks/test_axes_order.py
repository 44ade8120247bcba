"""Wrong axes, a wrong centre, and a part of the image that is cut off, in arrays and in CMRxRecon files alike."""

from itertools import permutations

import numpy as np
import pytest
import torch
from matlab_file import write_v73

from cinerecon.acquisition.checks.alignment import cut_off_warnings
from cinerecon.acquisition.checks.axes_order import has_kspace_slices, require_peaks
from cinerecon.acquisition.checks.central import central_of_array
from cinerecon.acquisition.checks.stored_kspace import StoredSlice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.formats.arrays import open_array
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError
from cinerecon.options import ArrayOptions
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine

PLAIN = AcquisitionConfig(csm="walsh")
AXES = "slices frames coils ky kx"


def simulated(size=48, n_slices=3, n_coils=4, **settings):
    """K-space ``(slices, frames, coils, ky, kx)`` of a simulated scan."""
    config = SimulateConfig(frames=6, ky=size, kx=size, coils=n_coils, slices=n_slices, noise=0.003, **settings)
    return np.stack([data.kspace.numpy() for data in simulate_cine(config)])


def write_npz(folder, kspace, oversampling):
    np.savez(folder / "scan.npz", kspace=kspace, axes=AXES, oversampling=oversampling)
    return folder / "scan.npz"


def write_cmrxrecon(folder, kspace, oversampling):
    path = folder / "MultiCoil/Cine/TrainingSet/FullSample/P001/cine_sax.mat"
    write_v73(path, kspace_full=np.ascontiguousarray(kspace.swapaxes(0, 1)))
    table = path.with_name("cine_sax_info.csv")
    table.write_text(f"FOVx(mm),{360}\nFOVy(mm),{360}\nReadOutOversample,{oversampling}\nSliceThickness,8\n")
    return path


@pytest.fixture(params=[write_npz, write_cmrxrecon])
def read(request, tmp_path):
    """A function that writes k-space in one of the formats, and reads a slice of it."""
    return lambda kspace, oversampling=1: open_scan(request.param(tmp_path, kspace, oversampling), PLAIN).read_slice(1)


def with_axes(axes):
    """Settings for an array with these axes."""
    return PLAIN.model_copy(update={"arrays": ArrayOptions(axes=axes)})


def with_oversampling(kspace):
    """K-space of twice the field of view along x."""
    image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace, -1)), -1)
    n = kspace.shape[-1]
    wide = np.pad(image, [(0, 0)] * 4 + [(n // 2, n // 2)])
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(wide, -1)), -1).astype(np.complex64)


@pytest.mark.parametrize("size", [33, 48, 80])
def test_exchanged_slices_and_coils_are_refused(read, size):
    kspace = simulated(size)
    assert np.array_equal(read(kspace).kspace, kspace[1])
    with pytest.raises(DataError, match="slices show the same details, but coils of a slice do not"):
        read(kspace.swapaxes(0, 2))


def test_exchanged_slices_and_frames_are_refused(read):
    kspace = simulated()
    kspace = np.roll(kspace, np.arange(3), -1) * np.exp(1j * np.arange(3))[:, None, None, None, None]
    kspace = np.stack([kspace[0], kspace[1][..., ::-1]]).astype(np.complex64)
    with pytest.raises(DataError, match="adjacent slices are more similar than adjacent frames"):
        read(kspace.swapaxes(0, 1))


@pytest.mark.parametrize("is_real", [False, True])
def test_coil_images_are_not_taken_for_kspace_with_another_order_or_centre(read, is_real):
    axes = (-2, -1)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(simulated(64), axes), axes=axes), axes)
    images = np.abs(images) * 1j if is_real else images
    with pytest.raises(DataError, match="the array is not k-space along ky and kx"):
        read(images.astype(np.complex64))


@pytest.mark.parametrize("axes", [-2, -1, (-2, -1)])
def test_k_space_that_is_not_centred_is_refused(read, axes):
    with pytest.raises(DataError, match="k-space is not centred"):
        read(np.fft.ifftshift(simulated(), axes))


def test_a_shifted_centre_is_a_warning(read):
    data = read(np.roll(simulated(80), 8, -1))
    assert any("along kx the maximum of k-space is at index" in text for text in data.meta.warnings)


def test_oversampling_that_cuts_off_the_image_is_reported(read):
    kspace = with_oversampling(simulated())
    assert not any("cut off" in text for text in read(kspace, 2).meta.warnings)
    data = read(kspace, 5)
    assert any(
        "is outside the field of view of the image along x and is cut off" in text for text in data.meta.warnings
    )


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_arrays_without_the_given_oversampling_are_reported(noise):
    """If an array has no oversampling, cropping removes a part of the object; noise outside of it is not an object."""
    (data,) = simulate_cine(SimulateConfig(n_frames=4, ky=64, kx=64, n_coils=4, seed=3, noise=noise))
    found = list(cut_off_warnings(central_of_array(data.kspace, data.mask, 32)))
    assert any("does the array contain readout oversampling?" in text for text in found) == (noise < 1)
    oversampled = torch.from_numpy(with_oversampling(data.kspace.numpy()[None])[0])
    generator = torch.Generator().manual_seed(0)
    oversampled += noise * torch.randn(oversampled.shape, dtype=oversampled.dtype, generator=generator)
    if noise < 1:
        assert not list(cut_off_warnings(central_of_array(oversampled, data.mask, 64)))


def test_oversampling_along_the_axis_named_ky_is_reported(read):
    kspace = with_oversampling(simulated(64))
    (text,) = (text for text in read(kspace.swapaxes(-1, -2), 2).meta.warnings if "cut off" in text)
    assert "does the readout, with its oversampling, run along the axis that is named ky?" in text


def test_slices_and_frames_that_are_exchanged_are_refused_in_spite_of_noise(read):
    """The correlation of whole frames is that of the noise, and that of their details near the centre is not."""
    kspace = simulated(80, n_coils=2, view="short")
    noise = np.random.default_rng(0).standard_normal((2, *kspace.shape)) * 0.03
    kspace = np.asarray(kspace + noise[0] + 1j * noise[1], np.complex64)
    assert read(kspace).n_frames == 6
    with pytest.raises(DataError, match="these axes seem to be exchanged"):
        read(kspace.swapaxes(0, 1))


@pytest.mark.parametrize("n_coils", [2, 5])
def test_coils_that_are_named_slices_are_refused(tmp_path, n_coils):
    kspace = simulated(64, n_slices=1, n_coils=n_coils)[0]
    np.save(tmp_path / "scan.npy", kspace)
    same = f"all {n_coils} slices show the same details, as coils or frames of one slice do"
    with pytest.raises(DataError, match=same) as caught:
        open_array(tmp_path / "scan.npy", with_axes("frames slices ky kx")).read_slice(0)
    assert caught.value.hint == 'if they are coils: --axes "frames coils ky kx"'
    path = tmp_path / "SingleCoil/Cine/TrainingSet/FullSample/P001/cine_sax.mat"
    with pytest.raises(DataError, match=same) as caught:
        open_scan(write_v73(path, kspace_full=kspace), PLAIN).read_slice(0)
    assert caught.value.hint == "k-space of several coils needs five axes and another name than SingleCoil"


def test_slices_like_coils_are_reported_if_frames_differ_less(tmp_path):
    """Slices of equal anatomy, e.g. of a phantom along its axis, are not refused."""
    kspace = simulated(64, n_slices=1, n_coils=3)[0]
    kspace = np.repeat(kspace[:1], 4, 0)
    noise = np.random.default_rng(0).standard_normal((2, *kspace.shape), np.float32) * 0.002 * np.abs(kspace).max()
    np.save(tmp_path / "scan.npy", kspace + noise[0] + 1j * noise[1])
    data = open_array(tmp_path / "scan.npy", with_axes("frames slices ky kx")).read_slice(0)
    assert any(text.startswith("all 3 slices show the same details") for text in data.meta.warnings)


@pytest.mark.parametrize("n_slices", [2, 5])
def test_slices_of_one_coil_are_read(tmp_path, n_slices):
    kspace = simulated(64, n_slices=n_slices, n_coils=1)[:, :, 0]
    np.save(tmp_path / "scan.npy", kspace)
    data = open_array(tmp_path / "scan.npy", with_axes("slices frames ky kx")).read_slice(1)
    assert np.array_equal(data.kspace[:, 0], kspace[1])


@pytest.mark.parametrize("undersample", [None, "gaussian:4,acs=6", "equispaced:4,acs=8", "kt-equispaced:4"])
@pytest.mark.parametrize("n_coils", [1, 6, 16])
def test_ky_and_kx_are_not_exchanged_with_frames_or_coils(undersample, n_coils):
    """Every order of the axes in which ky or kx is taken as frames or coils is refused, and the correct one is not."""
    settings = {"n_frames": 16, "ky": 48, "kx": 40, "n_coils": n_coils, "undersample": undersample}
    (data,) = simulate_cine(SimulateConfig(**settings))
    for order in permutations(range(4)):
        kspace = data.kspace.permute(order)
        stored = StoredSlice(kspace, (kspace != 0).any(1, keepdim=True), "array", "name the axes")
        if {order[2], order[3]} == {2, 3}:
            require_peaks(stored)
            continue
        with pytest.raises(DataError, match=r"peak in the middle of the axis of (frames|coils)"):
            require_peaks(stored)


@pytest.mark.parametrize("loud", [range(7, 10), [8], range(16)])
@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_loud_coils_and_frames_are_not_taken_as_kspace(loud, noise):
    """Coils near the middle of an array, or frames of another contrast, may have far more signal than the others."""
    (data,) = simulate_cine(SimulateConfig(n_frames=16, ky=48, kx=40, n_coils=16, noise=noise))
    for axis in (0, 1):
        kspace = data.kspace.clone()
        kspace.transpose(0, axis)[list(loud)] *= 3
        require_peaks(StoredSlice(kspace, data.mask, "array", "name the axes"))
        if noise:  # it hides the peaks of exchanged axes
            continue
        with pytest.raises(DataError, match="these axes seem to be exchanged"):
            require_peaks(StoredSlice(kspace.transpose(axis, 2), data.mask, "array", "name the axes"))


@pytest.mark.parametrize("undersample", [None, "kt-equispaced:4"])
def test_ky_and_kx_are_not_exchanged_with_slices(undersample):
    """Every order in which ky or kx is taken as slices, and slices as ky or kx, is refused; many slices are not."""
    kspace = simulated(size=24, n_slices=2, n_coils=2, undersample=undersample)
    for order in permutations(range(5)):
        if order[0] in (3, 4) and 0 in order[3:]:
            exchanged = kspace.transpose(order)
            assert has_kspace_slices(*exchanged.shape[:2], lambda number, frames, k=exchanged: k[number][frames])
    many = np.concatenate([kspace * factor for factor in (0.3, 1, 3, 0, 1, 2, 4, 5, 3, 1)])
    with np.errstate(invalid="ignore"):
        assert not has_kspace_slices(*many.shape[:2], lambda number, frames: many[number][frames])
