"""Checks of k-space in arrays: images, lines that run backwards, other gains, masks that differ between coils."""

import numpy as np
import pytest
import torch
from conftest import beating_cine, coil_maps

from cinerecon.acquisition.checks.array_table import line_warnings
from cinerecon.acquisition.checks.axes_order import centre_warnings
from cinerecon.acquisition.checks.stored_kspace import StoredSlice, require_kspace
from cinerecon.errors import DataError
from cinerecon.physics.fourier import fft2c


@pytest.fixture
def kspace() -> torch.Tensor:
    """``(frames, coils, ky, kx)`` with noise."""
    images = beating_cine(6, (48, 56)).unsqueeze(1) * coil_maps(3, (48, 56))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(6, 3, 48, 56, 2, generator=generator, dtype=torch.float64)
    return (fft2c(images) + 0.02 * torch.view_as_complex(noise)).to(torch.complex64)


def mask_of(kspace: torch.Tensor) -> torch.Tensor:
    return (kspace != 0).any(1, keepdim=True).any(-1, keepdim=True)


def stored(kspace: torch.Tensor, mask: torch.Tensor | None = None) -> StoredSlice:
    return StoredSlice(kspace, mask_of(kspace) if mask is None else mask, "x", "")


def warnings_of(kspace: torch.Tensor, mask: torch.Tensor | None = None) -> list[str]:
    return list(line_warnings(stored(kspace, mask), kspace.shape[-1]))


@pytest.mark.parametrize("step", [1, 3])
def test_k_space_passes(kspace, step):
    kspace[:, :, torch.arange(48) % step > 0] = 0
    require_kspace(stored(kspace))
    assert not warnings_of(kspace)


@pytest.mark.parametrize(("dims", "words"), [((-1,), "along kx"), ((-2,), "along ky"), ((-2, -1), "along ky and kx")])
def test_images_are_refused(kspace, dims, words):
    image = torch.fft.fftshift(torch.fft.ifftn(torch.fft.ifftshift(kspace, dims), dim=dims), dims)
    with pytest.raises(DataError, match=f"not k-space {words}:"):
        require_kspace(stored(image))


def test_lines_that_run_backwards_are_reported(kspace):
    kspace[:, :, 1::2] = kspace[:, :, 1::2].flip(-1)
    (text,) = warnings_of(kspace)
    assert "seem to be in reverse order compared with the others" in text


def test_coils_with_different_masks_are_refused(kspace):
    kspace[:, :, torch.arange(48) % 3 > 0] = 0
    assert not warnings_of(kspace)
    kspace[:, 1] = kspace[:, 1].roll(1, -2)
    with pytest.raises(DataError, match="coil 0 contains only zeros on 96 of 192 lines"):
        warnings_of(kspace)


def test_a_coil_without_any_signal_is_no_other_mask(kspace):
    kspace[:, 1] = 0
    (text,) = warnings_of(kspace)
    assert text.startswith("coil 1 of 3: only zeros")


def test_frames_of_another_gain_are_reported(kspace):
    kspace[2] *= 0.4
    (text,) = warnings_of(kspace)
    assert text.startswith("frame 2 of 6: 0.4")


def test_lines_of_another_gain_and_alternating_signs_are_reported(kspace):
    near = abs(torch.arange(48) - 24) < 6
    (text,) = warnings_of(torch.where(near[:, None], 4 * kspace, kspace))
    assert text.startswith("lines 19 to 29 have about ")
    (text,) = warnings_of(kspace * (-1.0) ** torch.arange(56))
    assert "alternates along the readouts" in text
    (text,) = warnings_of(kspace * ((-1.0) ** torch.arange(48))[:, None])
    assert "the sign of the lines alternates" in text


def test_an_image_at_the_edges_along_x_is_reported():
    """Little air on both sides, without oversampling: a shift by half of the field of view puts it into the middle."""
    images = (0.3 + beating_cine(6, (48, 56)).unsqueeze(1)) * coil_maps(3, (48, 56)) * (abs(torch.arange(56) - 28) < 25)
    kspace = fft2c(images).to(torch.complex64) + 0.005 * fft2c(torch.rand(6, 3, 48, 56)).to(torch.complex64)
    assert not warnings_of(kspace)
    (text,) = warnings_of(kspace * (-1.0) ** torch.arange(56))
    assert text.startswith("there is more signal at the edges of the field of view along x than in its middle")


def test_points_are_not_examined(kspace):
    mask = torch.from_numpy(np.random.default_rng(0).random((6, 1, 48, 56)) < 0.3)
    assert not warnings_of(kspace * mask, mask)


def test_exchanged_frames_and_coils_are_reported(kspace):
    assert any(
        "axes of frames and coils exchanged" in text for text in warnings_of(kspace.transpose(0, 1).contiguous())
    )


def test_a_coil_that_dominates_is_reported(kspace):
    kspace[:, 1] *= 1000
    (text,) = (text for text in warnings_of(kspace) if "dominates the image" in text)
    assert text.startswith("coil 1 has ")
    assert "exclude_coils" not in text


@pytest.mark.parametrize("n_reported", [0, 1])
def test_a_coil_with_far_more_noise_is_reported(kspace, n_reported):
    generator = torch.Generator().manual_seed(1)
    kspace[:, 1] += 0.5 * n_reported * torch.randn(6, 48, 56, dtype=torch.complex64, generator=generator)
    texts = [text for text in warnings_of(kspace) if text.startswith("coil 1 of 3: ") and "times the noise" in text]
    assert len(texts) == n_reported


def test_a_spike_is_reported_and_is_not_the_centre(kspace):
    assert list(centre_warnings(stored(kspace))) == []
    kspace[2, 1, 10, 5] = 1e4 * kspace.abs().max()
    assert list(centre_warnings(stored(kspace))) == []
    (text,) = [text for text in warnings_of(kspace) if "20 times" in text]
    assert text.startswith(
        "1 of 288 lines contain a sample more than 20 times as large as in other frames, such as line"
    )
    assert "line 10 of frame 2: do not trust the image" in text
