"""Images in place of k-space, by the distribution of their energy."""

import numpy as np
import pytest
from raw_scan import RawFile, small_scan

from cinerecon.acquisition.checks.cartesian import is_image_along
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError


def images_along(scan: RawFile, axes: tuple[int, ...]) -> None:
    """Transform the frames of a fully sampled scan of one slice along axes of ``(frames, coils, ky, kx)``."""
    kspace = np.stack(scan.samples).reshape(len(scan.images[0]), -1, *scan.samples[0].shape).swapaxes(1, 2)
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes), axes)
    scan.samples = list(image.swapaxes(1, 2).reshape(len(scan.samples), *scan.samples[0].shape).astype(np.complex64))


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize(("axes", "words"), [((3,), "along kx"), ((2,), "along ky"), ((2, 3), "along ky and kx")])
def test_readouts_of_images_are_refused(tmp_path, axes, words, step):
    """The frames have all lines, or every other line."""
    scan = small_scan(matrix=(128, 80), n_frames=2, vendor="GE")
    lines, frames = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
    is_kept = (lines + frames) % step == 0
    open_scan(scan.write(tmp_path / "kspace.h5"))
    images_along(scan, axes)
    scan.keep(is_kept)
    with pytest.raises(DataError, match=f"readouts are not k-space {words}:"):
        open_scan(scan.write(tmp_path / "image.h5"))


def test_readouts_of_images_with_a_trajectory_of_zeros_are_refused(tmp_path):
    scan = small_scan(matrix=(128, 80), n_frames=2, vendor="GE")
    images_along(scan, (3,))
    scan.heads["trajectory_dimensions"] = 2
    scan.trajectories = [np.zeros((samples.shape[1], 2), np.float32) for samples in scan.samples]
    with pytest.raises(DataError, match="readouts are not k-space along kx:"):
        open_scan(scan.write(tmp_path / "image.h5"))


def test_the_pilot_tone_is_not_called_an_image(tmp_path):
    """It writes the same samples at the start of all lines."""
    scan = small_scan(matrix=(64, 80))
    for samples in scan.samples:
        samples[:, :3] = 1e4
    pilot = "<userParameterLong><name>PilotTone</name><value>1</value></userParameterLong>"
    scan.space["extra"] = f"<userParameters>{pilot}</userParameters>"
    assert open_scan(scan.write(tmp_path / "scan.h5")).n_slices == 1


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("seed", range(4))
def test_noise_is_not_called_an_image(axis, seed):
    real, imaginary = np.random.default_rng(seed).normal(size=(2, 3, 64, 64))
    assert not is_image_along(real + 1j * imaginary, axis)
