"""Noise covariance and whitening, from noise readouts of the scan or of a separate file."""

import numpy as np

from cinerecon.acquisition.grid import middle_slice
from cinerecon.errors import DataError
from cinerecon.io.ismrmrd.raw import Index, RawScan, has_flag
from cinerecon.physics.whitening import Matrix, noise_covariance, whitening_matrix

SIEMENS_NOISE_BANDWIDTH = 0.793
"""Effective over nominal bandwidth of Siemens receivers, for headers without it."""


def noise_readouts(noise: RawScan) -> Index:
    """The noise readouts of a separate noise scan.

    Raises
    ------
    DataError
        If there are none.
    """
    rows = np.flatnonzero(has_flag(noise.heads, 19))
    if rows.size == 0:
        raise DataError("there are no noise readouts (flag 19) in the noise file", where=str(noise.path))
    return rows


def read_covariance(raw: RawScan, image_row: int, noise: RawScan, rows: Index) -> tuple[Matrix, list[str]]:
    """Covariance of the noise of an image sample between coils, ``(coils, coils)`` complex128; and warnings.

    Noise power is proportional to the receiver bandwidth, so the covariance is scaled to the image readouts:
    C_image = C_noise dwell_noise / (dwell_image b), with the relative receiver noise bandwidth b.

    Parameters
    ----------
    raw
        The scan.
    image_row
        Number of one of its image readouts.
    noise
        The file with the noise readouts, most often the scan itself.
    rows
        Their row numbers.

    Raises
    ------
    DataError
        If the noise is not finite, or comes from other coils.
    """
    heads = noise.heads[rows]
    coils = int(raw.heads["active_channels"][image_row])
    other = np.flatnonzero(heads["active_channels"] != coils)
    if other.size:
        i = other[0]
        what = f"a noise readout has {heads['active_channels'][i]} channels, the image readouts have {coils}"
        hint = "use the noise scan of the same coils, or --set preprocessing.whiten=false"
        raise DataError(what, where=noise.at(rows[i]), hint=hint)
    parts = []
    for length in np.unique(heads["number_of_samples"]):
        samples = noise.samples(rows[heads["number_of_samples"] == length])
        parts.append(np.moveaxis(samples, 1, 0).reshape(coils, -1))
    joined = np.concatenate(parts, axis=1)
    covariance = noise_covariance(joined.astype(np.complex128))
    scale = noise_scale(raw, image_row, noise, int(rows[0]))
    if scale is None:
        text = "dwell times are missing: the noise level after whitening is not known, only the coils are balanced"
        return covariance, [text]
    return covariance * scale, []


def read_whitening(
    raw: RawScan, image: Index, noise: RawScan, rows: Index, coils: Index
) -> tuple[Matrix | None, list[str]]:
    """The matrix that gives the noise of the image samples unit variance, and no correlation between coils.

    Parameters
    ----------
    raw
        The scan.
    image
        Row numbers of its image readouts.
    noise, rows
        As for `read_covariance`.
    coils
        Numbers of the coils to keep.

    Returns
    -------
    ``(kept coils, coils)`` complex64; coils without noise and without signal are left out. None if all noise samples
    are zero. And warnings.

    Raises
    ------
    DataError
        If the noise is not finite, comes from other coils, or cannot be whitened: a coil with signal shows no noise, or
        there are fewer samples than coils.
    """
    covariance, warnings = read_covariance(raw, int(image[0]), noise, rows)
    silent = coils[covariance.diagonal()[coils].real == 0]
    if len(silent) == len(coils):
        return None, [*warnings, "all noise samples are zero: coils are not whitened"]
    for coil in silent.tolist():
        if _has_signal(raw, image, coil):
            hint = f"--set preprocessing.exclude_coils=[{coil}] leaves it out, preprocessing.whiten=false keeps all"
            raise DataError(f"coil {coil} carries signal, but no noise", where=str(noise.path), hint=hint)
        warnings.append(f"coil {coil} carries neither noise nor signal: it is left out")
    kept = np.setdiff1d(coils, silent)
    try:
        whitening = whitening_matrix(covariance[kept][:, kept]).astype(np.complex64)
    except DataError as error:
        hint = "name a longer noise scan with --noise, or take --set preprocessing.whiten=false"
        raise DataError(error.what, where=str(noise.path), hint=hint) from None
    return whitening @ select_coils(kept, len(covariance)), warnings


def select_coils(kept: Index, n_coils: int) -> Matrix:
    """The matrix that selects coils, ``(kept coils, coils)`` complex64."""
    return np.asarray(np.eye(n_coils, dtype=np.complex64)[kept])


def _has_signal(raw: RawScan, image: Index, coil: int) -> bool:
    """Whether a coil has signal in the image readouts of the middle slice."""
    rows = middle_slice(raw, image)
    lengths = raw.heads["number_of_samples"][rows]
    return any(bool(raw.samples(rows[lengths == length])[:, coil].any()) for length in np.unique(lengths))


def noise_scale(raw: RawScan, image_row: int, noise: RawScan, noise_row: int) -> float | None:
    """Noise power of image samples over that of noise samples; None if the dwell times are missing."""
    dwell = float(raw.heads["sample_time_us"][image_row])
    dwell_noise = float(noise.heads["sample_time_us"][noise_row])
    if not (dwell > 0 and dwell_noise > 0 and np.isfinite(dwell) and np.isfinite(dwell_noise)):
        return None
    if dwell == dwell_noise and not raw.header.noise_bandwidth:
        return 1.0
    fallback = SIEMENS_NOISE_BANDWIDTH if raw.header.is_siemens else 1.0
    return dwell_noise / (dwell * (raw.header.noise_bandwidth or fallback))
