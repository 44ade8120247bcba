"""Low rank is inserted into other networks by one line of their configuration."""

import pytest
import torch
from helpers import relative_error
from network_checks import assert_batched_equals_looped, assert_learns_everywhere, random_case

from cinerecon.networks import build

HOSTS = {
    "istanet": {"n_cascades": 3, "n_channels": 4},
    "istanet snet": {"n_cascades": 3, "n_channels": 4, "variant": "snet"},
    "dccnn": {"n_cascades": 3, "n_channels": 4},
    "crnn": {"n_cascades": 3, "n_channels": 4},
}
hosts = pytest.mark.parametrize("host", HOSTS)
positions = pytest.mark.parametrize("position", ["L1", "L2", "L3"])


def _build(host, **lowrank):
    torch.manual_seed(0)
    settings = HOSTS[host] | ({"lowrank": lowrank} if lowrank else {})
    return build(host.split()[0], settings).double()


@pytest.mark.parametrize(
    "rule",
    [
        {"shrinkage": "topk_hard", "rank": 5},
        {"shrinkage": "topk_soft", "rank": 20},
        {"shrinkage": "relative_soft", "threshold": -60.0},
        {"shrinkage": "relative_soft", "threshold": -60.0, "view": "frames"},
    ],
    ids=lambda rule: "-".join(str(value) for value in rule.values()),
)
@positions
@hosts
@torch.no_grad()
def test_shrinkage_that_keeps_everything_leaves_the_host_as_it_is(host, position, rule):
    kspace, encoding = random_case(coils=2)
    expected = _build(host)(kspace, encoding)
    assert relative_error(_build(host, position=position, **rule)(kspace, encoding), expected) < 1e-9


@hosts
@torch.no_grad()
def test_pass_begins_as_the_identity(host):
    kspace, encoding = random_case(coils=2)
    plain, inserted = _build(host), _build(host, shrinkage="pass")
    inserted.load_state_dict(plain.state_dict(), strict=False)
    assert relative_error(inserted(kspace, encoding), plain(kspace, encoding)) < 1e-9


@hosts
@torch.no_grad()
def test_shrinkage_acts_differently_at_each_position(host):
    kspace, encoding = random_case(coils=2)
    images = [_build(host)(kspace, encoding)]
    images += [_build(host, position=position, rank=1)(kspace, encoding) for position in ("L1", "L2", "L3")]
    for n, image in enumerate(images):
        assert all(relative_error(image, other) > 1e-3 for other in images[:n])


@hosts
@torch.no_grad()
def test_the_last_position_determines_the_rank_of_the_image(host):
    last = "L2" if host == "istanet" else "L3"
    image = _build(host, position=last, rank=1)(*random_case(coils=2))
    values = torch.linalg.svdvals(image.flatten(2))[0]
    assert float(values[1]) < 1e-6 * float(values[0])


@positions
@hosts
def test_learns_everywhere(host, position):
    assert_learns_everywhere(_build(host, position=position, shrinkage="relative_soft"))


@hosts
def test_batched_equals_looped(host):
    assert_batched_equals_looped(_build(host, shrinkage="topk_soft"), coils=2)
