import pytest
import torch

from cinerecon.physics.sampling import acs_block, count_acs, kind_of, net_acceleration, parse_mask


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
    mask = parse_mask("kt-equispaced:3").draw(4, 20, 1)
    assert count_acs(mask) == 0
    mask[:, :, 10] = True
    assert acs_block(mask) == slice(10, 11)


@pytest.mark.parametrize(("ky", "n_acs"), [(32, 5), (33, 6), (33, 5)])
def test_the_block_is_found_where_it_is(ky, n_acs):
    mask = parse_mask(f"kt-equispaced:6,acs={n_acs}").draw(6, ky, 1)
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
def test_what_a_mask_is_made_of(pattern, kind):
    mask = parse_mask(pattern).draw(4, 32, 24)
    assert kind_of(mask) == kind_of(mask.expand(4, 1, 32, 24)) == kind
    assert kind_of(mask[:1]) == ("points" if kind == "points" else "lines")


def test_points_have_no_acs_lines():
    assert count_acs(parse_mask("kt-radial:8").draw(3, 40, 44)) == 0
