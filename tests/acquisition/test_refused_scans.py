"""Scans that are refused, each with an error that names the reason, and similar scans that are read."""

from collections.abc import Callable

import h5py
import numpy as np
import pytest
import torch
from helpers import relative_error
from raw_scan import RawFile, small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.inspection import inspect_scan
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import CineReconError, DataError, HeaderError, UnsupportedError
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

PLAIN = AcquisitionConfig(csm="walsh")


def rows_of(scan, **counters):
    chosen = np.full(len(scan.heads), True)
    for name, value in counters.items():
        chosen &= scan.heads["idx"][name] == value
    return np.flatnonzero(chosen)


@pytest.mark.parametrize(("factor", "words"), [(1e30, "a sample of"), (1e-30, "the largest sample is")])
def test_impossible_scales_are_refused(tmp_path, factor, words):
    scan = small_scan()
    scan.samples = [np.complex64(factor) * samples for samples in scan.samples]
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(DataError, match=words) as caught:
        inspect_scan(path, PLAIN)
    assert str(path) in caught.value.where


def test_unsigned_samples_are_refused(tmp_path):
    """An offset binary: as signed numbers it would be an image of its offset."""
    scan = small_scan()
    scan.samples = [np.round(1000 * samples) + (32768 + 32768j) for samples in scan.samples]
    with pytest.raises(DataError, match="unsigned integers"):
        open_scan(scan.write(tmp_path / "scan.h5", numbers=np.uint16), PLAIN)


def test_exceeding_the_memory_limit_is_an_error(tmp_path):
    path = small_scan().write(tmp_path / "scan.h5")
    with pytest.raises(DataError, match="limit 1e-06 GB"):
        open_scan(path, AcquisitionConfig(memory_limit_gb=1e-6))


def set_head(name: str, row: int | slice, value: float) -> Callable[[RawFile], None]:
    def bend(scan: RawFile) -> None:
        scan.heads[name][row] = value

    return bend


def set_counter(name: str, row: int | slice, value: int) -> Callable[[RawFile], None]:
    def bend(scan: RawFile) -> None:
        scan.heads["idx"][name][row] = value

    return bend


def set_space(**values) -> Callable[[RawFile], None]:
    return lambda scan: scan.space.update(values)


def set_limit(name: str, maximum: int, centre: int = 0) -> Callable[[RawFile], None]:
    return lambda scan: scan.space["limits"].update({name: (maximum, centre)})


def lose(**counters) -> Callable[[RawFile], None]:
    def bend(scan: RawFile) -> None:
        lost = rows_of(scan, **counters)
        scan.keep([i for i in range(len(scan.heads)) if i not in lost])

    return bend


def repeat(factor: complex = 1, **counters: int) -> Callable[[RawFile], None]:
    """Measure every line again, as much larger, with these counters."""

    def bend(scan: RawFile) -> None:
        for row in range(len(scan.heads)):
            head = scan.append(row, np.complex64(factor) * scan.samples[row])
            for name, value in counters.items():
                head["idx"][name] = value

    return bend


def other_channels(scan: RawFile) -> None:
    scan.append(5, scan.samples[5][:2])


def radial_trajectory(scan: RawFile) -> None:
    scan.heads["trajectory_dimensions"] = 2
    angles = np.linspace(0, np.pi, len(scan.heads), endpoint=False)
    along = np.linspace(-0.5, 0.5, 32)
    scan.trajectories = [np.stack([np.cos(a) * along, np.sin(a) * along], 1).astype(np.float32) for a in angles]


