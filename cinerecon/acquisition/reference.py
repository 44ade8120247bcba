"""The reference of a slice: the true image of a simulated scan in the units of A^H y, or the image of all samples.

Fully sampled slices are undersampled here to compare a reconstruction with the image of all samples.

The slices of a scan are sorted by position, while those of the stored true image may have another order. They are
matched by the correlation of the measured samples with the samples predicted from each slice of the true image.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from cinerecon.acquisition.readouts.placement import CENTRE_HALF_WIDTH
from cinerecon.cine import CineData, as_tensor
from cinerecon.errors import ConfigError, DataError
from cinerecon.io.cmrxrecon import subject_of
from cinerecon.io.hdf5 import member, open_hdf5
from cinerecon.io.ismrmrd.hdf5_scan import Hdf5Samples, truth_group
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.physics.coils import estimate_csm, transform_maps
from cinerecon.physics.noise import noise_level
from cinerecon.physics.operators import Encoding, norm
from cinerecon.physics.sampling import block_of_lines, csm_warning, measured_extent, parse_sampling

MIN_CORRELATION = 0.7
"""Correlation between a slice without noise and its true image below which they do not match."""
MIN_SIGNAL_SHARE = 0.2
"""Smallest amplitude of the signal relative to signal and noise; with less signal, matching is not possible."""
CORRELATION_MARGIN = 1e-3
"""Difference of correlations above which a slice of the true image with another number is used."""
EDGE_RATIO, MIN_EDGE_SAMPLES, MIN_LINES = 2.0, 40, 32
"""Ratio of the lines sampled in the quarter of k-space at its edges to those in its central quarter above which zero
frequency is at the edges, and smallest number of such lines, and of all lines, from which this is concluded."""


def attach_reference(data: CineData, reference: Tensor | None = None, kind: str = "truth") -> CineData:
    """The slice with a reference: the given image or, without one, the image of its samples if it is fully sampled.

    Parameters
    ----------
    data
        A slice without a reference.
    reference
        ``(frames, y, x)`` complex64 reference image in the units of A^H y; None if there is none.
    kind
        The kind of reference, one of `cine_meta.REFERENCES`.
    """
    if reference is not None:
        return replace(data, reference=reference, meta=replace(data.meta, reference_is=kind))
    if block_of_lines(data.mask) is None:
        return data
    encoding = Encoding(data.mask, data.csm, matrix=data.matrix, coils_at_once=1)  # one coil at a time to save memory
    kind = "all samples" if bool(data.mask.all()) else "some samples"
    return replace(data, reference=encoding.adjoint(data.kspace), meta=replace(data.meta, reference_is=kind))


def combine_reference(image: Tensor, csm: Tensor, data: CineData, coil_matrix: Tensor | None) -> Tensor:
    """The image of a noise-free, fully sampled scan with the maps of a slice: csm^H M c x, ``(frames, y, x)``.

    Parameters
    ----------
    image
        ``(frames, y, x)`` true image x.
    csm
        ``(coils, y, x)`` true maps c of the measured coils.
    data
        The slice with its estimated maps.
    coil_matrix
        The matrix M of prewhitening and compression, for `transform_maps`; None for the identity.
    """
    mixed = csm if coil_matrix is None else transform_maps(coil_matrix, csm)
    return image * (mixed if data.csm is None else data.csm.conj() * mixed).sum(0)


def read_reference(
    raw: RawScan, n_slices: int, data: CineData, coil_matrix: Tensor | None
) -> tuple[Tensor | None, list[str]]:
    """Read the image from which a slice was simulated, in the units of A^H y.

    If the file contains the true maps, this is the image of `combine_reference` times a least-squares gain; without
    maps, only the scale is fitted.

    The coil matrix is the product of prewhitening and compression, for `transform_maps`; None if neither was applied.

    Returns
    -------
    ``(frames, y, x)`` complex64, or None if the file contains no matching true image; and warnings.
    """
    if not isinstance(raw.store, Hdf5Samples):
        return None, []
    with open_hdf5(raw.path) as file:
        group = truth_group(file, raw)
        images = None if group is None else _array(group, "reference", data)
        if images is None or images.shape[1] != data.n_frames:
            return None, []
        if len(images) < n_slices:
            return None, [f"the reference in the file has {len(images)} of {n_slices} slices: it is not used"]
        maps = _array(group, "csm", data)
        number, warnings = _match_slice(images, maps, data, coil_matrix)
        if number is None:
            return None, warnings
        image = torch.from_numpy(np.asarray(images[number], np.complex64))
        csm = _read_maps(maps, number)
    if csm is None:
        encoding = Encoding(data.mask, data.csm, matrix=data.matrix, coils_at_once=1)
        energy = sum(norm(part) ** 2 for part in encoding.forward_in_parts(image))
        return image * (norm(data.kspace) / energy**0.5), warnings
    mixed = csm if coil_matrix is None else transform_maps(coil_matrix, csm)
    gain = _least_squares_gain(Encoding(data.mask, mixed, coils_at_once=1), image, data.kspace)
    return combine_reference(image, csm, data, coil_matrix) * gain, warnings


def _least_squares_gain(encoding: Encoding, image: Tensor, kspace: Tensor) -> float:
    """The real factor g that minimises ||g A x - y||, computed one coil at a time."""
    product, energy = 0.0, 0.0
    for expected, measured in zip(encoding.forward_in_parts(image), torch.split(kspace, 1, -3), strict=True):
        product += float(torch.vdot(expected.ravel(), measured.ravel()).real)
        energy += norm(expected) ** 2
    return product / energy


def _match_slice(
    images: h5py.Dataset, maps: h5py.Dataset | None, data: CineData, coil_matrix: Tensor | None
) -> tuple[int | None, list[str]]:
    """The number of the slice of the true image that matches the samples, None if there is no match; and warnings.

    Only the frame with the most samples is compared.
    """
    frame = int(data.mask.sum((1, 2, 3)).argmax())
    measured = data.kspace[frame : frame + 1]
    correlations = []
    for number in range(len(images)):
        image = torch.from_numpy(np.asarray(images[number, frame : frame + 1], np.complex64))
        csm = _read_maps(maps, number)
        csm = data.csm if csm is None else csm if coil_matrix is None else transform_maps(coil_matrix, csm)
        expected = Encoding(data.mask[frame : frame + 1], csm, matrix=data.matrix).forward(image)
        product, norms = torch.vdot(expected.ravel(), measured.ravel()), norm(expected) * norm(measured)
        correlations.append(float(product.abs()) / norms if norms else 0.0)
    own, best = data.meta.slice, int(np.argmax(correlations))
    is_own = own < len(correlations) and correlations[best] < correlations[own] + CORRELATION_MARGIN
    number = own if is_own else best
    largest = correlations[number]
    # the noise is estimated only if it matters
    if largest < MIN_CORRELATION and largest < MIN_CORRELATION * _signal_share(measured, data):
        what = "the reference in the file does not match the samples (another scan, or very strong noise)"
        return None, [f"{what}: it is not used"]
    if number != own:
        text = "the slices of the reference in the file are in a different order: they are matched by their content"
        return number, [text]
    return number, []


def _signal_share(measured: Tensor, data: CineData) -> float:
    """Amplitude of the signal in some samples of a slice, relative to that of signal and noise."""
    noise_energy = float(noise_level(data.kspace, data.mask)) ** 2 * int((measured != 0).sum())
    energy = norm(measured) ** 2
    return float(np.sqrt(max(1 - noise_energy / energy, MIN_SIGNAL_SHARE**2))) if energy else 1.0


def _read_maps(maps: h5py.Dataset | None, number: int) -> Tensor | None:
    return None if maps is None or number >= len(maps) else torch.from_numpy(np.asarray(maps[number], np.complex64))


def _array(group: Any, name: str, data: CineData) -> h5py.Dataset | None:
    """An array of the group that matches the size of a slice, without reading it; None if there is none."""
    stored = member(group, name, data.meta.source)
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 4 or stored.dtype.kind not in "fc":
        return None
    return stored if stored.shape[2:] == data.matrix else None


def pattern_seed(data: CineData, seed: int) -> int:
    """The seed of the pattern of a slice, from a seed, the names of scan and subject, and the slice number.

    The pattern of a scan is therefore the same with and without other scans, and in `recon` and `evaluate`.
    """
    source = Path(data.meta.source)
    subject = subject_of(source)
    text = f"{seed} {f'{subject}/' if subject else ''}{source.stem} {data.meta.slice}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])


def undersample(data: CineData, pattern: str, *, seed: int = 0, csm: str = "smooth") -> CineData:
    """Undersample a fully sampled slice. Coil maps are estimated from the remaining samples, and the reference is kept.

    A warning is issued if too few lines are available for the maps.

    Parameters
    ----------
    data
        A fully sampled slice; lines at the edges of k-space that the scan did not measure remain excluded.
    pattern
        The sampling pattern, as text for `parse_sampling`.
    seed
        Seed of the pattern.
    csm
        Method for the coil maps.

    Raises
    ------
    DataError
        If the slice is not fully sampled.
    ConfigError
        If the pattern or the mask does not match the slice.
    FileError
        If the mask cannot be read.
    """
    if block_of_lines(data.mask) is None:
        raise DataError(
            "the scan is already undersampled",
            where=data.where,
            hint="reconstruct it without --undersample, and compare images with evaluate --recon",
        )
    drawn = parse_sampling(pattern).draw(data.n_frames, *data.matrix, seed)
    mask = as_tensor(drawn).to(data.mask.device) & data.mask
    _require_centre(mask, pattern)
    kspace = data.kspace * mask
    maps = estimate_csm(kspace, mask, csm)  # type: ignore[arg-type]
    warning = None if maps is None else csm_warning(mask, data.matrix[1])
    meta = replace(data.meta, extent=measured_extent(data.mask))
    return replace(data, kspace=kspace, mask=mask, csm=maps, meta=meta).with_warnings(*([warning] if warning else []))


def _require_centre(mask: Tensor, pattern: str) -> None:
    """Check that lines at the centre of k-space are sampled, unlike with an inverted mask, and not mainly its edges."""
    n_sampled = mask[:, 0].double().mean(-1).sum(0)  # number of frames that sample each line; points count in part
    n_lines, width = len(n_sampled), 2 * CENTRE_HALF_WIDTH + 1
    centre = n_lines // 2
    rows = slice(max(centre - CENTRE_HALF_WIDTH, 0), centre + CENTRE_HALF_WIDTH + 1)
    hint = "is the mask inverted, or its zero frequency at index 0 (,uncentred)?"
    if not n_sampled[rows].any():
        raise ConfigError(f"no line at the centre of k-space, {centre}, is sampled", where=pattern, hint=hint)
    quarter = max(n_lines // 4, width)
    first = (n_lines - quarter) // 2
    n_central = float(n_sampled[first : first + quarter].sum())
    edges = n_sampled.roll(quarter // 2)[:quarter]  # the lines around index 0
    is_block = bool((edges[quarter // 2 - CENTRE_HALF_WIDTH :][:width] == len(mask)).all())
    is_whole = bool((n_sampled[rows] == len(mask)).all())
    is_block &= n_lines >= MIN_LINES
    if (is_block and not is_whole) or float(edges.sum()) > max(EDGE_RATIO * n_central, MIN_EDGE_SAMPLES):
        what = f"the edges of k-space are sampled more densely than its centre, line {centre}"
        raise ConfigError(what, where=pattern, hint=hint)
