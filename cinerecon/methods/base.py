"""The base class of all reconstruction methods, classical and deep: from the data of a slice to an image series."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.config import Config
from cinerecon.errors import ShapeError
from cinerecon.memory import workspace
from cinerecon.methods.card import Card
from cinerecon.physics.noise import noise_level
from cinerecon.physics.operators import Encoding
from cinerecon.physics.views import share_views

SAMPLES_AT_ONCE = 2**16
"""Number of coil image samples transformed together on a CPU; small enough for them to stay in its cache."""
N_COILS_FOR_NOISE = 4
"""Approximate number of coils from which the noise is estimated."""

C = TypeVar("C", bound=Config)
Progress = Callable[[int, int], None]
"""Called with (steps done, number of steps)."""


@dataclass
class Convergence:
    """Convergence of an iterative method: one number per iteration.

    Attributes
    ----------
    cost
        The cost function.
    data_residual
        ||A u - y|| / ||y||.
    change
        ||u - u_before|| / ||u||.
    """

    cost: list[float] = field(default_factory=list)
    data_residual: list[float] = field(default_factory=list)
    change: list[float] = field(default_factory=list)

    def add(self, cost: float, data_residual: float, change: float) -> None:
        """Append one iteration."""
        self.cost.append(cost)
        self.data_residual.append(data_residual)
        self.change.append(change)


def ratio(part: float, whole: float) -> float:
    """The ratio of two norms; 0 if the denominator is 0."""
    return part / whole if whole else 0.0


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The result of a method.

    Attributes
    ----------
    image
        ``(*batch, frames, y, x)`` complex, in the units of A^H y.
    convergence
        One record per iteration, if it was requested and the method is iterative.
    """

    image: Tensor
    convergence: Convergence | None = None


class Reconstructor(ABC):
    """A reconstruction method, classical or deep, with the same interface.

    Attributes
    ----------
    config
        The settings of the method.
    name
        Name of the method in results: the name under which it was loaded, which is a name in the table or the path of a
        model. If empty, the name of the class is used.
    initial_method
        The method that computes the initial image; None if the method computes its own.
    is_iterative
        Whether the method can record its convergence.
    n_series
        Largest number of complex image series in memory at the same time; `benchmarks/memory.py` compares this number
        with measurements.
    n_kspace_copies
        Number of copies of k-space that the method makes.
    frames_are_separate
        Whether frames are reconstructed independently of each other, so that they may be processed in groups.
    code_sha256
        SHA-256 of its code if it is from outside the package and was loaded by name; otherwise empty.
    """

    config: Config
    name: str = ""
    initial_method: "Reconstructor | None" = None
    is_iterative: bool = False
    n_series: float = 40.0
    n_kspace_copies: int = 0
    frames_are_separate: bool = False
    code_sha256: str = ""

    @property
    def card(self) -> Card:
        """The model card of the weights; empty for classical methods."""
        return Card()

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """Acquisition settings that its training data were prepared with; empty for classical methods."""
        return {}

    @property
    def weights(self) -> Mapping[str, Tensor]:
        """The tensors of the network by name; empty for classical methods."""
        return {}

    @property
    def n_parameters(self) -> int:
        """Number of learned parameters."""
        return 0

    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """Reconstruct the image ``(*batch, frames, y, x)``, complex and in the units of A^H y, without changing the
        input.

        Raises
        ------
        ShapeError
            If ``data`` is not an instance of `CineData`, for example an array.
        """
        if not isinstance(data, CineData):
            hint = "cinerecon.reconstruct(kspace, mask, method=...) takes arrays"
            raise ShapeError(f"a method must be called with CineData, found {type(data).__name__}", hint=hint)
        return self.reconstruct(data, progress).image

    def noise_std(self, data: CineData) -> Tensor | None:  # noqa: ARG002
        """Analytical noise of the image, ``(frames, y, x)``; None if the method has no formula for this sampling.

        The noise is the standard deviation in the direction of the signal, see `physics.snr`.

        Parameters
        ----------
        data
            Data without batch axes, with ``noise_std``.
        """
        return None

    @abstractmethod
    def reconstruct(
        self,
        data: CineData,
        progress: Progress | None = None,
        *,
        initial_image: Tensor | None = None,
        record: bool = False,
    ) -> Reconstruction:
        """Reconstruct the data; offers more control than calling the object.

        Parameters
        ----------
        data
            Data with or without batch axes.
        progress
            Called after each step.
        initial_image
            ``(*batch, frames, y, x)``, the image of `initial_method`, if it has already been computed.
        record
            Whether to record the convergence of an iterative method, which takes additional time.
        """


