"""The uncertainty of an image without a reference: how much it changes if variants of the data are reconstructed.

A variant is an equivalent representation of the same measurement, for which an ideal method would give the same image:

- mirrored along y and x, in k-space, mask and coil maps together, about the centre n // 2, which is exact;
- started at another frame, if the frames are one complete heartbeat;
- multiplied by a constant phase factor;
- with a tenth of its samples left out at random, except for the central lines that all frames share.

The transformation is reversed for the image of each variant. The map is their standard deviation in the direction of
the signal, in the units of the image, as for noise (`physics.snr`). The first three variants are test-time augmentation
(Wang et al. 2019, doi:10.1016/j.neucom.2019.01.103), and the last one is the delete-d jackknife (Shao, Wu 1989,
doi:10.1214/aos/1176347263).

Departs from the papers in: the standard deviation is not scaled to that of the estimate (the samples are not
exchangeable, so the factor of the jackknife does not apply), and the variance is averaged over 3 x 3 pixels, since
there are few variants. Errors that all variants share (bias of the method, wrong coil maps) are not included in the
map.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.cine_meta import Extent
from cinerecon.errors import ConfigError, DataError
from cinerecon.methods.base import Progress, Reconstructor, ratio
from cinerecon.metrics import find_heart
from cinerecon.options import PartialFourier
from cinerecon.physics.final_image import finish_image
from cinerecon.physics.fourier import mirror, phasor_of
from cinerecon.physics.partial_fourier import fill_partial_fourier
from cinerecon.physics.sampling import acs_block, measured_extent, samples_whole_readouts
from cinerecon.physics.snr import average_pixels, support_of
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice, timed

OMISSION_PROBABILITY = 0.1
"""Probability with which a sample of a variant is left out."""
LINEAR = (
    "for a linear method, the uncertainty is a worse predictor of the error than the brightness; --snr maps the noise"
)


@dataclass(frozen=True)
class Variant:
    """An equivalent representation of the same measurement.

    Attributes
    ----------
    mirrored
        Axes that are mirrored, -2 for y and -1 for x.
    first_frame
        The frame at which the variant begins.
    phase
        Phase that is added [rad].
    left_out
        Probability with which a sample is left out.
    seed
        Seed for the selection of the samples that are left out.
    """

    mirrored: tuple[int, ...] = ()
    first_frame: int = 0
    phase: float = 0.0
    left_out: float = 0.0
    seed: tuple[int, ...] = ()

    def apply(self, data: CineData) -> CineData:
        """The variant of a measurement without batch axes; it has no reference."""
        mask = data.mask & ~draw_left_out(data.mask, self.left_out, np.random.default_rng(self.seed))
        turn = complex(math.cos(self.phase), math.sin(self.phase))
        kspace, mask = (self._turn(values) for values in (data.kspace * mask * turn, mask))
        return replace(
            data,
            kspace=kspace,
            mask=mask,
            csm=None if data.csm is None else self._mirror(data.csm),
            noise_std=None if data.noise_std is None else self._turn(data.noise_std),
            shading=None,
            reference=None,
            meta=replace(data.meta, extent=self._extent(data)),
        )

    def undo(self, image: Tensor) -> Tensor:
        """The image ``(frames, y, x)`` of the variant, transformed back to that of the measurement."""
        turn = complex(math.cos(self.phase), -math.sin(self.phase))
        return self._mirror(image.roll(self.first_frame, 0)) * turn

    def _turn(self, values: Tensor) -> Tensor:
        return self._mirror(values.roll(-self.first_frame, 0))

    def _mirror(self, values: Tensor) -> Tensor:
        return mirror(values, tuple(axis for axis in self.mirrored if values.shape[axis] > 1))

    def _extent(self, data: CineData) -> Extent:
        """The mirrored extent of the measurement, which samples that are left out do not change."""
        rows, columns = data.meta.extent or measured_extent(data.mask)
        y, x = data.matrix
        return self._mirror_range(rows, -2, y), self._mirror_range(columns, -1, x)

    def _mirror_range(self, part: slice, axis: int, n: int) -> slice:
        first, end, _ = part.indices(n)
        if axis not in self.mirrored or (first, end) == (0, n):
            return part
        last = 2 * (n // 2)  # index 0 of an even axis has no counterpart, and is not in the mirrored range
        return slice(last - end + 1, last - max(first, 1 - n % 2) + 1)


def draw_left_out(mask: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """The samples to leave out, with the shape of the mask ``(frames, 1, ky, kx or 1)``: complete readouts, or points.

    The central lines that all frames share are kept, and a mask without further lines is kept unchanged.
    """
    size = (*mask.shape[:3], 1) if samples_whole_readouts(mask) else tuple(mask.shape)
    chosen = torch.from_numpy(rng.random(size) < probability).to(mask.device).expand_as(mask).clone()
    chosen[:, :, acs_block(mask)] = False
    return chosen & mask


def draw_variants(data: CineData, n_variants: int, seed: int = 0) -> list[Variant]:
    """Variants of a measurement: the first is not mirrored, the next ones are mirrored along y, x, both, and so on."""
    rng = np.random.default_rng([seed, 11])
    variants = []
    for number in range(n_variants):
        mirrored = tuple(axis for bit, axis in ((1, -2), (2, -1)) if number & bit)
        first = int(rng.integers(data.n_frames)) if data.meta.is_one_beat else 0
        phase = float(rng.uniform(0, 2 * math.pi))
        variants.append(Variant(mirrored, first, phase, OMISSION_PROBABILITY, (seed, 12, number)))
    return variants


def map_uncertainty(
    data: CineData,
    method: Reconstructor,
    image: Tensor,
    variants: Sequence[Variant],
    *,
    partial_fourier: PartialFourier = "none",
    progress: Progress | None = None,
) -> Tensor:
    """Standard deviation ``(frames, y, x)`` of the finished image over variants of the data.

    Parameters
    ----------
    data
        Measured data without batch axes.
    method
        The method that reconstructed the image.
    image
        ``(frames, y, x)`` finished image, whose phase defines the direction of the signal.
    variants
        At least 2 variants, see `draw_variants`.
    partial_fourier
        How the side of k-space that was not measured is filled in, as for the image.
    progress
        Called with (number of completed variants, total number of variants).

    Raises
    ------
    ConfigError
        If all variants have the same image, because all samples are measured and the method has no learned parameters.
    DataError
        If the image of a variant is not finite.
    """
    if not method.n_parameters and not draw_left_out(data.mask, 1.0, np.random.default_rng(0)).any():
        what = "the image does not depend on the variants: the method is not learned, and no sample can be omitted"
        raise ConfigError(what, where="--uncertainty", hint="omit this option; --snr maps the noise")
    images = []
    for number, variant in enumerate(variants):
        with torch.inference_mode():
            variant_image = variant.undo(method(variant.apply(data)).to(data.kspace.device)).cpu()
        if not variant_image.isfinite().all():
            raise DataError("the image of a variant is not finite", where=data.where)
        images.append(finish_image(fill_partial_fourier(variant_image, data, partial_fourier).image, data))
        if progress:
            progress(number + 1, len(variants))
    return spread(torch.stack(images), image)


def spread(images: Tensor, image: Tensor) -> Tensor:
    """Standard deviation of ``(variants, frames, y, x)`` in the direction of the signal of ``(frames, y, x)``."""
    phase = phasor_of(image).conj()
    deviations = ((images - images.mean(0)) * phase).real
    return average_pixels(deviations.square().sum(0) / (len(images) - 1)).sqrt()


def with_uncertainty(
    part: ReconstructedSlice,
    data: CineData,
    method: Reconstructor,
    request: ReconRequest,
    progress: Progress | None = None,
) -> ReconstructedSlice:
    """The slice with its uncertainty map, and the root mean square of the map relative to that of the image.

    Parameters and errors are those of `map_uncertainty`, with the number of variants and the seed of the request.
    """
    image, seconds = torch.from_numpy(part.image), dict(part.seconds)
    with timed(seconds, "uncertainty"):
        variants, filling = draw_variants(data, request.n_variants, request.seed), request.partial_fourier
        std = map_uncertainty(data, method, image, variants, partial_fourier=filling, progress=progress)
    is_linear = type(method).noise_std is not Reconstructor.noise_std  # linear methods have a noise formula
    if is_linear and request.strict:
        raise DataError(LINEAR, where=data.where, hint="without --strict, the map is written and contains the warning")
    texts = (*part.warnings, *([LINEAR] if is_linear else []))
    support, heart = support_of(image), find_heart(image, data.meta.pixel_size_mm)
    figures = {"support": _ratio(std[:, support], image[:, support])}
    figures |= {} if heart is None else {"heart": _ratio(heart.crop(std), heart.crop(image))}
    source = f"standard deviation over {request.n_variants} variants of the data, smaller than the error"
    meta = replace(part.meta, warnings=tuple(dict.fromkeys(texts)))
    cine = replace(part.cine, meta=meta, uncertainty=std.numpy().astype(np.float32), uncertainty_source=source)
    return replace(part, cine=cine, seconds=seconds, uncertainty=figures)


def _ratio(part: Tensor, whole: Tensor) -> float:
    """Ratio of the root mean squares of two arrays."""
    return ratio(float(torch.linalg.vector_norm(part)), float(torch.linalg.vector_norm(whole)))
