"""Initial images of networks: computed once per undersampled slice, even if several networks start from the same."""

from dataclasses import dataclass, field

from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.machine import Usage, measured
from cinerecon.methods.base import Reconstructor


@dataclass
class InitialImages:
    """Images of one undersampled slice by the methods that networks start from, with the time and memory they took.

    Attributes
    ----------
    data
        The undersampled slice.
    device
        Where the methods run.
    """

    data: CineData
    device: str
    _computed: dict[str, tuple[Tensor, Usage]] = field(default_factory=dict)

    def reconstruct(self, method: Reconstructor) -> tuple[Tensor, Usage]:
        """The image ``(frames, y, x)`` of a method, with what it takes including its initial image."""
        if method.initial_method is None:
            return self._compute(method)
        initial_image, usage = self._compute(method.initial_method)
        with measured(self.device) as own:
            image = method.reconstruct(self.data, initial_image=initial_image).image
        return image, Usage(own.seconds + usage.seconds, max(own.memory_mb, usage.memory_mb))

    def _compute(self, method: Reconstructor) -> tuple[Tensor, Usage]:
        """The image of a method that needs no initial image; from memory if it is there."""
        key = f"{type(method).__qualname__} {method.config.model_dump_json()}"
        if key not in self._computed:
            with measured(self.device) as usage:
                image = method(self.data)
            self._computed[key] = image, usage
        return self._computed[key]
