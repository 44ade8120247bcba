import numpy as np
import pytest
import torch
from golden import golden

from cinerecon.errors import ConfigError
from cinerecon.physics.sampling import acs_block, count_acs, net_acceleration, parse_mask
from cinerecon.physics.sampling.drawing import gaussian_density
from cinerecon.physics.sampling.lines import equispaced_lines


@pytest.mark.parametrize(("acceleration", "lines"), [(8, 24), (10, 19), (12, 16)])
def test_gaussian_line_counts(acceleration, lines):
    mask = torch.from_numpy(parse_mask(f"gaussian:{acceleration},acs=4").draw(16, 192, 192, seed=0))
    assert (mask.sum(-2) == lines).all()
    assert mask[:, 0, 94:98].all()
    assert acs_block(mask) == slice(94, 98)
    assert net_acceleration(mask) == pytest.approx(192 / lines)
    assert net_acceleration(mask, without=acs_block(mask)) == pytest.approx(188 / (lines - 4))


def test_gaussian_density_and_counts_equal_the_authors_program():
    stored = golden("masks")
    for ky, acceleration, n_acs in ((192, 8, 4), (192, 10, 4), (192, 12, 4), (256, 8, 4), (256, 8, 8)):
        case = f"Nx{ky}_acc{acceleration}_n{n_acs}"
        density = gaussian_density(ky, acceleration, n_acs)
        assert np.allclose(density, stored[f"cartesian_pdf_{case}"], atol=1e-15)
        theirs = torch.from_numpy(stored[f"cartesian_mask_seed1_{case}"].astype(bool))[:, None, :, None]
        mask = torch.from_numpy(parse_mask(f"gaussian:{acceleration},acs={n_acs}").draw(len(theirs), ky, 1))
        assert torch.equal(mask.sum(-2), theirs.sum(-2))
        assert mask[theirs.all(0).expand_as(mask)].all()


def test_gaussian_draws_differ_by_frame_and_follow_the_density():
    mask = torch.from_numpy(parse_mask("gaussian:8").draw(4000, 96, 1, seed=0))
    assert not torch.equal(mask[0], mask[1])
    share = mask[:, 0, :, 0].double().mean(0)
    assert share[40:46].mean() > 3 * share[:20].mean()


def test_kt_gaussian_draws_its_lines_anywhere_and_adds_the_centre():
    mask = torch.from_numpy(parse_mask("kt-gaussian:8,acs=0").draw(50, 204, 1))
    assert (mask.sum(-2) == round(204 / 8)).all()
    mask = torch.from_numpy(parse_mask("kt-gaussian:8").draw(50, 204, 1))
    assert acs_block(mask) == slice(94, 110)
    assert mask.sum(-2).max() <= 26 + 16


def test_uniform_lines_are_alike_likely_outside_the_centre():
    mask = torch.from_numpy(parse_mask("uniform:4,acs=4").draw(4000, 64, 1))
    assert (mask.sum(-2) == 16).all()
    share = mask[:, 0, :, 0].double().mean(0)
    outside = torch.cat([share[:30], share[34:]])
    assert (outside - 12 / 60).abs().max() < 0.03


@pytest.mark.parametrize("acceleration", [8, 10])
def test_vds_lines_are_one_more_than_the_share(acceleration):
    mask = torch.from_numpy(parse_mask(f"vds-ky:{acceleration}").draw(200, 128, 1))
    assert (mask.sum(-2) == round(128 / acceleration) + 1).all()
    share = mask[:, 0, :, 0].double().mean(0)
    assert share[60:68].mean() > 0.8 > 0.3 > share[:30].mean()


def test_equispaced_lines_equal_the_authors_program():
    stored = golden("masks")
    for acceleration in (4, 8, 10):
        for offset in (0, 1):
            expected = stored[f"equispaced_{acceleration}_off{offset}_ny204"].astype(bool).ravel()
            assert np.array_equal(equispaced_lines(204, acceleration, 24, offset, stop=204), expected)


