"""Noise covariance and prewhitening, from noise readouts of the scan or of a separate file.

After prewhitening, all coils have independent noise of unit variance, as least squares assumes (Roemer et al. 1990, DOI
10.1002/mrm.1910160203).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cinerecon.acquisition.readouts.subset import Readouts
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import NOISE, SIEMENS_NOISE_BANDWIDTH, Index, RawScan, has_flag
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.io.twix.noise import find_noise
from cinerecon.io.twix.readouts import TwixSamples

Matrix = NDArray[np.complexfloating[Any, Any]]
QUIET_QUANTILE, LOUD_RATIO = 0.1, 5.0
"""Quantile of the amplitudes of noise readouts that contains only noise, and ratio to it above which a readout contains
signal; the largest noise samples differ by less than a factor of 1.5."""


def noise_covariance(noise: Matrix) -> Matrix:
    """Covariance of the noise between coils, E[n n^H].

    The mean is assumed to be zero. `read_covariance` scales the result for dwell time and receiver bandwidth.

    Parameters
    ----------
    noise
        ``(coils, samples)`` complex samples without signal.

    Returns
    -------
    ``(coils, coils)`` Hermitian matrix.
    """
    return np.asarray(noise @ noise.conj().T / noise.shape[-1])


def whitening_matrix(covariance: Matrix) -> Matrix:
    """The lower triangular matrix W with W covariance W^H = 1, which is the inverse of the Cholesky factor.

    Parameters
    ----------
    covariance
        ``(coils, coils)`` Hermitian matrix.

    Raises
    ------
    DataError
        If the covariance is singular because a coil has no noise, or there are fewer noise samples than coils.
    """
    variance = covariance.diagonal().real
    scale = 1 / np.sqrt(variance.clip(np.finfo(variance.dtype).tiny))  # coils may differ by orders of magnitude
    correlation = scale[:, None] * covariance * scale
    values = np.linalg.eigvalsh(correlation)
    if values[0] <= 10 * np.finfo(values.dtype).eps * values[-1]:
        silent = np.flatnonzero(variance <= 0)
        what = f"coil {silent[0]} has no noise" if silent.size else "the noise covariance is singular"
        raise DataError(what, hint="use a longer noise scan, exclude the coil, or reconstruct without whitening")
    return np.asarray(np.tril(np.linalg.inv(np.linalg.cholesky(correlation))) * scale)


def open_noise(raw: RawScan, path: str | Path | None, *, whiten: bool) -> RawScan | None:
    """Open the noise scan in a separate file or in the twix file of the scan; None if the scan contains the noise.

    The last measurement of a separate file may be another scan with the same coils.
    """
    source = raw if path is None else read_raw_scan(path)
    is_silent = isinstance(source.store, TwixSamples) and not has_flag(source.heads, NOISE).any()
    other = (find_noise(source, like=raw) or find_noise(source)) if whiten and is_silent else None
    return other if path is None else other or source


def noise_rows(noise: RawScan) -> Index:
    """Row numbers of the noise readouts in a separate noise scan.

    Raises
    ------
    DataError
        If there are no noise readouts.
    """
    rows = np.flatnonzero(has_flag(noise.heads, NOISE))
    if rows.size == 0:
        raise DataError("there are no noise readouts (flag 19) in the noise file", where=str(noise.path))
    return rows


def without_signal(noise: Readouts) -> Readouts:
    """The noise readouts, except those that are much louder than others, which are mislabelled image lines.

    Amplitudes are compared for equal dwell times, because noise power is proportional to the receiver bandwidth.
    """
    if len(noise) == 0:
        return noise
    dwell = noise.field("sample_time_us").astype(np.float64)
    amplitude = noise.raw.amplitude[noise.rows] * np.sqrt(np.where(np.isfinite(dwell) & (dwell > 0), dwell, 1.0))
    usual = float(np.quantile(amplitude, QUIET_QUANTILE))
    is_loud = amplitude > LOUD_RATIO * usual
    if usual == 0 or not is_loud.any():
        return noise
    noise.warn(
        f"{int(is_loud.sum())} of {len(noise)} readouts with flag {NOISE} (noise) have up to "
        f"{amplitude.max() / usual:.2g} times the amplitude of the others, such as acquisition "
        f"{noise.rows[is_loud][0]}: they are not used as noise; if they are image lines, the image lacks them"
    )
    return noise.where(~is_loud)


def read_covariance(image: Readouts, noise: Readouts) -> Matrix:
    """Covariance between coils of the noise of image samples, ``(coils, coils)`` complex128.

    Noise power is proportional to the receiver bandwidth, so each noise readout is scaled to the image readouts:
    C_image = C_noise dwell_noise / (dwell_image b), with the relative receiver noise bandwidth b.

    Raises
    ------
    DataError
        If the noise is not finite, or was measured with other coils.
    """
    coils, channels = int(image.field("active_channels")[0]), noise.field("active_channels")
    other = np.flatnonzero(channels != coils)
    if other.size:
        i = other[0]
        what = f"a noise readout has {channels[i]} channels, the image readouts have {coils}"
        hint = "use a noise scan with the same coils, or --set preprocessing.whiten=false"
        raise DataError(what, where=noise.at(i), hint=hint)
    scale = noise_scale(image, noise)
    if scale is None:
        noise.warn("dwell times are missing: the coils are whitened, but the noise level is unknown")
    amplitude = np.ones(len(noise)) if scale is None else np.sqrt(scale)
    parts = []
    for alike, readouts in noise.groups("number_of_samples"):
        samples = readouts.samples() * amplitude[alike, None, None]
        parts.append(np.moveaxis(samples, 1, 0).reshape(coils, -1))
    return noise_covariance(np.concatenate(parts, axis=1))


def read_whitening(image: Readouts, noise: Readouts, coils: Index) -> Matrix | None:
    """The matrix that makes the noise of image samples uncorrelated between coils, with unit variance.

    Returns
    -------
    ``(used coils, coils)`` complex64, without coils that have neither noise nor signal; None if all noise samples are
    zero.

    Raises
    ------
    DataError
        If the noise is not finite, was measured with other coils, or cannot be whitened because a coil with signal has
        no noise or there are fewer samples than coils.
    """
    covariance = read_covariance(image, noise)
    silent = coils[covariance.diagonal()[coils].real == 0]
    if len(silent) == len(coils):
        noise.warn("all noise samples are zero: coils are not whitened")
        return None
    for coil in silent.tolist():
        if _has_signal(image, coil):
            hint = f"--set preprocessing.exclude_coils=[{coil}] excludes it, preprocessing.whiten=false keeps all coils"
            raise DataError(f"coil {coil} has signal, but no noise", where=noise.path, hint=hint)
        noise.warn(f"coil {coil} has neither noise nor signal: it is excluded")
    measured = np.setdiff1d(coils, silent)
    try:
        whitening = whitening_matrix(covariance[measured][:, measured]).astype(np.complex64)
    except DataError as error:
        hint = "give a longer noise scan with --noise, or use --set preprocessing.whiten=false"
        raise DataError(error.what, where=noise.path, hint=hint) from None
    return whitening @ select_coils(measured, len(covariance))


def select_coils(chosen: Index, n_coils: int) -> Matrix:
    """The matrix that selects coils, ``(selected coils, coils)`` complex64."""
    return np.asarray(np.eye(n_coils, dtype=np.complex64)[chosen])


def _has_signal(image: Readouts, coil: int) -> bool:
    """Whether a coil has signal in the image readouts of the middle slice."""
    groups = image.middle_slice().groups("number_of_samples")
    return any(bool(alike.samples()[:, coil].any()) for _, alike in groups)


def noise_scale(image: Readouts, noise: Readouts) -> NDArray[np.float64] | None:
    """Ratio of the noise power of image samples to that of each noise readout, ``(readouts,)``.

    Returns None if dwell times are missing.
    """
    dwell = float(image.field("sample_time_us")[0])
    dwell_noise = noise.field("sample_time_us").astype(np.float64)
    if not (dwell > 0 and np.isfinite(dwell) and (dwell_noise > 0).all() and np.isfinite(dwell_noise).all()):
        return None
    fallback = SIEMENS_NOISE_BANDWIDTH if image.raw.header.is_siemens else 1.0
    bandwidth = image.raw.header.noise_bandwidth or np.where(dwell_noise == dwell, 1.0, fallback)
    return np.asarray(dwell_noise / (dwell * bandwidth))
