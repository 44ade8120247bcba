"""Retrospective undersampling: a pattern for each slice, and only samples that were measured."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cinerecon.acquisition.reference import pattern_seed, undersample
from cinerecon.errors import ConfigError
from cinerecon.physics.sampling import acceleration_of, parse_mask, parse_sampling
from cinerecon.simulation.config import SimulateConfig
from cinerecon.simulation.scan import simulate_cine


def test_each_slice_has_a_pattern_of_its_own(make_cine):
    data = make_cine(per_frame=None)
    slices = [replace(data, meta=replace(data.meta, slice=number)) for number in range(3)]
    assert len({pattern_seed(one, 0) for one in slices}) == 3
    assert pattern_seed(data, 0) != pattern_seed(data, 1)


def test_lines_that_were_left_out_stay_out(make_cine):
    data = make_cine(per_frame=None)
    mask = data.mask.clone()
    mask[:, :, :4] = False
    partial = replace(data, mask=mask, kspace=data.kspace * mask)
    again = undersample(partial, "full")
    assert torch.equal(again.mask, mask)
    assert torch.equal(again.kspace, partial.kspace)


def points_on_lines(folder):
    """Rows 3 and 4 whole, in every other row the point on the diagonal: 22 of 64 points, in each of two frames."""
    mask = torch.eye(8, dtype=torch.bool)
    mask[3:5] = True
    path = folder / "points.npy"
    np.save(path, mask.expand(2, 8, 8).numpy())
    return str(path)


def test_points_are_counted_over_the_whole_readout(make_cine, tmp_path):
    """The mask of a full scan has one column, that of the points has all; the central lines are 16 of the 22 points."""
    data = make_cine(per_frame=None, n_frames=2, matrix=(8, 8))
    sampled = undersample(data, points_on_lines(tmp_path))
    assert acceleration_of(sampled) == (64 / 22, 48 / 6)


def test_points_are_counted_over_what_the_scan_measured(make_cine, tmp_path):
    """Without two columns (asymmetric echo) and two rows (partial Fourier): 36 points, 12 central and 4 others."""
    data = make_cine(per_frame=None, n_frames=2, matrix=(8, 8))
    measured = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    measured[..., 2:, 2:] = True
    partial = replace(data, mask=measured, kspace=data.kspace * measured)
    assert acceleration_of(partial) == (1, 1)
    sampled = undersample(partial, points_on_lines(tmp_path))
    assert acceleration_of(sampled) == (36 / 16, 24 / 4)


@pytest.mark.parametrize(
    "pattern",
    ["radial:4", "kt-radial:12,acs=4", "vds:6", "uniform-2d:6", "gaussian:6", "golden:6", "vista:6", "poisson-2d:6"],
)
def test_a_pattern_has_the_acceleration_of_its_mask(make_cine, pattern):
    """Points over sampled points: of a full scan, and of an asymmetric echo within its columns."""
    data = make_cine(per_frame=None, n_frames=3, matrix=(48, 40))
    drawn = torch.from_numpy(parse_mask(pattern).draw(3, 48, 40, seed=5)).expand(3, 1, 48, 40)
    assert acceleration_of(undersample(data, pattern, seed=5))[0] == 3 * 48 * 40 / int(drawn.sum())
    measured = torch.ones(3, 1, 48, 40, dtype=torch.bool)
    measured[..., :10] = False
    echo = replace(data, mask=measured, kspace=data.kspace * measured)
    assert acceleration_of(undersample(echo, pattern, seed=5))[0] == 3 * 48 * 30 / int(drawn[..., 10:].sum())


def test_a_mask_without_the_centre_is_refused(make_cine, tmp_path):
    """An inverted mask, without lines 5 to 10 of 16; one line near the centre in one frame suffices."""
    data = make_cine(n_frames=2, matrix=(16, 16), per_frame=None)
    mask = np.ones((2, 16), bool)
    mask[:, 5:11] = False
    np.save(tmp_path / "inverted.npy", mask)
    with pytest.raises(ConfigError, match="no line at the centre of k-space, 8, is sampled"):
        undersample(data, str(tmp_path / "inverted.npy"))
    mask[1, 6] = True
    np.save(tmp_path / "one.npy", mask)
    assert undersample(data, str(tmp_path / "one.npy")).mask[1, 0, 6].all()


@pytest.mark.parametrize("pattern", ["gaussian:4", "vds-ky:4", "kt-gaussian:4", "gro:4", "equispaced:4,acs=8", "vds:6"])
def test_masks_with_the_zero_frequency_at_index_0_are_refused(tmp_path, pattern):
    """They sample some lines at the centre, but many more at the edges, unlike the centred mask."""
    (data,) = simulate_cine(SimulateConfig(n_frames=20, ky=64, kx=32, n_coils=1))
    mask = parse_sampling(pattern).draw(20, 64, 32, 0)
    mask[3, :, 0] = True
    shifted = np.fft.ifftshift(mask, axes=(-2, -1) if mask.shape[-1] > 1 else -2)
    np.save(tmp_path / "centred.npy", mask.squeeze())
    np.save(tmp_path / "shifted.npy", shifted.squeeze())
    undersample(data, str(tmp_path / "centred.npy"))
    with pytest.raises(ConfigError, match="edges of k-space are sampled more densely") as error:
        undersample(data, str(tmp_path / "shifted.npy"))
    assert ",uncentred" in error.value.hint
    given = undersample(data, f"{tmp_path / 'shifted.npy'},uncentred")
    assert torch.equal(given.mask, torch.from_numpy(mask))


@pytest.mark.parametrize(
    "pattern", ["uniform:4", "poisson:4", "equispaced:3", "kt-equispaced:4", "uniform-2d:4", "radial:12"]
)
@pytest.mark.parametrize("n_frames", [2, 25])
def test_uniform_masks_are_accepted(pattern, n_frames):
    (data,) = simulate_cine(SimulateConfig(n_frames=n_frames, ky=64, kx=64, n_coils=1))
    for seed in range(4):
        assert 0.1 < undersample(data, pattern, seed=seed).mask.float().mean() < 0.7