BENT = {
    "dangling encoding": (set_head("encoding_space_ref", 9, 3), HeaderError, "encoding_space_ref is 3"),
    "compressed": (lambda s: s.flag(9, 53), UnsupportedError, "flag 53"),
    "only noise": (lambda s: [s.flag(i, 19) for i in range(36)], DataError, "only noise readouts"),
    "centre sample": (set_head("center_sample", slice(None), 400), DataError, "center_sample is 400 of 32 samples"),
    "centre does not fit": (set_head("center_sample", 9, 10), DataError, "center_sample 10 puts 32 samples"),
    "centre line": (set_limit("kspace_encoding_step_1", 11, 99), HeaderError, r"centre is 99, outside 0\.\.11"),
    "line": (set_counter("kspace_encode_step_1", 9, 200), DataError, "kspace_encode_step_1 = 200, limit 11"),
    "phase": (set_counter("phase", 9, 40), HeaderError, "phase = 40, limit 2"),
    "slice": (set_counter("slice", 9, 40), HeaderError, "slice = 40, limit 0"),
    "channels": (other_channels, DataError, "acquisition 36 has 2 channels, the others 3"),
    "echo discarded": (set_head("discard_post", slice(None), 18), DataError, "outside the used samples 0 to 13"),
    "all discarded": (set_head("discard_pre", 9, 32), DataError, "none remain"),
    "radial stored": (radial_trajectory, UnsupportedError, "the stored trajectory is not"),
    "radial header": (set_space(trajectory="radial"), UnsupportedError, "trajectory is radial"),
    "epi header": (set_space(trajectory="epi"), UnsupportedError, "EPI"),
    "3-D header": (set_space(depth=8), UnsupportedError, "3-D scan"),
    "3-D data": (set_counter("kspace_encode_step_2", 9, 4), UnsupportedError, "3-D scan"),
    "two sets": (set_counter("set", slice(5, None), 1), UnsupportedError, "2 sets"),
    "first frame missing": (lose(phase=0), DataError, "frame 0 of 3 holds no lines"),
    "last frame missing": (lose(phase=2), DataError, "frame 2 of 3 holds no lines"),
    "frame missing in a slice": (lose(phase=1, slice=0), DataError, "frame 1"),
    "65536 phases": (set_limit("phase", 65535), DataError, "phase counts to 65535, the data contain 3 values"),
    "terabytes": (set_space(matrix=(65535, 65535)), HeaderError, "TB of k-space, limit is 1 TB|rows|samples"),
    "matrix of another scan": (set_space(matrix=(32, 640)), HeaderError, "640 rows, the data only have lines up to 11"),
    "wide matrix": (set_space(matrix=(640, 12), fov=(12800.0, 240.0)), HeaderError, "oversampling of 40 is not valid"),
    "short readouts": (set_space(matrix=(320, 12)), DataError, "encodedSpace x is 320, but"),
    "field of view": (set_space(recon_fov=(1280.0, 240.0)), HeaderError, "oversampling of 0.5 is not valid"),
    "phases and repetitions": (repeat(repetition=1), UnsupportedError, "3 phases x 2 repetitions"),
}


@pytest.mark.parametrize("name", BENT)
def test_inconsistent_scans_are_refused(tmp_path, name):
    bend, error, words = BENT[name]
    scan = small_scan()
    bend(scan)
    path = scan.write(tmp_path / "scan.h5")
    with pytest.raises(error, match=words) as caught:
        open_scan(path, PLAIN)
    assert str(path) in caught.value.where


def test_all_zero_is_refused(tmp_path):
    scan = small_scan()
    scan.samples = [0 * samples for samples in scan.samples]
    path = scan.write(tmp_path / "scan.h5")
    for attempt in (lambda: inspect_scan(path, PLAIN), lambda: open_scan(path, PLAIN).read_slice(0)):
        with pytest.raises(DataError, match="all samples are zero"):
            attempt()


def test_cartesian_trajectory_is_read(read):
    scan = small_scan()
    scan.heads["trajectory_dimensions"] = 2
    along = (np.arange(32) - 16) / 32
    lines = (scan.heads["idx"]["kspace_encode_step_1"].astype(int) - 6) / 12
    scan.trajectories = [np.stack([along, np.full(32, ky)], 1).astype(np.float32) for ky in lines]
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_a_trajectory_of_zeros_is_not_a_trajectory(read):
    scan = small_scan()
    scan.heads["trajectory_dimensions"] = 2
    scan.trajectories = [np.zeros((32, 2), np.float32) for _ in scan.heads]
    assert relative_error(read(scan).kspace, scan.kspace[0]) < 1e-5


def test_errors_are_ours(tmp_path):
    with pytest.raises(CineReconError):
        open_scan(tmp_path / "missing.h5")
    opened = open_scan(small_scan().write(tmp_path / "scan.h5"), PLAIN)
    with pytest.raises(DataError, match="only slice 0"):
        opened.read_slice(1)


def test_oblique_readouts_are_refused(tmp_path):
    scan = small_scan()
    scan.heads["trajectory_dimensions"] = 2
    along = (np.arange(32) - 16) / 32
    scan.trajectories = [np.stack([along, 0.1 * along], 1).astype(np.float32) for _ in scan.heads]
    with pytest.raises(UnsupportedError, match="the stored trajectory is not"):
        open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)


@pytest.mark.parametrize("settings", [{}, {"segments": 4, "rr_variation": 0.1, "ecg": True}], ids=["frames", "gated"])
@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("is_whole", [True, False], ids=["whole slice", "one readout"])
def test_only_the_slice_with_samples_that_are_not_finite_is_refused(tmp_path, settings, damaged, is_whole):
    path = tmp_path / "scan.h5"
    simulate_scan(path, SimulateConfig(ky=16, kx=16, n_frames=6, n_coils=2, n_slices=3, **settings))
    intact = open_scan(path, PLAIN)
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][()]
        own = np.flatnonzero((rows["head"]["idx"]["slice"] == damaged) & (rows["head"]["flags"] & (1 << 18) == 0))
        own = own if is_whole else own[[np.argmax([np.abs(rows["data"][row]).max() for row in own])]]
        for row in own:
            rows["data"][row][5] = np.nan
        file["dataset/data"][...] = rows
    scan = open_scan(path, PLAIN)
    with pytest.raises(DataError, match=f"NaN in acquisition {own[0]}"):
        scan.read_slice(damaged)
    for number in {0, 1, 2} - {damaged}:
        assert torch.equal(scan.read_slice(number).kspace, intact.read_slice(number).kspace)
