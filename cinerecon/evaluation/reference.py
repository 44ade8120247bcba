"""The reference of one slice, and all measures of images against it."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from cinerecon.cine_meta import Geometry
from cinerecon.metrics import (
    Heart,
    area_agreement,
    compare_frames,
    find_heart,
    find_profile,
    hfen,
    measure,
    nmse,
    psnr,
    scan_correlation,
    ssim,
    temporal_sharpness,
    xt_ssim,
)
from cinerecon.metrics.heart import SQUARE
from cinerecon.metrics.measures import HFEN_SIZE
from cinerecon.metrics.ventricle import Ventricle, areas_mm2, locate_ventricle, relative_sharpness, segment

Measures = dict[str, float | str | tuple[float, ...]]
"""Measures of an image by their names in `Score`."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The reference: a fully sampled slice with which the images of all methods are compared.

    Attributes
    ----------
    image
        ``(frames, y, x)`` complex images or magnitudes.
    pixel_size_mm
        Distance of adjacent pixels along (y, x) [mm]; None if unknown, in which case the ventricle is not located.
    geometry
        Position of the slice; None if unknown.
    is_cyclic
        Whether the first frame follows the last.
    n_coils
        Number of coils of the scan; 0 for images, whose coils are unknown.
    kspace_peak
        Largest magnitude of its k-space; None if unknown.
    """

    image: Tensor
    pixel_size_mm: tuple[float, float] | None = None
    geometry: Geometry | None = None
    is_cyclic: bool = True
    n_coils: int = 0
    kspace_peak: float | None = None

    @cached_property
    def heart(self) -> Heart | None:
        """The box around the heart; None if no motion is found."""
        return find_heart(self.image, self.pixel_size_mm or SQUARE)

    @cached_property
    def ventricle(self) -> Ventricle | None:
        """The left ventricle; None if it is not found."""
        if self.pixel_size_mm is None or self.heart is None:
            return None
        return locate_ventricle(self.image, self.pixel_size_mm, self.heart)

    def measure(self, image: Tensor, profile: str) -> Measures:
        """All measures of an image series ``(frames, y, x)``.

        Raises
        ------
        ShapeError
            If sizes differ, or the image is smaller than the window of SSIM.
        """
        rules = find_profile(profile)
        measures: Measures = {"crop": rules.crop}
        measures |= measure(rules, image, self.image, n_coils=self.n_coils, kspace_peak=self.kspace_peak)
        measures |= {f"frame_{name}": values for name, values in compare_frames(image, self.image).items()}
        if min(image.shape[-2:]) >= HFEN_SIZE:
            measures["hfen"] = hfen(image, self.image)
        correlation = scan_correlation(image, self.image)
        if correlation is not None:
            measures["frc_rate"] = correlation.rate()
        if correlation is not None and self.heart is not None:
            measures["heart_frc_rate"] = correlation.rate(self.heart.box)
        if self.heart is not None:
            measures |= self._measure_heart(image, self.heart)
        if self.ventricle is not None:
            measures |= self._measure_ventricle(image, self.ventricle)
        return measures

    def _measure_heart(self, image: Tensor, heart: Heart) -> Measures:
        """Measures of the magnitude in the box around the heart, with the data range of the whole field of view."""
        cropped, reference = heart.crop(image).abs(), heart.crop(self.image).abs()
        peak = float(self.image.abs().max())
        return {
            "heart_psnr": psnr(cropped, reference, peak),
            "heart_nmse": nmse(cropped, reference),
            "heart_ssim": ssim(cropped, reference, peak),
            "xt_ssim": xt_ssim(cropped, reference, peak, is_cyclic=self.is_cyclic),
            "sharpness": temporal_sharpness(cropped, reference, is_cyclic=self.is_cyclic),
            **area_agreement(image, self.image, heart),
        }

    def _measure_ventricle(self, image: Tensor, ventricle: Ventricle) -> Measures:
        """Areas and border sharpness of the ventricle, and its position if that of the slice is known."""
        seed, geometry = ventricle.seed, self.geometry
        measures: Measures = {
            "border_sharpness": relative_sharpness(image, ventricle),
            "frame_area": areas_mm2(segment(image, seed), seed),
            "frame_reference_area": areas_mm2(ventricle.masks, seed),
        }
        if geometry is not None:
            (y, x), (dy, dx) = image.shape[-2:], seed.pixel_size_mm
            offsets = (0.0, (seed.centre[0] - y // 2) * dy, (seed.centre[1] - x // 2) * dx)
            directions = (geometry.slice_dir, geometry.phase_dir, geometry.read_dir)
            measures["ventricle_mm"] = tuple(
                sum(p * d for p, d in zip(geometry.position_mm, direction, strict=True)) + offset
                for direction, offset in zip(directions, offsets, strict=True)
            )
        return measures
