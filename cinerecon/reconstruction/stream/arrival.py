"""Detection of complete slices while a scan is being received, from the headers of its readouts.

A slice is complete if one of these conditions is met:

- The last readout of each of its images has the flag ``last in slice``, or a readout has ``last in measurement``.
- Every line within the limits of the header was measured in every image.
- A readout of another slice follows, all images have lines, and either the last readout has ``last in slice``, the
  images together have all lines within the limits, or there are as many readouts as for an earlier slice. This
  condition does not apply to interleaved slices.

The images of a slice are the combinations of contrast, phase, repetition and set within the limits in the header. All
other slices are complete at the end of the scan.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from cinerecon.acquisition.readouts.select import is_image_line
from cinerecon.io.ismrmrd.header import Limit, MrdHeader
from cinerecon.io.ismrmrd.raw import NOISE, Heads, Index, has_flag

LAST_IN_SLICE, LAST_IN_MEASUREMENT = 8, 25
IMAGES = ("contrast", "phase", "repetition", "set")
"""Counters that number the images of a slice."""
NO_LIMIT = Limit(0, 0)

Image = tuple[int, ...]
"""Values of the counters in `IMAGES`."""


@dataclass(eq=False)
class _Arriving:
    """The readouts of a slice that have arrived so far.

    Attributes
    ----------
    images
        Images and averages with at least one line.
    lines
        Lines of these images.
    ended
        Images whose last line has arrived, according to its flag.
    n_readouts
        Number of readouts.
    has_last_flag
        Whether the latest readout has the flag ``last in slice``.
    """

    images: set[tuple[Image, int]] = field(default_factory=set)
    lines: set[tuple[Image, int, int]] = field(default_factory=set)
    ended: set[Image] = field(default_factory=set)
    n_readouts: int = 0
    has_last_flag: bool = False


class SliceArrival:
    """Detection of complete slices of a scan from the headers of its readouts, in the order of arrival.

    Attributes
    ----------
    is_sure
        Whether slices can be complete before the end: counters agree with the header, and no readout of a complete
        slice has arrived later.
    complete
        Counters of the complete slices, in the order of completion.
    """

    def __init__(self, header: MrdHeader) -> None:
        self._encodings = header.encodings
        self._encoding: int | None = None
        self._limits: Mapping[str, Limit] = {}
        self._n_images = 1
        self.is_sure = True
        self.complete: list[int] = []
        self._slices: dict[int, _Arriving] = {}
        self._current: int | None = None
        self._is_interleaved = False

    def add(self, head: np.void) -> list[int]:
        """Add a readout, and return the counters of the slices that it completes."""
        if not is_image_line(head):
            return []
        self._choose_encoding(int(head["encoding_space_ref"]))
        idx = head["idx"]
        number = int(idx["slice"])
        before = len(self.complete)
        if number in self.complete or not self._is_within_limits(idx):
            self.is_sure = False
        if number != self._current:
            self._is_interleaved |= number in self._slices
            if self._current is not None:
                self._leave_slice(self._current)
            self._current = number
        self._note(self._slices.setdefault(number, _Arriving()), head)
        if self.is_sure and number not in self.complete and self._has_ended(number, head):
            self.complete.append(number)
        return self.complete[before:] if self.is_sure else []

    def after_end(self) -> list[int]:
        """Counters of further slices that are treated as complete if the scan is aborted.

        These are the slices before the last one that have lines in every image, unless slices are interleaved.
        """
        if self._is_interleaved or not self.is_sure:
            return []
        others = [number for number in self._slices if number not in (*self.complete, self._current)]
        return [number for number in others if self._has_all_images(number)]

    @property
    def incomplete(self) -> list[int]:
        """Counters of the slices with readouts that are not complete."""
        return [number for number in self._slices if number not in self.complete]

    def _choose_encoding(self, number: int) -> None:
        """Use the limits of the encoding of the first image line; with several encodings, completion is not certain."""
        if self._encoding is None and number < len(self._encodings):
            self._encoding, self._limits = number, self._encodings[number].limits
            self._n_images = prod(self._n_values(name) for name in IMAGES)
        self.is_sure = self.is_sure and number == self._encoding

    def _n_values(self, name: str) -> int:
        return self._limits.get(name, NO_LIMIT).n_values

    @property
    def _n_lines(self) -> int:
        """Number of lines within the limits; 0 if the limits are unknown."""
        return self._n_values("kspace_encoding_step_1") if "kspace_encoding_step_1" in self._limits else 0

    def _is_within_limits(self, idx: np.void) -> bool:
        names = ("average", *IMAGES, *(["slice"] if "slice" in self._limits else []))
        return all(int(idx[name]) <= self._limits.get(name, NO_LIMIT).maximum for name in names)

    def _note(self, arriving: _Arriving, head: np.void) -> None:
        idx = head["idx"]
        image = tuple(int(idx[name]) for name in IMAGES)
        average = int(idx["average"])
        arriving.n_readouts += 1
        arriving.images.add((image, average))
        arriving.lines.add((image, average, int(idx["kspace_encode_step_1"])))
        arriving.has_last_flag = bool(has_flag(head, LAST_IN_SLICE))
        if arriving.has_last_flag and average == self._limits.get("average", NO_LIMIT).maximum:
            arriving.ended.add(image)

    def _has_all_images(self, number: int) -> bool:
        return len(self._slices[number].images) == self._n_images * self._n_values("average")

    def _has_ended(self, number: int, head: np.void) -> bool:
        """Whether flags or limits show that a slice is complete; False if the header has one image per slice."""
        arriving = self._slices[number]
        if self._n_images == 1 or not self._has_all_images(number):
            return False
        if has_flag(head, LAST_IN_MEASUREMENT) or len(arriving.ended) == self._n_images:
            return True
        return len(arriving.lines) == self._n_images * self._n_values("average") * self._n_lines

    def _leave_slice(self, number: int) -> None:
        """Decide whether a slice is complete when a readout of another slice follows."""
        if self._is_interleaved or not self.is_sure or number in self.complete or not self._has_all_images(number):
            return
        arriving = self._slices[number]
        is_covered = len({line for *_, line in arriving.lines}) == self._n_lines
        is_like_others = any(arriving.n_readouts == self._slices[other].n_readouts for other in self.complete)
        if arriving.has_last_flag or is_covered or is_like_others:
            self.complete.append(number)


def rows_of_slice(heads: Heads, number: int) -> Index:
    """The readouts needed to reconstruct one slice: its own readouts and noise readouts."""
    return np.flatnonzero((heads["idx"]["slice"] == number) | has_flag(heads, NOISE))


def with_one_slice(header: MrdHeader, number: int) -> MrdHeader:
    """The header of a scan with the limits of the slice counter reduced to one slice."""
    own = Limit(number, number)
    encodings = (
        replace(encoding, limits={name: own if name == "slice" else limit for name, limit in encoding.limits.items()})
        for encoding in header.encodings
    )
    return replace(header, encodings=tuple(encodings))
