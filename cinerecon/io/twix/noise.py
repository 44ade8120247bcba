"""Noise readouts of a twix scan, which scanners store as a preceding adjustment measurement in the same file."""

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
    """Find the measurement in the same file that has noise readouts of the same channels in the same order.

    The last one before the scan is preferred.

    Parameters
    ----------
    scan
        A measurement of a twix file.
    like
        The scan whose channels the noise must have; by default ``scan``.

    Returns
    -------
        The noise measurement; None if there is none.
    """
    measurements = list_measurements(scan.path)
    own = next(part for part in measurements if part.label == scan.group)
    others = [*reversed(measurements[: own.number - 1]), *measurements[own.number :]]
    return next((noise for part in others if (noise := _noise_of(scan.path, part, like or scan)) is not None), None)


def _noise_of(path: Path, measurement: Measurement, scan: RawScan) -> RawScan | None:
    """Read a measurement; None if it has no noise readouts of the channels of the scan."""
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
    """The samples of some readouts of one measurement, followed by all samples of another one.

    Attributes
    ----------
    first
        Samples of the first measurement.
    rows
        Indices of the readouts that are used of it.
    second
        Samples of the second measurement.
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
    """Prepend the noise readouts of another measurement in the file, unless the scan has noise readouts.

    After conversion to another format, the scan then gives the same images.
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
