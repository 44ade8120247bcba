"""View sharing: k-space filled along time from the frames that sampled it, then transformed."""

from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.methods.base import ClassicalMethod, Convergence, Progress, view_shared_image
from cinerecon.methods.classical.config import ViewSharedConfig


class ViewShared(ClassicalMethod):
    """Each point of k-space interpolated linearly between the frames that sampled it, coils combined by their maps."""

    n_series = 11.0

    def __init__(self, config: ViewSharedConfig | None = None) -> None:
        self.config = config or ViewSharedConfig()

    def solve(self, data: CineData, progress: Progress | None, convergence: Convergence | None) -> Tensor:  # noqa: ARG002
        """See `ClassicalMethod.solve`; there are no iterations to record."""
        image = view_shared_image(data)
        if progress:
            progress(1, 1)
        return image
