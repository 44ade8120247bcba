"""Profiles: the conventions used by papers, challenges and benchmarks for MSE, PSNR and SSIM.

The PSNR of a reconstruction differs by several dB between conventions. A profile fixes one of them completely and
describes it: compared values, scale, crop, data range, window and averaging.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cinerecon.axes import centre_crop
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.metrics.measures import GAUSSIAN, UNIFORM, Array, Window, as_pair, mse, nmse, psnr, ssim

DEFAULT_PROFILE = "cine"

Scale = Literal["none", "reference", "reference-or-kspace", "own-maximum", "own-deviation", "own-percentile"]
DataRange = Literal["reference", "one"]

SCALES: dict[Scale, str] = {
    "none": "none",
    "reference": "maximum of the reference",
    "reference-or-kspace": "maximum of the reference, or of k-space if there are several coils",
    "own-maximum": "own maximum",
    "own-deviation": "own mean and deviation",
    "own-percentile": "own 99.5th percentile",
}
"""Descriptions of the scales."""
FRAME_SCALES: tuple[Scale, ...] = ("own-maximum", "own-deviation", "own-percentile")
"""Scales that are computed separately for each frame of image and reference."""


@dataclass(frozen=True)
class Profile:
    """A convention for measures of image quality: crop, scale, data range and window.

    Attributes
    ----------
    name
        Name on the command line.
    source
        Paper, challenge or program that uses the convention.
    scale
        Divisor of image and reference before the comparison. ``own-...``: each is divided by its own value, frame by
        frame, so that errors of the overall scale are not detected.
    data_range
        Peak of PSNR and data range of SSIM: 1, or the maximum of the reference in the frame or in the series.
    window
        Window of SSIM.
    is_complex
        Whether MSE, NMSE and PSNR use the complex error for a single coil; everything else uses magnitudes.
    is_halved
        Whether MSE is the mean over real and imaginary parts, which is half the mean over complex pixels.
    by_frame
        Whether PSNR and NMSE are averaged over frames; otherwise they are computed from the whole series.
    n_frames
        Number of frames, from the first, that are measured; None means all frames.
    crop_fraction
        Size of the central crop as a fraction of (y, x).
    has_fixed_range
        Whether ``ssim_fixed``, the SSIM with a data range of 1, is also computed.
    remark
        Remaining differences from the source.
    """

    name: str
    source: str
    scale: Scale = "none"
    data_range: DataRange = "reference"
    window: Window = GAUSSIAN
    is_complex: bool = False
    is_halved: bool = False
    by_frame: bool = False
    n_frames: int | None = None
    crop_fraction: tuple[float, float] = (1.0, 1.0)
    has_fixed_range: bool = False
    remark: str = ""

    @property
    def scale_in_words(self) -> str:
        """The scale in words."""
        return SCALES[self.scale]

    @property
    def depends_on_scale(self) -> bool:
        """Whether an overall scale factor of the image affects the measures."""
        return self.scale not in FRAME_SCALES

    @property
    def data_range_in_words(self) -> str:
        """The data range in words."""
        return "1" if self.data_range == "one" else f"maximum of the reference in the {self._measured}"

    @property
    def _measured(self) -> str:
        return "frame" if self.by_frame else "series"

    @property
    def crop(self) -> str:
        """The crop in words."""
        frames = "all frames" if self.n_frames is None else f"frames 0 to {self.n_frames - 1}"
        if self.crop_fraction == (1.0, 1.0):
            return f"full field, {frames}"
        y, x = self.crop_fraction
        return f"central {y:.3g} x {x:.3g} of (y, x), {frames}"

    @property
    def description(self) -> str:
        """Description in one line, for the notes below a table."""
        values = "complex error for one coil, otherwise magnitudes" if self.is_complex else "magnitudes"
        kind = "uniform" if self.window.sigma is None else "Gaussian"
        parts = (
            f"profile {self.name} ({self.source}): {values}",
            f"scale: {self.scale_in_words}",
            f"data range: {self.data_range_in_words}",
            f"crop: {self.crop}",
            f"SSIM window {kind} {self.window.size}x{self.window.size}",
            f"PSNR of {'frames, averaged' if self.by_frame else 'the whole series'}",
            *(["MSE halved: mean over real and imaginary parts"] if self.is_halved else []),
            *([self.remark] if self.remark else []),
        )
        return "; ".join(parts)


EVERY_SLICE = "all slices are used here; the ranking uses only the two central ones"


def _cmrxrecon(year: int, *, scale: Scale, data_range: DataRange = "reference") -> Profile:
    """The ranking of a CMRxRecon challenge.

    The challenges crop to a third of a readout with twofold oversampling, which is two thirds without oversampling, as
    here.
    """
    return Profile(
        f"cmrxrecon{year % 100}",
        f"CMRxRecon {year} ranking",
        scale=scale,
        data_range=data_range,
        window=UNIFORM,
        by_frame=True,
        n_frames=3,
        crop_fraction=(1 / 2, 2 / 3),
        remark=EVERY_SLICE,
    )


PROFILES = {
    profile.name: profile
    for profile in (
        Profile("cine", "this package", scale="reference"),
        Profile("paper-slr", "SLR-Net, Ke et al. 2021", scale="reference", is_complex=True),
        Profile(
            "paper-pass",
            "JotlasNet and PASSNet programs; ssim_fixed is the value that they print",
            scale="reference-or-kspace",
            is_complex=True,
            is_halved=True,
            has_fixed_range=True,
        ),
        Profile("fastmri", "fastMRI, without its crop to the reconstruction matrix", window=UNIFORM),
        _cmrxrecon(2023, scale="own-maximum", data_range="one"),
        _cmrxrecon(2024, scale="own-deviation"),
        _cmrxrecon(2025, scale="own-percentile"),
    )
}


def find_profile(name: str) -> Profile:
    """The profile with a name.

    Raises
    ------
    ConfigError
        If there is none, with the nearest name as a hint.
    """
    if name not in PROFILES:
        raise ConfigError(f"unknown profile '{name}'", where="--profile", hint=nearest_name(name, list(PROFILES)))
    return PROFILES[name]


def measure(
    profile: Profile, image: Array, reference: Array, *, n_coils: int = 1, kspace_peak: float | None = None
) -> dict[str, float]:
    """Compute ``mse``, ``nmse``, ``psnr`` [dB], ``ssim``, and their numerical ``data_range``.

    Parameters
    ----------
    profile
        The convention.
    image, reference
        ``(frames, y, x)`` complex or magnitudes, both in the same units.
    n_coils
        Number of coils of the reconstruction.
    kspace_peak
        Largest magnitude of the fully sampled k-space, which a profile may require; None means 1.

    Raises
    ------
    ShapeError
        If sizes differ, or the cropped image is smaller than the window of SSIM.
    """
    image, reference = as_pair(image, reference, magnitude=not (profile.is_complex and n_coils == 1))
    image, reference = (_crop(x, profile) for x in (image, reference))
    if not profile.depends_on_scale:
        image, reference = (torch.stack([_own_scale(frame, profile.scale) for frame in x]) for x in (image, reference))
    elif profile.scale != "none":
        peak = reference.abs().max()
        if n_coils > 1 and profile.scale == "reference-or-kspace":
            peak = torch.tensor(kspace_peak or 1.0)
        image, reference = (_scaled(x, peak) for x in (image, reference))
    groups = [(i[None], r[None]) for i, r in zip(image, reference, strict=True)]
    whole = groups if profile.by_frame else [(image, reference)]
    ranges = [_data_range(profile, r) for _, r in whole]
    n = len(whole)
    values = {
        "mse": sum(mse(i, r) for i, r in whole) / n * (0.5 if profile.is_halved and image.is_complex() else 1.0),
        "nmse": sum(nmse(i, r) for i, r in whole) / n,
        "psnr": sum(psnr(i, r, peak) for (i, r), peak in zip(whole, ranges, strict=True)) / n,
        "ssim": sum(ssim(i, r, peak, window=profile.window) for (i, r), peak in zip(whole, ranges, strict=True)) / n,
        "data_range": sum(ranges) / n,
    }
    if profile.has_fixed_range:
        values["ssim_fixed"] = ssim(image, reference, 1.0, window=profile.window)
    return values


def _crop(image: Tensor, profile: Profile) -> Tensor:
    """The first frames and the central part of an image series."""
    y, x = (int(size * share + 0.5) for size, share in zip(image.shape[-2:], profile.crop_fraction, strict=True))
    return centre_crop(image[: profile.n_frames], (y, x))


def _own_scale(frame: Tensor, scale: Scale) -> Tensor:
    values = frame.abs().double()
    if scale == "own-deviation":
        values, divisor = values - values.mean(), values.std(correction=0)
    else:
        divisor = values.max() if scale == "own-maximum" else torch.quantile(values.flatten(), 0.995)
    return _scaled(values, divisor)


def _scaled(values: Tensor, divisor: Tensor) -> Tensor:
    """The values over a divisor; unchanged if it is zero, as for a frame or a reference of zeros."""
    return values / torch.where(divisor > 0, divisor, 1)


def _data_range(profile: Profile, reference: Tensor) -> float:
    if profile.data_range == "one":
        return 1.0
    # signed if the scale is the standard deviation; for complex values the maximum of the magnitude
    return float(reference.abs().max() if reference.is_complex() else reference.max())
