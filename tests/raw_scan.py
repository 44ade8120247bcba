"""A small raw ISMRMRD scan with known k-space, which tests modify before it is written."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from conftest import beating_cine, coil_maps
from helpers import relative_error
from ismrmrd.hdf5 import acquisition_dtype
from numpy.typing import NDArray

from cinerecon.acquisition.scan import Scan
from cinerecon.physics.fourier import fft2c

READ, PHASE, SLICE = np.array([0.6, 0.8, 0.0]), np.array([-0.8, 0.6, 0.0]), np.array([0.0, 0.0, 1.0])


@dataclass
class RawFile:
    """Header values, readouts and truth of a scan. Tests may change any of them before `write`."""

    space: dict[str, Any]
    heads: NDArray[np.void]
    samples: list[NDArray[np.complex64]]
    images: torch.Tensor  # (slices, frames, y, x)
    csm: torch.Tensor  # (coils, y, x)
    trajectories: list[NDArray[np.float32]] = field(default_factory=list)
    group: str = "dataset"

    @property
    def kspace(self) -> torch.Tensor:
        """``(slices, frames, coils, y, x)`` the expected k-space without noise."""
        return fft2c(self.images.unsqueeze(-3) * self.csm).to(torch.complex64)

    def keep(self, rows: NDArray[np.bool_] | list[int]) -> None:
        """Keep these readouts only."""
        chosen = np.arange(len(self.heads))[rows]
        self.heads = self.heads[chosen]
        self.samples = [self.samples[i] for i in chosen]

    def append(self, row: int, samples: NDArray[np.complex64] | None = None) -> NDArray[np.void]:
        """Append a copy of a readout, with other samples if given, and return its header, which may be changed."""
        self.heads = np.concatenate([self.heads, self.heads[row : row + 1]])
        self.samples.append(self.samples[row] if samples is None else samples)
        if samples is not None:
            self.heads[-1]["active_channels"], self.heads[-1]["number_of_samples"] = samples.shape
        return self.heads[-1:]

    def repeat(self, factor: complex = 1, **counters: int) -> None:
        """Append every readout again, multiplied by a factor, with these counters."""
        for row in range(len(self.heads)):
            head = self.append(row, (factor * self.samples[row]).astype(np.complex64))
            for name, value in counters.items():
                head["idx"][name] = value

    def flag(self, row: int, number: int) -> None:
        """Set an acquisition flag."""
        self.heads["flags"][row] |= np.uint64(1 << (number - 1))

    def write(self, path: Path, *, numbers: Any = np.float32, mode: str = "w") -> Path:
        """Write the file like the C++ library: one chunk per readout, of variable length."""
        vlen = h5py.vlen_dtype(numbers)
        dtype = np.dtype([("head", acquisition_dtype["head"]), ("traj", h5py.vlen_dtype(np.float32)), ("data", vlen)])
        rows = np.zeros(len(self.heads), dtype)
        rows["head"] = self.heads
        complex_numbers = np.dtype(numbers).kind == "c"
        for i, samples in enumerate(self.samples):
            flat = np.ascontiguousarray(samples, np.complex64).ravel()
            rows[i]["data"] = flat.astype(numbers) if complex_numbers else flat.view(np.float32).astype(numbers)
            rows[i]["traj"] = self.trajectories[i].ravel() if self.trajectories else np.zeros(0, np.float32)
        with h5py.File(path, mode) as file:
            group = file.create_group(self.group)
            text = group.create_dataset("xml", (1,), h5py.special_dtype(vlen=bytes))
            text[0] = header_xml(**self.space).encode()
            group.create_dataset("data", data=rows, maxshape=(None,), chunks=(1,))
        return path


def assert_slices(scan: Scan, expected: torch.Tensor) -> None:
    """Check k-space of each slice, ``(slices, frames, coils, y, x)``, where it was measured."""
    assert scan.n_slices == len(expected)
    for number, kspace in enumerate(expected):
        data = scan.read_slice(number)
        assert relative_error(data.kspace, kspace * data.mask) < 1e-5


def warned(scan: Scan, *words: str) -> bool:
    """Whether all of these words occur in the warnings of an opened scan."""
    return all(any(word in warning for warning in scan.warnings) for word in words)


def small_scan(
    *,
    matrix: tuple[int, int] = (12, 16),
    n_frames: int = 3,
    n_slices: int = 1,
    n_coils: int = 3,
    oversampling: int = 2,
    rows: int | None = None,
    vendor: str = "SIEMENS",
) -> RawFile:
    """A fully sampled scan without noise, in units where the image is about 1.

    Parameters
    ----------
    matrix
        Image size (y, x).
    rows
        Rows of the encoded grid, more than y for phase oversampling.
    """
    y, x = matrix
    ky, kx = rows or y, oversampling * x
    images = torch.stack([beating_cine(n_frames, matrix) * (1 + 0.3 * n) for n in range(n_slices)])
    csm = coil_maps(n_coils, matrix)
    wide = torch.zeros(n_slices, n_frames, n_coils, ky, kx, dtype=torch.complex128)
    top, left = ky // 2 - y // 2, kx // 2 - x // 2
    wide[..., top : top + y, left : left + x] = images.unsqueeze(-3) * csm
    if vendor.lower().startswith("siemens"):  # image = FFT(k): the conjugate of fft2c of the conjugate
        kspace = fft2c(wide.conj()).conj().resolve_conj().numpy()
    else:
        kspace = fft2c(wide).numpy()
    heads = np.zeros(n_slices * n_frames * ky, acquisition_dtype["head"])
    samples = []
    for i, (s, t, line) in enumerate(np.ndindex(n_slices, n_frames, ky)):
        samples.append(kspace[s, t, :, line].astype(np.complex64))
        for name, value in (("slice", s), ("phase", t), ("kspace_encode_step_1", line)):
            heads["idx"][name][i] = value
        heads["position"][i] = 10.0 * s * SLICE
    heads["version"], heads["number_of_samples"], heads["center_sample"] = 1, kx, kx // 2
    heads["available_channels"] = heads["active_channels"] = n_coils
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = READ, PHASE, SLICE
    heads["sample_time_us"] = 2.0
    space = {"matrix": (kx, ky), "fov": (oversampling * 320.0, 240.0 * ky / y), "recon": (x, y)}
    limits = {"kspace_encoding_step_1": (ky - 1, ky // 2), "slice": (n_slices - 1, 0), "phase": (n_frames - 1, 0)}
    return RawFile(
        {**space, "recon_fov": (320.0, 240.0), "limits": limits, "vendor": vendor}, heads, samples, images, csm
    )


def without_oversampling(scan: RawFile) -> RawFile:
    """Crop the readouts to the field of view of the image, like a converter; with the sign convention of Siemens."""
    n = scan.samples[0].shape[-1] // 2
    for i, samples in enumerate(scan.samples):
        image = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(samples, axes=-1), axis=-1), axes=-1)
        image = image[:, n - n // 2 : n - n // 2 + n] / np.sqrt(2)
        cropped = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(image, axes=-1), axis=-1), axes=-1)
        scan.samples[i] = cropped.astype(np.complex64)
    scan.heads["number_of_samples"] = n
    return scan


def header_xml(
    matrix: tuple[int, int],
    fov: tuple[float, float],
    recon: tuple[int, int],
    recon_fov: tuple[float, float],
    limits: dict[str, tuple[int, ...]],
    vendor: str = "SIEMENS",
    trajectory: str = "cartesian",
    depth: int = 1,
    thickness: float = 8,
    extra: str = "",
    extra_encoding: str = "",
) -> str:
    """The XML header; ``extra_encoding`` ends the encoding, ``extra`` follows it.

    Limits are maximum, centre and, unless 0, minimum.
    """

    def space(name: str, size: tuple[int, int], length: tuple[float, float]) -> str:
        sizes = f"<matrixSize><x>{size[0]}</x><y>{size[1]}</y><z>{depth}</z></matrixSize>"
        lengths = f"<x>{length[0]}</x><y>{length[1]}</y><z>{thickness}</z>"
        return f"<{name}>{sizes}<fieldOfView_mm>{lengths}</fieldOfView_mm></{name}>"

    ranges = "".join(
        f"<{name}><minimum>{sum(least)}</minimum><maximum>{largest}</maximum><center>{centre}</center></{name}>"
        for name, (largest, centre, *least) in limits.items()
    )
    return (
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><acquisitionSystemInformation>'
        f"<systemVendor>{vendor}</systemVendor></acquisitionSystemInformation><encoding>"
        f"{space('encodedSpace', matrix, fov)}{space('reconSpace', recon, recon_fov)}"
        f"<encodingLimits>{ranges}</encodingLimits><trajectory>{trajectory}</trajectory>{extra_encoding}</encoding>"
        f"{extra}</ismrmrdHeader>"
    )
