"""Readout oversampling: what the header claims, and whether to believe it.

The oversampling is the ratio of the encoded to the image's field of view, never that of the matrices, which a scanner's
interpolation bends. Some writers claim 2x whatever they did. Then pixels come out uneven, where without the claim they
were square; but pixels are also uneven where the phase resolution is low, so such a claim is only corrected if it is
absurd (pixels twice as long along the readout), or if the readouts show that the field of view is empty beyond.
"""

from collections.abc import Callable

import numpy as np

from cinerecon.errors import HeaderError
from cinerecon.io.ismrmrd.header import EncodingSpace
from cinerecon.io.ismrmrd.raw import Index, RawScan

LARGEST = 8.5
N_PROBES = 16
"""Readouts next to the centre of k-space that are looked at."""


def anisotropy(encoding: EncodingSpace, ky: int) -> float:
    """Length of the encoded pixels along x over that along y, were there ``ky`` of them."""
    (kx, _, _), (fov_x, fov_y, _) = encoding.encoded.matrix, encoding.encoded.fov_mm
    return (fov_x / kx) / (fov_y / ky)


def readout_oversampling(raw: RawScan, image: Index, ky: int, warn: Callable[[str], None]) -> float:
    """Encoded over image field of view along the readout.

    Parameters
    ----------
    raw
        The scan.
    image
        Row numbers of the image readouts.
    ky
        Rows of the encoded grid.
    warn
        Called where the header's claim is not a whole number, or not believed.

    Raises
    ------
    HeaderError
        If the image's field of view is larger than the encoded one, or absurdly small.
    """
    encoding = raw.header.encodings[0]
    fov, recon_fov = encoding.encoded.fov_mm[0], encoding.recon.fov_mm[0]
    claimed = fov / recon_fov
    if not 0.99 <= claimed <= LARGEST:
        what = (
            f"the encoded field of view is {fov:g} mm along x, the image's {recon_fov:g} mm: a readout oversampling of "
        )
        raise HeaderError(f"{what}{claimed:.3g} makes no sense, expected 1, 2, ...", where=str(raw.path))
    square = claimed / anisotropy(encoding, ky)
    by_matrix = encoding.encoded.matrix[0] / encoding.recon.matrix[0]
    if claimed < 1.01 and round(by_matrix) > 1 and abs(square - by_matrix) < 0.01 * by_matrix:
        warn(
            f"the encoded field of view is not larger than the image's, but the matrix is {by_matrix:.3g} times as "
            "long, and pixels are square with that oversampling: it is taken"
        )
        return by_matrix
    uneven = round(claimed) > 1 and round(square) >= 1 and abs(square / claimed - 1) > 0.2
    if uneven and abs(square - round(square)) < 0.01:
        absurd = square <= claimed / 2 + 0.01
        if absurd or (square > claimed and _is_empty_beyond(raw, image, round(square), claimed)):
            warn(f"the header claims {claimed:.3g}x readout oversampling, but only {square:.3g}x makes square pixels")
            return float(round(square))
    if abs(claimed - round(claimed)) > 0.01 * claimed:
        warn(f"the readout oversampling is {claimed:.3g}, not a whole number")
    return max(claimed, 1.0)


def _is_empty_beyond(raw: RawScan, image: Index, factor: float, claimed: float) -> bool:
    """Whether the claimed field of view holds nothing but noise outside the smaller one of a larger factor."""
    kx = raw.header.encodings[0].encoded.matrix[0]
    whole = image[raw.heads["number_of_samples"][image] == kx]
    if whole.size == 0:
        return False
    lines = raw.heads["idx"]["kspace_encode_step_1"][whole].astype(int)
    centre = np.median(np.unique(lines))
    probes = np.sort(whole[np.argsort(np.abs(lines - centre), kind="stable")[:N_PROBES]])
    profile = np.fft.fftshift(np.fft.fft(raw.samples(probes), axis=-1), axes=-1)
    power = (np.abs(profile) ** 2).mean((0, 1))
    from_centre = np.abs(np.arange(kx) - kx // 2)
    inside = power[from_centre < kx / (2 * factor)].mean()
    between = power[(from_centre > kx / (2 * factor) + 1) & (from_centre < kx / (2 * claimed) - 1)].mean()
    outside = power[from_centre > kx / (2 * claimed) + 1].mean()
    return bool(between < 1.5 * outside + 1e-3 * inside and inside > 10 * between)
