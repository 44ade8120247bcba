"""First images that networks start from: made once for each sampled slice, however many networks share them."""

from collections.abc import Mapping

from torch import Tensor

from cinerecon.cine import CineData
from cinerecon.machine import Usage, measured
from cinerecon.methods.base import Progress, Reconstructor


class MadeOnce:
    """A method that keeps its last image, and what it took.

    Parameters
    ----------
    method
        Makes the image.
    device
        Where.

    Attributes
    ----------
    saved
        What the last call would have taken, where it took nothing because the image was there.
    """

    def __init__(self, method: Reconstructor, device: str) -> None:
        self.method, self.config, self.device = method, method.config, device
        self.saved = Usage(0.0, 0.0)
        self._took = Usage()
        self._kspace: Tensor | None = None
        self._image: Tensor | None = None

    def __call__(self, data: CineData, progress: Progress | None = None) -> Tensor:
        """The image of these data."""
        same = self._kspace is not None and self._kspace.data_ptr() == data.kspace.data_ptr()
        self.saved = self._took if same else Usage(0.0, 0.0)
        if not same or self._image is None:
            with measured(self.device) as self._took:
                self._image = self.method(data, progress)
            self._kspace = data.kspace  # held, so that no other data can lie there
        return self._image


def share_first_images(methods: Mapping[str, Reconstructor], device: str) -> dict[str, Reconstructor]:
    """The same methods, but that an image is made once which several start from, or which is a result itself."""
    made: dict[str, MadeOnce] = {}
    for method in methods.values():
        start = getattr(method, "start", None)
        if start is not None:
            method.start = made.setdefault(_text_of(start), MadeOnce(start, device))  # type: ignore[attr-defined]
    return {name: made.get(_text_of(method), method) for name, method in methods.items()}


def _text_of(method: Reconstructor) -> str:
    return f"{type(method).__qualname__} {method.config.model_dump_json()}"
