"""The noise of a reconstructed slice, from the formula of its method or from pseudo-replicas."""

from dataclasses import replace

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.errors import DataError
from cinerecon.image import CineImage
from cinerecon.methods.base import Progress, Reconstructor, make_encoding
from cinerecon.physics.final_image import finish_image, interpolation_gain, resize_image
from cinerecon.physics.noise import noise_level
from cinerecon.physics.snr import NoiseMap, g_factor, pseudo_replicas, snr_units, support_of

ESTIMATED_NOISE = (
    "no noise scan was used: the noise for SNR is estimated from the edges of k-space, assuming equal and "
    "independent noise in all coils; SNR may be wrong by 15 %, and is too low if the noise is below 1 % of the "
    "brightness"
)


def with_known_noise(data: CineData) -> CineData:
    """The data with the noise of their samples from the noise scan or, with a warning, estimated from the data.

    Raises
    ------
    DataError
        If no noise can be estimated from the data.
    """
    if data.noise_std is not None:
        return data
    level = float(noise_level(data.kspace, data.mask))
    if not level > 0:
        what = "the noise is unknown: there is no noise scan, and the edges of k-space contain no noise"
        raise DataError(what, where=data.where, hint="give a noise scan with --noise, or omit --snr")
    noise_std = torch.full((data.n_frames, 1, 1, 1), level, device=data.kspace.device)
    return replace(data, noise_std=noise_std).with_warnings(ESTIMATED_NOISE)


def map_noise(
    data: CineData,
    method: Reconstructor,
    image: Tensor,
    *,
    n_replicas: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> NoiseMap:
    """The noise of an image in the units of A^H y.

    Parameters
    ----------
    data
        Data without batch axes, with ``noise_std``.
    method
        The method that reconstructed the image.
    image
        ``(frames, y, x)`` reconstructed image.
    n_replicas
        Number of pseudo-replicas if the method has no formula.
    seed
        Seed of the noise of the pseudo-replicas.
    progress
        Called with (number of completed replicas, total number of replicas).
    """
    formula = method.noise_std(data)
    if formula is not None:
        return NoiseMap(formula.cpu())
    image = image.to(data.kspace.device)
    predicted = replace(data, kspace=make_encoding(data).forward(image))
    result = pseudo_replicas(predicted, image, method, n_replicas=n_replicas, seed=seed, progress=progress)
    return replace(result, std=result.std.cpu())


def with_noise(cine: CineImage, noise: NoiseMap, data: CineData) -> CineImage:
    """The image with its noise map, which is finished in the same way as the image."""
    std = finish_image(noise.std, data) * interpolation_gain(data)
    return replace(cine, noise=std.numpy(), noise_source=noise.source)


def snr_figures(cine: CineImage, noise: NoiseMap, data: CineData) -> dict[str, float]:
    """Medians over the support of the SNR and, with a formula, of the g-factor; and the standard error of the noise."""
    support = support_of(torch.from_numpy(cine.image))
    snr = snr_units(torch.from_numpy(cine.image), torch.from_numpy(cine.noise))
    figures = {"median": float(snr[:, support].median()), "standard_error": noise.standard_error}
    if not noise.n_replicas and data.noise_std is not None:
        factor = resize_image(g_factor(noise.std, data.mask.cpu(), data.noise_std.cpu()), data.meta)
        figures["g_factor"] = float(factor[:, support].median())
    return figures
