"""Methods that are linear in the data: zero filling, view sharing, and CG-SENSE."""

from collections.abc import Callable

import torch
from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.memory import workspace
from cinerecon.methods.base import ClassicalMethod, Convergence, Progress, make_encoding, ratio, view_shared_image
from cinerecon.methods.classical.config import CgSenseConfig, ViewSharedConfig, ZeroFilledConfig
from cinerecon.physics.cg import CgSteps, conjugate_gradients
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.operators import Encoding, norm
from cinerecon.physics.sampling import measured_extent
from cinerecon.physics.snr import filtered_noise, zerofilled_noise

EXTRAPOLATED = 1
"""Lines beyond the measured extent of k-space that the coil maps determine well; further lines would amplify noise."""
VOXELS_AT_ONCE = 2**21
"""Voxels of the frames that are solved together, so that memory does not grow with the number of frames."""


class ZeroFilled(ClassicalMethod[ZeroFilledConfig]):
    """The zero-filled image A^H y: inverse transform of the sampled points, combined with the coil maps."""

    config_class = ZeroFilledConfig
    n_series = 6.5

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:  # noqa: ARG002
        """See `ClassicalMethod.solve`; there are no iterations to record."""
        image = make_encoding(data).adjoint(data.kspace)
        if progress:
            progress(1, 1)
        return image

    def noise_std(self, data: CineData) -> Tensor | None:
        """See `Reconstructor.noise_std`; the noise of the sampled points, for any sampling."""
        if data.noise_std is None:
            return None
        return zerofilled_noise(data.mask, data.csm, data.noise_std).expand(data.n_frames, *data.matrix)


class ViewShared(ClassicalMethod[ViewSharedConfig]):
    """Linear interpolation of each k-space point between the frames that sampled it, combined with the coil maps."""

    config_class = ViewSharedConfig
    n_series = 11.0

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:  # noqa: ARG002
        """See `ClassicalMethod.solve`; there are no iterations to record."""
        image = view_shared_image(data)
        if progress:
            progress(1, 1)
        return image


class CgSense(ClassicalMethod[CgSenseConfig]):
    """Conjugate gradient SENSE: the least-squares image given the coil maps, frame by frame.

    Solves argmin_x ||A x - y||^2 + w ||x||^2, that is (A^H A + w) x = A^H y, by conjugate gradients. A is normalised
    (orthonormal transform, coil maps with unit sum of squares), so that the largest eigenvalue of A^H A is at most 1, w
    is relative to it, and the solution is proportional to the data.

    If a scan omits an edge of k-space (partial Fourier, asymmetric echo, phase resolution below 100 %), the k-space of
    the image is zero there: P A^H A P x = P A^H y, where P is the projection onto the measured extent and one
    additional line. Without this projection, the coil maps extrapolate beyond the last measured line, which strongly
    amplifies noise.

    References
    ----------
    Pruessmann et al., Advances in sensitivity encoding with arbitrary k-space trajectories (2001), doi:10.1002/mrm.1241

    Departs from the paper in: Cartesian sampling only, hence no gridding, density or intensity correction;
    regularisation by a Tikhonov term instead of early stopping alone.
    """

    config_class = CgSenseConfig
    is_iterative = True
    n_series = 15.0
    frames_are_separate = True

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:
        """See `ClassicalMethod.solve`."""
        config, encoding, extent = self.config, make_encoding(data), extent_mask(data)
        size = 0.0 if convergence is None else norm(data.kspace)
        n_together = data.n_frames if convergence is not None else frames_at_once(data)
        parts = list(zip(encoding.split(n_together), data.kspace.split(n_together, -4), strict=True))
        images = []
        for number, (part, kspace) in enumerate(parts):

            def observe(step: int, image: Tensor, before: Tensor, number: int = number) -> None:
                if convergence is not None:
                    residual = encoding.relative_residual(image, data.kspace)
                    self._record(convergence, residual, size, image, before)
                if progress:
                    progress(number * config.n_iterations + step, len(parts) * config.n_iterations)

            images.append(self._solve(part, kspace, extent, observe=observe))
        return torch.cat(images, -3)

    @torch.no_grad()
    def noise_std(self, data: CineData) -> Tensor | None:
        """See `Reconstructor.noise_std`; only for complete readouts and scans that do not omit an edge of k-space.

        After a few steps, the solution is not the least-squares solution, but a polynomial q(A^H A) A^H y, which is
        evaluated with the step lengths of the measured data. The dependence of q on noise is neglected (about 2 % of
        the noise).
        """
        is_whole = data.mask.shape[-1] == 1 and extent_mask(data) is None
        if data.noise_std is None or not is_whole or data.noise_std.shape[-1] != 1:
            return None
        steps, weight = CgSteps(), self.config.weight_tikhonov
        self._solve(make_encoding(data), data.kspace, extent_mask(data), steps=steps)
        csm = torch.ones(1, *data.matrix).to(data.kspace) if data.csm is None else data.csm
        return filtered_noise(
            data.mask, csm, data.noise_std, lambda frame, values: steps.polynomial(frame, values + weight)
        )

    def _solve(
        self,
        encoding: Encoding,
        kspace: Tensor,
        extent: Tensor | None,
        *,
        observe: Callable[[int, Tensor, Tensor], None] | None = None,
        steps: CgSteps | None = None,
    ) -> Tensor:
        config = self.config

        def project(image: Tensor) -> Tensor:
            return image if extent is None else ifft2c(fft2c(image) * extent)

        def normal(image: Tensor) -> Tensor:
            return project(encoding.normal(image)) + config.weight_tikhonov * image

        target = project(encoding.adjoint(kspace))
        return conjugate_gradients(normal, target, config.n_iterations, config.tolerance, observe=observe, steps=steps)

    def _record(self, record: Convergence, residual: float, size: float, image: Tensor, before: Tensor) -> None:
        """Record the joint convergence of all frames, which are solved in parallel; `size` is ||y||."""
        length, change = norm(image), norm(image - before)
        cost = (residual * size) ** 2 + self.config.weight_tikhonov * length**2
        record.add(cost, residual, ratio(change, length))


def frames_at_once(data: CineData) -> int:
    """Number of frames that are solved together; the frames are independent problems."""
    y, x = data.matrix
    return workspace().frames_at_once or max(1, VOXELS_AT_ONCE // (y * x))


def extent_mask(data: CineData) -> Tensor | None:
    """Mask ``(ky, kx)``: 1 in the part of k-space that the scan determines, 0 elsewhere; None if it is 1 everywhere."""
    extent = data.meta.extent or measured_extent(data.mask)
    covered = torch.zeros(data.matrix, device=data.kspace.device)
    bounds = [part.indices(n) for part, n in zip(extent, data.matrix, strict=True)]
    rows, columns = (slice(max(first - EXTRAPOLATED, 0), end + EXTRAPOLATED) for first, end, _ in bounds)
    covered[rows, columns] = 1
    return None if bool(covered.all()) else covered
