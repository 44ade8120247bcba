"""The truth that a simulated scan carries, brought into the units of A^H y.

Slices of a scan are sorted by position, those of the truth are in the order of whoever wrote them. Which slice of the
truth belongs to which slice of the scan is decided by the data: by the correlation of the measured samples with those
that each slice of the truth would give.
"""

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.io.hdf5 import member, open_hdf5
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.physics.coils import mix_maps
from cinerecon.physics.operators import Encoding

GROUP = "truth"
MIN_CORRELATION = 0.7
"""Correlation of a slice with its truth below which that is of another scan."""
CORRELATION_MARGIN = 1e-3
"""Difference of correlations from which another slice of the truth takes the place of the one of the same number."""


def read_truth(
    raw: RawScan, n_slices: int, warn: Callable[[str], None], data: CineData, coil_mixing: Tensor | None
) -> Tensor | None:
    """The image a slice was made from, ``(frames, y, x)``; None if the file holds none that fits.

    With the true maps c the file's image x becomes csm^H M c x, M being the whitening and compression that the data
    went through: what A^H y would be, were every point sampled without noise. Without maps only the scale is adapted.

    Parameters
    ----------
    raw
        The scan.
    n_slices
        Its slices.
    warn
        Called where the file holds a truth of another order, or of another scan.
    data
        The slice as read.
    coil_mixing
        The product of whitening and compression, as `mix_maps` takes it; None if there was neither.
    """
    with open_hdf5(raw.path) as file:
        group = member(file, GROUP, str(raw.path)) or member(file[raw.group], GROUP, str(raw.path))
        images = None if group is None or not hasattr(group, "keys") else _array(group, "reference", data)
        if images is None or images.shape[1] != data.n_frames:
            return None
        if len(images) < n_slices:
            warn(f"the truth in the file has {len(images)} of {n_slices} slices: it is not used")
            return None
        maps = _array(group, "csm", data)
        number = _belonging(images, maps, data, coil_mixing, warn)
        if number is None:
            return None
        image = torch.from_numpy(np.asarray(images[number], np.complex64))
        csm = _maps_of(maps, number)
    if csm is None:
        encoding = Encoding(data.mask, data.csm, matrix=data.matrix, coils_at_once=1)
        energy = sum(float(torch.linalg.vector_norm(part)) ** 2 for part in encoding.forward_in_parts(image))
        return image * (float(torch.linalg.vector_norm(data.kspace)) / energy**0.5)
    mixed = csm if coil_mixing is None else mix_maps(coil_mixing, csm)
    gain = _least_squares_gain(Encoding(data.mask, mixed, coils_at_once=1), image, data.kspace)
    return image * (mixed if data.csm is None else data.csm.conj() * mixed).sum(0) * gain


def _least_squares_gain(encoding: Encoding, image: Tensor, kspace: Tensor) -> float:
    """The real factor g that minimises ||g A x - y||, one coil at a time."""
    product, energy = 0.0, 0.0
    for expected, measured in zip(encoding.forward_in_parts(image), kspace.split(1, -3), strict=True):
        product += float(torch.vdot(expected.ravel(), measured.ravel()).real)
        energy += float(torch.linalg.vector_norm(expected)) ** 2
    return product / energy


def _belonging(
    images: h5py.Dataset, maps: h5py.Dataset | None, data: CineData, mixing: Tensor | None, warn: Callable[[str], None]
) -> int | None:
    """The number of the slice of the truth that the samples were measured of; None if they fit none.

    One frame is compared, the one of most samples.
    """
    frame = int(data.mask.sum((1, 2, 3)).argmax())
    measured = data.kspace[frame : frame + 1]
    fit = []
    for number in range(len(images)):
        image = torch.from_numpy(np.asarray(images[number, frame : frame + 1], np.complex64))
        csm = _maps_of(maps, number)
        csm = data.csm if csm is None else csm if mixing is None else mix_maps(mixing, csm)
        expected = Encoding(data.mask[frame : frame + 1], csm, matrix=data.matrix).forward(image)
        norm = torch.linalg.vector_norm(expected) * torch.linalg.vector_norm(measured)
        fit.append(float(torch.vdot(expected.ravel(), measured.ravel()).abs() / norm) if norm > 0 else 0.0)
    own, best = data.meta.slice, int(np.argmax(fit))
    number = own if own < len(fit) and fit[best] < fit[own] + CORRELATION_MARGIN else best
    if fit[number] < MIN_CORRELATION:
        warn("the truth in the file is of another scan than its samples: it is not used")
        return None
    if number != own:
        warn("the slices of the truth in the file are in another order: each is compared with the one it was made from")
    return number


def _maps_of(maps: h5py.Dataset | None, number: int) -> Tensor | None:
    return None if maps is None or number >= len(maps) else torch.from_numpy(np.asarray(maps[number], np.complex64))


def _array(group: Any, name: str, data: CineData) -> h5py.Dataset | None:
    """An array of the group that fits the matrix of a slice, not read yet."""
    stored = member(group, name, data.meta.source)
    if not isinstance(stored, h5py.Dataset) or stored.ndim != 4 or stored.dtype.kind not in "fc":
        return None
    return stored if stored.shape[2:] == data.matrix else None
