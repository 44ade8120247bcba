"""The truth that a simulated scan carries, brought into the units of A^H y."""

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.io.hdf5 import member, open_hdf5
from cinerecon.io.ismrmrd.raw import RawScan
from cinerecon.physics.coils import mix_maps
from cinerecon.physics.operators import Encoding

GROUP = "truth"


def read_truth(raw: RawScan, data: CineData, coil_mixing: Tensor | None) -> Tensor | None:
    """The image a slice was made from, ``(frames, y, x)``; None if the file holds none that fits.

    With the true maps c the file's image x becomes csm^H M c x, M being the whitening and compression that the data
    went through: what A^H y would be, were every point sampled without noise. Without maps only the scale is adapted.

    Parameters
    ----------
    raw
        The scan.
    data
        The slice as read.
    coil_mixing
        The product of whitening and compression, as `mix_maps` takes it; None if there was neither.
    """
    with open_hdf5(raw.path) as file:
        group = member(file, GROUP, str(raw.path))
        if group is None or not hasattr(group, "keys"):
            return None
        image = _slice_of(group, "reference", data, str(raw.path))
        csm = _slice_of(group, "csm", data, str(raw.path))
    if image is None or image.shape != (data.n_frames, *data.matrix):
        return None
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


def _slice_of(group: object, name: str, data: CineData, where: str) -> Tensor | None:
    """One slice of an array of the group, complex64; read without the others."""
    stored = member(group, name, where)
    if stored is None or getattr(stored, "ndim", 0) != 4 or data.meta.slice >= stored.shape[0]:
        return None
    if stored.dtype.kind not in "fc" or stored.shape[2:] != data.matrix:
        return None
    return torch.from_numpy(np.asarray(stored[data.meta.slice], np.complex64))