@pytest.mark.parametrize(("acceleration", "net"), [(4, 2.96), (8, 4.34), (10, 4.86)])
def test_equispaced_counts_the_centre_extra(acceleration, net):
    found = [
        net_acceleration(torch.from_numpy(parse_mask(f"equispaced:{acceleration}").draw(1, 204, 1, seed)))
        for seed in range(20)
    ]
    assert np.mean(found) == pytest.approx(net, abs=0.05)


def test_adjusted_equispaced_counts_the_centre_in():
    for acceleration in (3, 4, 6):
        found = [
            net_acceleration(torch.from_numpy(parse_mask(f"equispaced:{acceleration},adjusted").draw(1, 204, 1, s)))
            for s in range(20)
        ]
        assert np.mean(found) == pytest.approx(acceleration, rel=0.02)
    with pytest.raises(ConfigError, match=r"8.5x, so the adjusted mask cannot be 9x"):
        torch.from_numpy(parse_mask("equispaced:9,adjusted").draw(1, 204, 1))


def test_adjusted_equispaced_is_placed_as_in_fastmri():
    # 16 central lines of 128 at 4x: distance 4 (16 - 128) / (64 - 128) = 7
    lines = equispaced_lines(128, 7.0, 16, 3, stop=127)
    assert np.flatnonzero(lines[:56]).tolist() == [3, 10, 17, 24, 31, 38, 45, 52]
    # half-way places round to even
    assert np.flatnonzero(equispaced_lines(100, 5.5, 0, 0, stop=99)).tolist()[:5] == [0, 6, 11, 16, 22]


@pytest.mark.parametrize(("n_acs", "acceleration", "ky"), [(10, 3, 95), (8, 4, 101), (24, 4, 204), (24, 6, 192)])
def test_the_adjusted_mask_is_that_of_fastmri_at_every_offset(n_acs, acceleration, ky):
    """Written out from its equations; 24 lines of 192 at 6x have the whole distance 21, and line 191 stays empty."""
    distance = acceleration * (n_acs - ky) / (n_acs * acceleration - ky)
    expected = set()
    for offset in range(round(distance)):
        mask = np.zeros(ky, bool)
        mask[np.around(np.arange(offset, ky - 1, distance)).astype(int)] = True
        first = (ky - n_acs + 1) // 2
        mask[first : first + n_acs] = True
        expected.add(mask.tobytes())
    pattern = parse_mask(f"equispaced:{acceleration},acs={n_acs},adjusted")
    found = {torch.from_numpy(pattern.draw(1, ky, 1, seed)).numpy().ravel().tobytes() for seed in range(200)}
    assert found == expected


def test_equispaced_is_fixed_or_shifted():
    fixed, shifted = (
        torch.from_numpy(parse_mask(f"equispaced:6,acs=8{word}").draw(12, 120, 1)) for word in ("", ",shifted")
    )
    assert (fixed == fixed[0]).all()
    assert len({tuple(frame.ravel().tolist()) for frame in shifted}) > 3
    assert count_acs(shifted) == 8


def test_kt_equispaced_covers_every_line_in_time():
    mask = torch.from_numpy(parse_mask("kt-equispaced:5").draw(5, 40, 1, seed=2))
    assert (mask.sum(0) == 1).all()
    assert torch.equal(mask[1:, :, 1:], mask[:-1, :, :-1])


def test_more_central_lines_than_lines_is_refused():
    with pytest.raises(ConfigError, match="cannot hold 40"):
        torch.from_numpy(parse_mask("gaussian:8,acs=40").draw(2, 96, 96))
    with pytest.raises(ConfigError, match="24 central lines of 20"):
        torch.from_numpy(parse_mask("equispaced:2").draw(2, 20, 96))


@pytest.mark.parametrize("text", ["equispaced:1.5,acs=0", "equispaced:1.25,acs=2", "equispaced:2.5,acs=1,shifted"])
@pytest.mark.parametrize("ky", [2, 5, 8, 33])
def test_equispaced_lines_at_a_fractional_distance_stay_on_the_grid(text, ky):
    """The last position may be rounded up to the number of lines."""
    for seed in range(4):
        mask = parse_mask(text).draw(3, ky, 4, seed)
        assert mask.shape == (3, 1, ky, 1) and mask.any(2).all()
