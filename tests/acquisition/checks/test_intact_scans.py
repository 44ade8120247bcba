"""Intact simulated scans, small ones and with few frames among them, are read without a warning about their data."""

import pytest
import torch

from cinerecon.acquisition.checks.array_table import line_warnings
from cinerecon.acquisition.checks.stored_kspace import StoredSlice, array_gain_warnings
from cinerecon.acquisition.open import open_scan
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine, simulate_scan

SCANS = [
    {"n_frames": 4, "ky": 32, "kx": 32, "n_coils": 2, "n_slices": 2, "seed": 1},
    {"n_frames": 3, "ky": 48, "kx": 64, "n_coils": 4, "seed": 180230, "undersample": "gaussian:4"},
    {"n_frames": 4, "ky": 48, "kx": 128, "n_coils": 8, "seed": 798631},
    {"n_frames": 6, "ky": 160, "kx": 64, "n_coils": 1, "seed": 460284, "undersample": "equispaced:3,acs=12"},
    {"n_frames": 8, "ky": 64, "kx": 56, "n_coils": 8, "seed": 2, "undersample": "equispaced:4,acs=8"},
    {"n_frames": 8, "ky": 80, "kx": 48, "n_coils": 4, "seed": 943528, "undersample": "equispaced:2"},
    {"n_frames": 8, "ky": 160, "kx": 128, "n_coils": 6, "seed": 116347, "undersample": "equispaced:8"},
    {"n_frames": 12, "ky": 48, "kx": 128, "n_coils": 3, "seed": 654483, "undersample": "equispaced:8"},
    {"n_frames": 20, "ky": 64, "kx": 64, "n_coils": 3, "seed": 260063, "undersample": "equispaced:8"},
]
ARRAYS = [
    {"n_frames": 4, "ky": 64, "kx": 96, "n_coils": 8, "seed": 901719, "undersample": "gaussian:8", "noise": 1.0},
    {
        "n_frames": 8,
        "ky": 80,
        "kx": 48,
        "n_coils": 6,
        "seed": 925346,
        "undersample": "equispaced:4,acs=8",
        "noise": 0.5,
    },
    {
        "n_frames": 6,
        "ky": 48,
        "kx": 48,
        "n_coils": 1,
        "seed": 519501,
        "undersample": "equispaced:4,acs=8",
        "noise": 2.0,
    },
    {
        "n_frames": 20,
        "ky": 48,
        "kx": 56,
        "n_coils": 2,
        "seed": 779858,
        "undersample": "equispaced:4,acs=8",
        "noise": 1.0,
    },
    {"n_frames": 6, "ky": 64, "kx": 24, "n_coils": 6, "seed": 223313, "undersample": "gaussian:8", "noise": 5.0},
    {"n_frames": 20, "ky": 64, "kx": 12, "n_coils": 4, "seed": 175514, "undersample": "equispaced:2", "noise": 0.5},
    {"n_frames": 6, "ky": 96, "kx": 12, "n_coils": 4, "seed": 2, "undersample": "gaussian:4,acs=6"},
    {"n_frames": 20, "ky": 96, "kx": 64, "n_coils": 3, "seed": 378362, "undersample": "gaussian:8"},
    {"n_frames": 8, "ky": 48, "kx": 96, "n_coils": 4, "seed": 877342, "undersample": "equispaced:2"},
]
"""Small arrays, most of them with so much noise that phases, gains and positions of frames and coils are random."""
FILLED = (
    "there is more signal at the edges of the field of view along y than in its middle: either the object fills "
    "the field"
)


@pytest.mark.parametrize("settings", SCANS, ids=lambda settings: f"seed {settings['seed']}")
def test_intact_scans_are_not_reported(settings, tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(**settings))
    warnings = open_scan(tmp_path / "scan.h5").plan.warnings
    assert [text for text in warnings if not text.startswith(FILLED)] == []


@pytest.mark.parametrize("settings", ARRAYS, ids=lambda settings: f"seed {settings['seed']}")
def test_intact_arrays_are_not_reported(settings):
    (data,) = simulate_cine(SimulateConfig(**settings))
    warnings = line_warnings(StoredSlice(data.kspace, data.mask, "x", ""), data.kspace.shape[-1])
    assert [text for text in warnings if not text.startswith("there is more signal at the edges")] == []


def test_regular_lines_of_a_small_matrix_with_integrated_calibration_lines_are_not_reported():
    (data,) = simulate_cine(SimulateConfig(n_frames=6, ky=32, kx=32, n_coils=4, seed=4, noise=0.005))
    mask = torch.zeros(6, 1, 32, 1, dtype=torch.bool)
    mask[:, :, 1::3] = mask[:, :, 8:24] = True
    assert list(array_gain_warnings(StoredSlice(data.kspace * mask, mask, "x", ""))) == []
    scaled = data.kspace.clone()
    scaled[:, :, 8:24] *= 3
    assert list(array_gain_warnings(StoredSlice(scaled * mask, mask, "x", ""))) != []
