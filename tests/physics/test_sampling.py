from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.errors import ConfigError
from cinerecon.physics.sampling import (
    PATTERNS,
    count_acs,
    gaussian_density,
    net_acceleration,
    parse_mask,
    radial_spokes,
    vds_density,
    view_share,
)

GOLDEN = Path("../shared/golden/masks.npz")
needs_golden = pytest.mark.skipif(not GOLDEN.exists(), reason="the authors' masks are not here")


@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_is_seeded_and_of_the_right_shape(name):
    spec = parse_mask(f"{name}:4")
    mask = spec.draw(6, 40, 36, seed=3)
    assert mask.dtype == torch.bool
    assert mask.shape == (6, 1, 40, 1 if spec.samples_whole_readouts else 36)
    assert torch.equal(mask, spec.draw(6, 40, 36, seed=3))
    assert parse_mask(str(spec)) == spec


@pytest.mark.parametrize(("acceleration", "lines"), [(8, 24), (10, 19), (12, 16)])
def test_gaussian_line_counts(acceleration, lines):
    mask = parse_mask(f"gaussian:{acceleration},acs=4").draw(16, 192, 192, seed=0)
    assert (mask.sum(-2) == lines).all()
    assert mask[:, 0, 94:98].all()
    assert count_acs(mask) == 4
    assert net_acceleration(mask) == pytest.approx(192 / lines)
    assert net_acceleration(mask, n_acs=4) == pytest.approx(188 / (lines - 4))


def test_gaussian_draws_differ_by_frame_and_follow_the_density():
    mask = parse_mask("gaussian:8").draw(4000, 96, 1, seed=0)
    assert not torch.equal(mask[0], mask[1])
    share = mask[:, 0, :, 0].double().mean(0)
    assert share[40:46].mean() > 3 * share[:20].mean()


def test_equispaced_counts_the_centre_extra():
    mask = parse_mask("equispaced:4,acs=24").draw(3, 204, 1, seed=0)
    assert torch.equal(mask[0], mask[2])
    assert net_acceleration(mask) == pytest.approx(2.96, abs=0.01)


def test_kt_equispaced_covers_every_line_in_time():
    mask = parse_mask("kt-equispaced:5").draw(5, 40, 1, seed=2)
    assert (mask.sum(0) == 1).all()


@needs_golden
def test_deterministic_parts_equal_the_authors_programs():
    golden = np.load(GOLDEN)
    for spokes in (8, 16, 30):
        for rotation in (0.0, 0.37):
            for shape in ((144, 112), (128, 128)):
                expected = golden[f"radial_{spokes}_frac{rotation:.2f}_{shape[0]}x{shape[1]}"].astype(bool)
                assert np.array_equal(radial_spokes(shape, spokes, rotation), expected)
    for ky, acceleration, n_acs in ((192, 8, 4), (192, 10, 4), (192, 12, 4), (256, 8, 4), (256, 8, 8)):
        expected = golden[f"cartesian_pdf_Nx{ky}_acc{acceleration}_n{n_acs}"]
        assert np.allclose(gaussian_density(ky, acceleration, n_acs), expected, atol=1e-15)
    for ratio in (0.1, 0.125):
        for shape in ((128, 128), (144, 112)):
            expected = golden[f"vds_pdf_{ratio}_{shape[0]}x{shape[1]}"]
            assert np.allclose(vds_density(shape, 1 / ratio), expected, atol=1e-4)


def test_view_share_keeps_samples_and_interpolates_in_time():
    kspace = complex_randn(7, 2, 6, 5)
    mask = parse_mask("kt-equispaced:3").draw(7, 6, 5, seed=0)
    sampled = kspace * mask
    filled = view_share(sampled, mask)
    assert relative_error(filled * mask, sampled) < 1e-12
    assert (filled.abs().sum((-1, -3)) > 0).all()
    line = int(mask[0, 0, :, 0].nonzero()[0])  # sampled in frames 0 and 3
    expected = kspace[0, :, line] * 2 / 3 + kspace[3, :, line] / 3
    assert relative_error(filled[1, :, line], expected) < 1e-12


def test_view_share_of_a_still_object_is_the_object():
    frame = complex_randn(1, 2, 6, 5).expand(8, -1, -1, -1)
    mask = parse_mask("kt-equispaced:4").draw(8, 6, 5, seed=0)
    assert relative_error(view_share(frame * mask, mask), frame) < 1e-12


@pytest.mark.parametrize("text", ["gauss:8", "gaussian:x", "gaussian:8,lines=3", "gaussian:0.5", "gaussian:8,acs"])
def test_wrong_texts_are_named(text):
    with pytest.raises(ConfigError):
        parse_mask(text)


def test_more_central_lines_than_lines_is_refused():
    with pytest.raises(ConfigError, match="cannot hold 40"):
        parse_mask("gaussian:8,acs=40").draw(2, 96, 96)
