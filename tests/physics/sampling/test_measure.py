import pytest
import torch

from cinerecon.physics.sampling import (
    PATTERNS,
    acs_block,
    block_of_lines,
    count_acs,
    measured_extent,
    net_acceleration,
    parse_mask,
    sampling_kind,
    scan_acceleration,
)


def test_acceleration_with_and_without_a_block():
    mask = torch.zeros(2, 1, 12, 1, dtype=torch.bool)
    mask[:, :, 5:8] = True
    mask[0, :, 0] = mask[1, :, 11] = True
    assert net_acceleration(mask) == 3
    assert acs_block(mask) == slice(5, 8)
    assert net_acceleration(mask, without=slice(5, 8)) == 9
    assert net_acceleration(torch.ones_like(mask), without=slice(0, 12)) == 1
    assert net_acceleration(mask[None].expand(3, *mask.shape)) == 3


def test_lines_that_one_frame_lacks_are_no_acs():
    mask = torch.from_numpy(parse_mask("kt-equispaced:3").draw(4, 20, 1))
    assert count_acs(mask) == 0
    mask[:, :, 10] = True
    assert acs_block(mask) == slice(10, 11)


@pytest.mark.parametrize(("ky", "n_acs"), [(32, 5), (33, 6), (33, 5)])
def test_the_block_is_found_where_it_is(ky, n_acs):
    mask = torch.from_numpy(parse_mask(f"kt-equispaced:6,acs={n_acs}").draw(6, ky, 1))
    assert acs_block(mask) == slice(ky // 2 - n_acs // 2, ky // 2 - n_acs // 2 + n_acs)


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("gaussian:4", "changing lines"),
        ("gaussian:4,fixed", "same lines"),
        ("equispaced:4,acs=4", "same lines"),
        ("vds:4", "points"),
        ("full", "same lines"),
    ],
)
def test_masks_consist_of_lines_or_points(pattern, kind):
    mask = torch.from_numpy(parse_mask(pattern).draw(4, 32, 24))
    assert sampling_kind(mask) == sampling_kind(mask.expand(4, 1, 32, 24)) == kind
    assert sampling_kind(mask[:1]) == ("points" if kind == "points" else "lines")


def test_points_have_no_acs_lines():
    assert count_acs(torch.from_numpy(parse_mask("kt-radial:8").draw(3, 40, 44))) == 0


def test_the_acceleration_of_a_scan_counts_what_was_measured():
    """Neither partial Fourier nor an asymmetric echo accelerates."""
    mask = torch.zeros(4, 1, 24, 16, dtype=torch.bool)
    mask[:, :, 6:, 4:] = True
    assert scan_acceleration(mask) == (1, 1)
    mask[:] = False
    for frame in range(4):
        mask[frame, :, 6 + frame :: 4, 4:] = True
    mask[:, :, 11:14, 4:] = True
    found, without_acs = scan_acceleration(mask)
    assert found == pytest.approx(4 * 18 / float(mask[..., -1].sum()))
    assert without_acs == pytest.approx(4 * 15 / (float(mask[..., -1].sum()) - 12))
    mask[:] = False
    mask[:, :, 11:14] = True
    assert scan_acceleration(mask) == (8, 1)
    assert net_acceleration(mask, without=slice(11, 14)) == 1


def test_an_edge_that_was_missed_by_chance_counts():
    """An edge that was left out does not: it is wider than twice the widest gap."""
    missed = torch.from_numpy(parse_mask("gaussian:8,acs=4").draw(12, 128, 1, seed=7))
    assert not missed[:, :, 0].any()
    assert scan_acceleration(missed)[0] == 8
    left_out = torch.zeros(4, 1, 64, 1, dtype=torch.bool)
    left_out[:, :, 19::3] = True
    assert scan_acceleration(left_out)[0] == pytest.approx(45 / 15)


def test_a_sparse_pattern_covers_the_edge_that_it_misses():
    mask = torch.zeros(2, 1, 24, 1, dtype=torch.bool)
    mask[:, :, 2:23:4] = True
    assert scan_acceleration(mask)[0] == pytest.approx(24 / 6)


@pytest.mark.parametrize("text", [f"{name}:{16 if 'radial' in name else 8}" for name in PATTERNS if name != "full"])
def test_what_a_pattern_misses_by_chance_counts(text):
    """One that thins out leaves wide edges empty, which a scan of it was to fill."""
    masks = [torch.from_numpy(parse_mask(text).draw(12, 128, 96, seed)) for seed in range(4)]
    for mask in masks:
        assert scan_acceleration(mask)[0] == pytest.approx(net_acceleration(mask), rel=0.05)


@pytest.mark.parametrize("text", ["radial:16", "kt-radial:8", "vds:8"])
def test_the_extent_of_points_that_thin_out_ends_where_the_echo_does(text):
    """The opposite columns hold samples, so the empty ones were not missed by chance."""
    mask = torch.from_numpy(parse_mask(text).draw(12, 96, 96))
    mask[..., :24] = False
    assert measured_extent(mask) == (slice(0, 96), slice(24, 96))
    assert scan_acceleration(mask)[0] == 12 * 96 * 72 / int(mask.sum())
    assert measured_extent(mask.flip(-1, -2)) == (slice(0, 96), slice(0, 72))


def test_partial_fourier_of_lines_that_thin_out():
    mask = torch.from_numpy(parse_mask("gaussian:6").draw(16, 96, 1))
    mask[0, :, 75], mask[:, :, 76:] = True, False
    assert measured_extent(mask) == (slice(0, 76), slice(None))
    assert scan_acceleration(mask)[0] == 16 * 76 / int(mask.sum())


def test_a_mask_without_samples_has_no_block_of_lines():
    assert block_of_lines(torch.zeros(2, 1, 12, 1, dtype=torch.bool)) is None
