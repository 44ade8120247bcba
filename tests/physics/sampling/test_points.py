import numpy as np
import pytest
import torch
from golden import golden

from cinerecon.physics.sampling import net_acceleration, parse_mask
from cinerecon.physics.sampling.drawing import sample_by_density, vds_density
from cinerecon.physics.sampling.points import radial_spokes


def test_spokes_equal_the_authors_program():
    stored = golden("masks")
    for spokes in (8, 16, 30):
        for rotation in (0.0, 0.37):
            for shape in ((144, 112), (128, 128)):
                expected = stored[f"radial_{spokes}_frac{rotation:.2f}_{shape[0]}x{shape[1]}"].astype(bool)
                assert np.array_equal(radial_spokes(shape, spokes, rotation), expected)


@pytest.mark.parametrize(("spokes", "percent"), [(8, 5.85), (16, 11.4), (30, 20.7)])
def test_radial_rates(spokes, percent):
    mask = torch.from_numpy(parse_mask(f"radial:{spokes}").draw(8, 128, 128))
    assert 100 / net_acceleration(mask) == pytest.approx(percent, abs=0.15)
    assert mask[..., 64, 64].all()
    assert not torch.equal(mask[0], mask[1])


class Legacy:
    """The numbers that program drew, as raw integers of a generator."""

    def __init__(self):
        self.bit_generator, self.numbers = self, np.random.RandomState(0)

    def random_raw(self, n):
        return (self.numbers.random_sample(n) * 2**53).astype(np.uint64) << np.uint64(11)


@pytest.mark.parametrize("ratio", [0.1, 0.125])
@pytest.mark.parametrize("shape", [(128, 128), (144, 112)])
def test_vds_equals_the_authors_program(ratio, shape):
    stored, case = golden("masks"), f"{ratio}_{shape[0]}x{shape[1]}"
    density = vds_density(shape, 1 / ratio)
    assert np.allclose(density, stored[f"vds_pdf_{case}"], atol=1e-12)
    expected = stored[f"vds_mask_seed0_{case}"].astype(bool)
    mask = sample_by_density(Legacy(), density, expected.shape[-1], 1 / ratio)
    assert np.array_equal(mask.transpose(1, 2, 0), expected)
    drawn = torch.from_numpy(parse_mask(f"vds:{1 / ratio:g}").draw(2, *shape))
    assert (drawn.sum((-1, -2)) == int(expected[..., 0].sum())).all()


def test_vds_is_dense_in_the_centre():
    mask = torch.from_numpy(parse_mask("vds:8").draw(20, 128, 128)).double()
    assert mask[..., 60:68, 60:68].mean() == pytest.approx(0.88, abs=0.02)
    assert mask[..., :8].mean() < 0.1


def test_uniform_points_are_alike_likely():
    mask = torch.from_numpy(parse_mask("uniform-2d:8").draw(2000, 20, 24)).double()
    assert (mask.sum((-1, -2)) == 61).all()
    assert (mask.mean(0) - 61 / 480).abs().max() < 0.05


@pytest.mark.parametrize("shape", [(96, 96), (80, 121), (121, 80)])
def test_kt_radial_is_a_star_of_thin_spokes_through_the_centre(shape):
    n_spokes, reach = int(180 / (0.6 * 20)), max(shape) // 2
    y, x = (np.arange(n) - n // 2 for n in shape)
    distance, angle = np.hypot(y[:, None], x), np.arctan2(x, y[:, None])
    first = []
    for frame in torch.from_numpy(parse_mask("kt-radial:20,acs=0").draw(3, *shape))[:, 0].numpy():
        assert frame[distance == 0]
        assert not frame[distance > reach].any()
        far = frame & (distance > 5)
        turns = np.exp(2j * n_spokes * angle)  # one turn from spoke to spoke
        first.append(np.angle(np.sum((distance * turns)[far])) / (2 * n_spokes))
        off = np.angle(turns * np.exp(-2j * n_spokes * first[-1])) / (2 * n_spokes)
        assert np.abs(distance * np.sin(off))[far].max() < 0.56  # half a point, and the error of the angle found
    step = (np.diff(first) - np.deg2rad(137.5)) * 2 * n_spokes
    assert np.abs(np.angle(np.exp(1j * step))).max() < 0.1


def test_kt_radial_keeps_a_square_in_the_centre():
    mask = torch.from_numpy(parse_mask("kt-radial:16").draw(4, 100, 80))
    assert mask[..., 42:58, 32:48].all()
    assert net_acceleration(mask) > net_acceleration(torch.from_numpy(parse_mask("kt-radial:8").draw(4, 100, 80)))


def test_kt_radial_keeps_its_centre_where_the_readout_is_shorter():
    mask = torch.from_numpy(parse_mask("kt-radial:50").draw(2, 64, 12))
    assert mask[:, 0, 24:40].all()