def fingerprint(method: Reconstructor) -> str:
    """Hash of the class, external code, settings and weights of a method, and of that of its initial image.

    The card and the training settings do not change the image and are excluded.
    """
    settings = method.config.model_dump_json(exclude={"card", "training"})
    digest = hashlib.sha256(f"{type(method).__qualname__}\n{settings}{method.code_sha256}".encode())
    for name, tensor in method.weights.items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    initial = method.initial_method
    return digest.hexdigest() + (fingerprint(initial) if initial is not None else "")


class ClassicalMethod(Reconstructor, Generic[C]):
    """A method without learned parameters, which computes its own initial image.

    Parameters
    ----------
    config
        The settings; None selects the defaults of `config_class`.
    """

    config_class: type[C]
    config: C

    def __init__(self, config: C | None = None) -> None:
        self.config = self.config_class.or_default(config)

    @torch.no_grad()
    def reconstruct(
        self,
        data: CineData,
        progress: Progress | None = None,
        *,
        initial_image: Tensor | None = None,  # noqa: ARG002
        record: bool = False,
    ) -> Reconstruction:
        """See `Reconstructor.reconstruct`; the initial image is ignored.

        Raises
        ------
        ShapeError
            If `solve` returns something else than such an image.
        """
        convergence = Convergence() if record and self.is_iterative else None
        image: object = self.solve(data, progress, convergence)
        expected = (*data.kspace.shape[:-4], data.n_frames, *data.matrix)
        if isinstance(image, Tensor) and image.is_complex() and tuple(image.shape) == expected:
            return Reconstruction(image, convergence)
        description = f"{tuple(image.shape)} {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
        what = f"{type(self).__name__} returns {description}, expected a complex image {expected}"
        raise ShapeError(what, hint="solve returns (*batch, frames, y, x) complex, in the units of A^H y")

    @abstractmethod
    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:
        """Compute the image, without changing the data.

        Parameters
        ----------
        data
            Data with or without batch axes.
        progress
            Called after each step; may be None.
        convergence
            Record of the iterations, to which each is added; None if it was not requested or `is_iterative` is False.

        Returns
        -------
        Tensor
            ``(*batch, frames, y, x)`` complex, in the units of A^H y.
        """


def make_encoding(data: CineData) -> Encoding:
    """The encoding operator A of the measurement."""
    at_once = coils_at_once(data)
    return Encoding(data.mask, data.csm, matrix=data.matrix, dtype=data.kspace.dtype, coils_at_once=at_once)


def coils_at_once(data: CineData) -> int | None:
    """Number of coils that an operator transforms together; None means all coils."""
    limit = workspace().coils_at_once
    if limit is not None:
        return limit
    y, x = data.matrix
    return max(1, SAMPLES_AT_ONCE // (data.n_frames * y * x)) if data.kspace.device.type == "cpu" else None


def relative_noise(data: CineData, scale: float) -> float:
    """Noise level of the samples of a cine without batch axes (`noise_level`), relative to a scale of its image."""
    every = -(-data.n_coils // N_COILS_FOR_NOISE)
    return float(noise_level(data.kspace[:, ::every], data.mask)) / scale


def view_shared_image(data: CineData) -> Tensor:
    """View-shared image ``(*batch, frames, y, x)``: temporal blurring replaces the aliasing of A^H y."""
    full_encoding = make_encoding(replace(data, mask=torch.ones_like(data.mask)))
    parts = data.kspace.split(full_encoding.coils_at_once, -3)
    return full_encoding.adjoint_of_parts(share_views(part, data.mask) for part in parts)


def reconstruct_each(
    data: CineData,
    reconstruct: Callable[[CineData, Progress], Tensor],
    progress: Progress | None = None,
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Reconstruct the cines of a batch one by one, because they require different numbers of steps.

    Parameters
    ----------
    data
        Data with or without batch axes.
    reconstruct
        Returns the image ``(frames, y, x)`` of a cine without batch axes, and reports its progress.
    progress
        Called with the overall progress, in percent of one cine.
    device
        Device of the computation; None means the device of the data.

    Returns
    -------
    Tensor
        ``(*batch, frames, y, x)``, on the device of the data.
    """
    batch = data.kspace.shape[:-4]
    image = data.kspace.new_empty(*batch, data.n_frames, *data.matrix)
    for n, item in enumerate(np.ndindex(*batch)):

        def report(done: int, total: int, n: int = n) -> None:
            if progress:
                progress(int(100 * (n + done / total)), 100 * batch.numel())

        csm = None if data.csm is None else data.csm[item]
        cine = CineData(data.kspace[item], data.mask[item], csm, meta=data.meta)
        image[item] = reconstruct(cine if device is None else cine.to(device), report)
        report(1, 1)
    return image
