"""Velocity of a phase-contrast scan from the images of its two sets."""

from dataclasses import replace

import numpy as np

from cinerecon.acquisition.phase_contrast import PhaseContrastScan
from cinerecon.acquisition.source import CineSource
from cinerecon.errors import ConfigError, DataError
from cinerecon.io.plausibility import venc_warnings
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice


def check_velocity_options(request: ReconRequest, scan: CineSource) -> None:
    """Check that the request and the scan agree on whether there are two sets, and that the VENC is known.

    Raises
    ------
    ConfigError
        If a VENC is given for a scan that is not reconstructed as phase contrast; see also `require_velocity_range`.
    DataError
        See `require_velocity_range`.
    """
    if isinstance(scan, PhaseContrastScan):
        require_velocity_range(request, scan.venc_cm_s)
    elif request.venc is not None:
        what = "--venc applies only to phase contrast: scans with two sets of which none is selected by --set-index"
        raise ConfigError(what, where="--venc", hint="omit --venc")


def require_velocity_range(request: ReconRequest, header_venc_cm_s: float | None) -> float:
    """VENC [cm/s], from the request or the header.

    Raises
    ------
    DataError
        If neither contains it.
    ConfigError
        If noise or uncertainty maps are requested, which are defined for a single set.
    """
    option = "--snr" if request.snr else "--uncertainty" if request.uncertainty else ""
    if option:
        what = "maps of a phase-contrast scan can be computed only for one set at a time"
        raise ConfigError(what, where=option, hint=f"{option} --set-index 0")
    venc = request.venc or header_venc_cm_s
    if venc is None:
        what = "the scan has two sets (phase contrast), but its header has no velocity encoding (VENC)"
        hint = "--venc 150 sets it in cm/s, --set-index 0 reconstructs only one set"
        raise DataError(what, where=str(request.scan), hint=hint)
    return venc


def with_velocity(first: ReconstructedSlice, second: ReconstructedSlice, venc_cm_s: float) -> ReconstructedSlice:
    """Combine two sets into the mean magnitude with the phase of the first set, and the velocity.

    v = VENC / pi * angle(x_2 conj(x_1)) (Pelc et al. 1991, DOI 10.1002/jmri.1880010404 for the difference of two
    encodings). Velocities beyond VENC wrap around. The phase of static tissue is not corrected.

    Parameters
    ----------
    first, second
        The sets without and with velocity encoding, in the units of the same coil maps.
    venc_cm_s
        Velocity at which the phase difference is pi [cm/s].
    """
    images = first.image, second.image
    magnitude = [np.abs(image) for image in images]
    scale = np.divide(magnitude[0] + magnitude[1], 2 * magnitude[0], out=np.ones_like(magnitude[0]),
                      where=magnitude[0] > 0)  # fmt: skip
    velocity = np.angle(images[1] * images[0].conj()) * np.float32(venc_cm_s / np.pi)
    warnings = dict.fromkeys((*first.warnings, *second.warnings, *venc_warnings(venc_cm_s)))
    meta = replace(first.meta, warnings=tuple(warnings))
    cine = replace(
        first.cine,
        image=(images[0] * scale).astype(np.complex64),
        meta=meta,
        velocity=velocity.astype(np.float32),
        venc_cm_s=venc_cm_s,
    )
    seconds = {name: value + second.seconds.get(name, 0) for name, value in first.seconds.items()}
    return replace(first, cine=cine, seconds=seconds, residual=max(first.residual, second.residual))
