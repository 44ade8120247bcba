"""Agreement of the readouts near the centre of k-space, which damages of known kinds destroy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_scan import RawFile, small_scan

from cinerecon.acquisition.checks.array_table import line_warnings
from cinerecon.acquisition.checks.displacement import Displacement, find_displacement
from cinerecon.acquisition.checks.stored_kspace import StoredSlice
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine, simulate_scan
from cinerecon.words import name_frames

PLAIN = AcquisitionConfig(csm="walsh")
REPORTED = (
    "line numbers",
    "opposite direction",
    "phase of the central lines",
    "seems",
    "only noise",
    "sign of",
    "edges of",
    "a different order",
)


@pytest.fixture
def scan() -> RawFile:
    scan = small_scan(matrix=(32, 32), n_frames=6, n_coils=4)
    generator = np.random.default_rng(0)
    for samples in scan.samples:
        noise = generator.normal(size=(2, *samples.shape))
        samples += (1e-3 * (noise[0] + 1j * noise[1])).astype(np.complex64)
    return scan


def reported(scan: RawFile, path: Path) -> list[str]:
    warnings = open_scan(scan.write(path / "scan.h5"), PLAIN).plan.warnings
    return [text for text in warnings if any(word in text for word in REPORTED)]


def multiply(scan: RawFile, factor: Callable[[int, int], complex]) -> None:
    """Multiply each readout by a function of its frame and number."""
    for row, frame in enumerate(scan.heads["idx"]["phase"].astype(int)):
        scan.samples[row] = (scan.samples[row] * factor(frame, row)).astype(np.complex64)


def displace(scan: RawFile, rows: np.ndarray, n_samples: int) -> None:
    for row in rows:
        scan.samples[row] = np.roll(scan.samples[row], n_samples, -1)


def test_an_intact_scan_is_not_reported(scan, tmp_path):
    assert reported(scan, tmp_path) == []


@pytest.mark.parametrize(
    "phase",
    [
        lambda frame, _: np.pi * frame,
        lambda frame, _: 2 * np.pi * frame / 6,
        lambda _, row: np.random.default_rng(row).uniform(0, 2 * np.pi),
    ],
    ids=["alternating", "drift", "random"],
)
def test_a_phase_that_changes_over_frames_is_reported(scan, tmp_path, phase):
    multiply(scan, lambda frame, row: np.exp(1j * phase(frame, row)))
    texts = reported(scan, tmp_path)
    coherence = [float(text.split("coherence ")[1][:4]) for text in texts if "coherence" in text]
    assert len(coherence) == 1 and coherence[0] < 0.6


VENC = "<userParameters><userParameterDouble><name>VENC</name><value>150</value></userParameterDouble></userParameters>"


@pytest.mark.parametrize(("header", "period", "n_reported"), [(VENC, 2, 1), (VENC, 4, 1), (VENC, 1, 0), ("", 2, 0)])
@pytest.mark.parametrize("n_frames", [12, 13])
def test_velocity_encodings_that_are_numbered_as_frames_are_reported(tmp_path, header, period, n_reported, n_frames):
    scan = small_scan(matrix=(32, 32), n_frames=n_frames, n_coils=4)
    multiply(scan, lambda frame, _: np.exp(0.3j * (frame % period)))
    scan.space["extra"] = header
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert sum("VENC of 150 cm/s" in text for text in warnings) == n_reported


def test_a_small_change_of_phase_is_not_reported(scan, tmp_path):
    multiply(scan, lambda frame, _: np.exp(0.3j * np.sin(frame)))
    assert reported(scan, tmp_path) == []


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("frames", [[2], [3, 4, 5]])
def test_frames_with_coils_in_another_order_are_reported(scan, tmp_path, frames, step):
    scan.keep(scan.heads["idx"]["kspace_encode_step_1"] % step == 0)
    for row in np.flatnonzero(np.isin(scan.heads["idx"]["phase"], frames)):
        scan.samples[row] = scan.samples[row][[1, 2, 0, 3]]
    texts = reported(scan, tmp_path)
    assert [text.partition(":")[0] for text in texts if "a different order" in text] == [name_frames(frames)]


@pytest.mark.parametrize("step", [1, -1])
def test_a_frame_whose_lines_have_wrong_numbers_is_reported(scan, tmp_path, step):
    lines = scan.heads["idx"]["kspace_encode_step_1"].astype(int)
    own = scan.heads["idx"]["phase"] == 2
    scan.heads["idx"]["kspace_encode_step_1"] = np.where(own, lines + step, lines)
    scan.keep(~own | ((lines + step >= 0) & (lines + step < 32)))
    (text,) = reported(scan, tmp_path)
    assert text.startswith("frame 2: the central lines resemble adjacent lines")


@pytest.mark.parametrize("line_sum", [32, 31])
@pytest.mark.parametrize("mirrored", [[2], [1, 3, 5], [4, 5]])
@pytest.mark.parametrize("step", [1, 3])
def test_frames_whose_lines_are_numbered_backwards_are_reported(scan, tmp_path, mirrored, line_sum, step):
    """Mirrored about the centre or about the middle of the grid, also if every third line was measured."""
    lines, frames = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
    own = np.isin(frames, mirrored)
    is_measured = (lines + frames) % step == 0
    scan.heads["idx"]["kspace_encode_step_1"] = np.where(own, (line_sum - lines) % 32, lines)
    scan.keep(is_measured | (abs(lines - 16) < 4))
    (text,) = reported(scan, tmp_path)
    assert text.startswith(f"{name_frames(mirrored)}: lines are numbered in the opposite direction")


@pytest.mark.parametrize("n_samples", [1, -2])
def test_displaced_lines_are_reported(scan, tmp_path, n_samples):
    displace(scan, np.flatnonzero(scan.heads["idx"]["kspace_encode_step_1"] % 2), n_samples)
    (text,) = reported(scan, tmp_path)
    assert f"every other line seems to be displaced by {abs(n_samples)} sample" in text


@pytest.mark.parametrize("n_samples", [0, 1])
def test_displaced_and_negated_readouts_are_found_by_their_order_in_time(scan, tmp_path, n_samples):
    """Lines are measured in a random order, so that every other readout is not every other line."""
    scan.keep(np.random.default_rng(2).permutation(len(scan.samples)).tolist())
    odd = np.arange(1, len(scan.samples), 2)
    if n_samples:
        displace(scan, odd, n_samples)
    else:
        multiply(scan, lambda _, row: (-1.0) ** row)
    texts = reported(scan, tmp_path)
    what = "to be displaced by 1 sample along kx" if n_samples else "to have the opposite sign"
    assert any(f"every other readout seems {what}" in text for text in texts)


def test_lines_without_others_next_to_them_are_not_examined(scan):
    ky = np.arange(-12, 13, 4)
    samples = np.random.default_rng(0).normal(size=(len(ky), 4, 64)).astype(np.complex64)
    assert find_displacement(samples, ky, None) is None


@pytest.mark.parametrize("seed", [0, 1])
def test_an_intact_scan_of_two_coils_is_not_reported(seed, tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=6, ky=96, kx=96, n_coils=2, seed=seed))
    warnings = open_scan(tmp_path / "scan.h5").read_slice(0).meta.warnings
    assert not any("displaced" in text for text in warnings)


def test_displaced_lines_of_an_array_are_found(scan):
    kspace = scan.kspace[0].clone()
    generator = torch.Generator().manual_seed(0)
    kspace += 1e-3 * torch.randn(kspace.shape, generator=generator, dtype=torch.complex64)
    mask = torch.ones(6, 1, 32, 1, dtype=torch.bool)
    assert list(line_warnings(StoredSlice(kspace, mask, "", ""), 32)) == []
    kspace[:, :, 1::2] = kspace[:, :, 1::2].roll(1, -1)
    (text,) = line_warnings(StoredSlice(kspace, mask, "", ""), 32)
    assert "every other line seems to be displaced by 1 sample along kx" in text
    samples = kspace[0].movedim(1, 0).numpy()
    assert find_displacement(samples, np.arange(32) - 16, None) == Displacement("every other line", 1)


def test_frames_of_a_narrow_image_are_not_shifted_by_its_width():
    """Shifts of up to 16 pixels were tried for 12 columns, so that no shift was found as one of 12 or 24 pixels."""
    settings = {"n_frames": 6, "ky": 96, "kx": 12, "n_coils": 4, "seed": 1, "undersample": "gaussian:4,acs=6"}
    data = simulate_cine(SimulateConfig(**settings))[0]
    texts = line_warnings(StoredSlice(data.kspace, data.mask, "", ""), data.matrix[0])
    assert [text for text in texts if "shifted" in text] == []


def test_a_coil_of_noise_is_reported_if_it_is_louder_than_the_others(scan, tmp_path):
    generator = np.random.default_rng(1)
    level = np.abs(np.stack(scan.samples)).mean()
    for gain, n_reported in ((0.1, 0), (3.0, 0), (50.0, 1)):
        for samples in scan.samples:
            noise = generator.normal(size=(2, samples.shape[-1]))
            samples[2] = gain * level * (noise[0] + 1j * noise[1])
        texts = [text for text in reported(scan, tmp_path) if "exclude_coils=[2]" in text]
        assert len(texts) == n_reported


def test_an_image_at_the_edges_is_reported_by_its_profile(scan, tmp_path):
    """A wide object: the correlation of adjacent lines alone is not clear."""
    for row, line in enumerate(scan.heads["idx"]["kspace_encode_step_1"].astype(int)):
        scan.samples[row] = scan.samples[row] * (-1.0) ** line
    (text,) = reported(scan, tmp_path)
    assert "the edges of the field of view along y" in text


@pytest.mark.parametrize("gain", [0.05, 6.0])
@pytest.mark.parametrize("frames", [[2], [0, 5]])
def test_a_coil_of_another_gain_in_some_frames_is_reported(scan, tmp_path, gain, frames):
    for row in np.flatnonzero(np.isin(scan.heads["idx"]["phase"], frames)):
        scan.samples[row][1] *= gain
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    name = "frame 2" if frames == [2] else "frames 0, 5"
    assert any(text.startswith(f"coil 1 in {name}: ") for text in warnings), warnings


def test_a_gain_of_all_coils_is_none_of_one_coil(scan, tmp_path):
    multiply(scan, lambda frame, _: 8.0 if frame == 3 else 1.0)
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert not any(text.startswith("coil ") for text in warnings)
    assert any("frame 3" in text for text in warnings)
