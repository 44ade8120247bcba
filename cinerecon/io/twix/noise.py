"""The noise of the coils of a twix scan, which scanners measure in an adjustment before it, in the same file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cinerecon.errors import CineReconError
from cinerecon.io.ismrmrd.raw import NOISE, Index, RawScan, SampleStore, has_flag
from cinerecon.io.twix.measurements import Measurement, list_measurements
from cinerecon.io.twix.readouts import TwixSamples
from cinerecon.io.twix.scan import read_measurement


def find_noise(scan: RawScan, like: RawScan | None = None) -> RawScan | None:
    """The measurement in the same file with noise readouts of the same channels in the same order; None without one.

    Adjustments precede the scan: the last one before it is preferred.

    With ``like`` the channels are those of another scan.
    """
    measurements = list_measurements(scan.path)
    own = next(part for part in measurements if part.label == scan.group)
    others = [*reversed(measurements[: own.number - 1]), *measurements[own.number :]]
    return next((noise for part in others if (noise := _noise_of(scan.path, part, like or scan)) is not None), None)


def _noise_of(path: Path, measurement: Measurement, scan: RawScan) -> RawScan | None:
    """The measurement of a file if it has noise readouts of the channels of the scan, otherwise None."""
    try:
        other = read_measurement(path, measurement)
    except CineReconError:  # the scan can be read without it
        return None
    rows = np.flatnonzero(has_flag(other.heads, NOISE))
    image = int(np.flatnonzero(~has_flag(scan.heads, NOISE))[0])
    if rows.size == 0 or not (isinstance(scan.store, TwixSamples) and isinstance(other.store, TwixSamples)):
        return None
    is_alike = np.array_equal(other.store.channel_ids(int(rows[0])), scan.store.channel_ids(image))
    return other if is_alike else None


@dataclass(frozen=True, eq=False)
class JoinedSamples:
    """The samples of some readouts of one measurement, then those of another.

    Attributes
    ----------
    first
        Samples of the measurement whose readouts come first.
    rows
        Numbers of these readouts.
    second
        Samples of the other measurement.
    """

    first: SampleStore
    rows: Index
    second: SampleStore

    def read(self, name: Literal["data", "traj"], rows: Index) -> NDArray[np.object_]:
        """The samples or the trajectories of some readouts."""
        stored, is_first = np.empty(len(rows), object), rows < len(self.rows)
        if is_first.any():
            stored[is_first] = self.first.read(name, self.rows[rows[is_first]])
        if not is_first.all():
            stored[~is_first] = self.second.read(name, rows[~is_first] - len(self.rows))
        return stored


def with_noise(scan: RawScan) -> RawScan:
    """A measurement preceded by noise readouts of another one in its file, unless it has its own.

    Converted to another format, it then gives the same images.
    """
    if not isinstance(scan.store, TwixSamples) or has_flag(scan.heads, NOISE).any():
        return scan
    noise = find_noise(scan)
    if noise is None:
        return scan
    rows = np.flatnonzero(has_flag(noise.heads, NOISE))
    return replace(
        scan,
        heads=np.concatenate([noise.heads[rows], scan.heads]),
        amplitude=np.concatenate([noise.amplitude[rows], scan.amplitude]),
        store=JoinedSamples(noise.store, rows, scan.store),
        warnings=(*scan.warnings, f"{len(rows)} noise readouts of {noise.group} precede the scan"),
    )
