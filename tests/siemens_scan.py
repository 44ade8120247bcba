"""Scans as a Siemens scanner stores them, to compare twix files with other formats."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from raw_scan import PHASE, READ, RawFile, small_scan
from twix_file import TwixMeasurement, measurement_of, noise_measurement, write_twix

from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
from cinerecon.io.ismrmrd.raw import has_flag

SLICE = np.cross(PHASE, READ)
"""Siemens directions are right-handed in the order phase, read, slice."""


def siemens_scan(**sizes) -> RawFile:
    """A scan with times and directions as a Siemens scanner stores them."""
    scan = small_scan(**sizes)
    scan.heads["slice_dir"] = SLICE
    scan.heads["position"] += np.float32([3.5, -20.25, 41.0])
    scan.heads["acquisition_time_stamp"] = 14_000_000 + np.arange(len(scan.heads))
    scan.heads["physiology_time_stamp"][:, 0] = np.arange(len(scan.heads)) % 300
    scan.space["extra"] = "<sequenceParameters><TR>40</TR></sequenceParameters>"
    return scan


def as_twix(scan: RawFile, **parameters):
    n = {
        name: int(scan.heads["idx"][counter].max()) + 1
        for name, counter in (("n_frames", "phase"), ("n_slices", "slice"))
    }
    x, y = scan.space["recon"]
    rows = scan.space["matrix"][1]
    return measurement_of(scan.heads, scan.samples, matrix=(y, x), rows=rows, fov_mm=(240.0, 320.0), **n, **parameters)


def siemens_copy(path: Path, change: Callable[[TwixMeasurement], None] = lambda _: None) -> Path:
    """Write a simulated scan like a Siemens scanner: with mirrored k-space, and noise in a separate measurement."""
    raw = read_mrd(path)
    is_noise = has_flag(raw.heads, 19)
    noise, lines = (np.flatnonzero(chosen) for chosen in (is_noise, ~is_noise))
    space = raw.header.encodings[0].encoded
    ky, kx = space.matrix[1], space.matrix[0]
    heads = raw.heads.copy()
    heads["slice_dir"] = np.cross(heads["phase_dir"], heads["read_dir"])
    heads["idx"]["kspace_encode_step_1"] = -heads["idx"]["kspace_encode_step_1"].astype(int) % ky
    part = measurement_of(
        heads[lines],
        [np.roll(samples[:, ::-1], 1, axis=1) for samples in raw.samples(lines)],
        matrix=(ky, kx // 2),
        fov_mm=(space.fov_mm[1], space.fov_mm[0] / 2),
        thickness_mm=space.fov_mm[2],
        n_frames=int(heads["idx"]["phase"].max()) + 1,
        n_slices=int(heads["idx"]["slice"].max()) + 1,
    )
    part.meas_yaps["alTR[0]"] = 3000
    change(part)
    adjustment = noise_measurement(part, heads[noise], list(raw.samples(noise)))
    return write_twix(path.with_suffix(".dat"), adjustment, part)
