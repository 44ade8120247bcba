import torch
from coil_phantom import agreement, smooth_coils
from helpers import complex_randn, relative_error

from cinerecon.physics.coils import smooth_maps, walsh
from cinerecon.physics.coils.estimate import cubic_splines, second_difference_penalty


def test_splines_sum_to_one_and_have_the_same_position_at_every_resolution():
    assert float((cubic_splines(40, 6).sum(1) - 1).abs().max()) < 1e-12
    assert torch.allclose(cubic_splines(45, 6)[1::3], cubic_splines(15, 6))  # centres of odd subdivisions coincide
    assert torch.allclose(cubic_splines(60, 6)[1::3], cubic_splines(20, 6))


def test_splines_that_were_computed_under_inference_have_gradients():
    with torch.inference_mode():
        splines = cubic_splines(23, 5)
    weights = torch.ones(8, dtype=torch.float64, requires_grad=True)
    (cubic_splines(23, 5) @ weights).square().sum().backward()
    assert cubic_splines(23, 5) is splines
    assert weights.grad is not None


def test_penalty_spares_planes_and_nothing_else():
    penalty = second_difference_penalty(7)
    rows, columns = (axis.ravel() for axis in torch.meshgrid(*[torch.arange(7.0).double()] * 2, indexing="ij"))
    for plane in (torch.ones(49).double(), rows, columns, rows * columns):
        assert float((penalty @ plane).norm()) < 1e-9
    assert float(rows.square() @ penalty @ rows.square()) > 1


def test_smooth_maps_improve_their_start_also_where_the_field_of_view_cuts_the_object():
    csm, image = smooth_coils(6, 40, 37)
    image = image + 0.5  # signal up to the edge on all sides
    start = walsh(csm * image)
    found = smooth_maps((csm * image)[None], start, (40, 37))
    edge = torch.ones_like(image.real, dtype=torch.bool)
    edge[4:-4, 4:-4] = False
    assert float(agreement(start, csm)[edge].min()) < 0.98
    assert float(agreement(found, csm)[edge].min()) > 0.999
    assert float(agreement(found, csm).quantile(0.01)) > 0.9995


def test_unit_norm_everywhere_and_any_size():
    csm, image = smooth_coils(4, 30, 25)
    maps = smooth_maps((csm * image)[None], walsh(csm * image), (61, 48))
    assert maps.shape == (4, 61, 48)
    assert float((maps.norm(dim=0) - 1).abs().max()) < 1e-12


def test_noise_is_averaged_over_many_pixels():
    csm, image = smooth_coils(4, 96, 91)
    noisy = csm * image + 0.2 * complex_randn(4, 96, 91)
    start = walsh(noisy)
    smooth = smooth_maps(noisy[None], start, (96, 91))
    lost_start, lost = (float((1 - agreement(maps, csm)[image.abs() > 0] ** 2).mean()) for maps in (start, smooth))
    assert lost < 0.5 * lost_start


def test_scale_does_not_matter_and_an_empty_slice_does_no_harm():
    csm, image = smooth_coils(4, 30, 25)
    images = torch.stack([csm * image, 1e-9 * csm * image, torch.zeros_like(csm)])
    maps = smooth_maps(images[:, None], walsh(images), (30, 25))
    assert relative_error(maps[1], maps[0]) < 1e-9
    assert bool(maps.isfinite().all())


def test_batched_equals_looped():
    csm, image = smooth_coils(4, 30, 25)
    images = torch.stack([csm * image, csm.flip(-1) * image, csm * image.flip(-2)])
    looped = torch.stack([smooth_maps(one[None], walsh(one), (30, 25)) for one in images])
    assert relative_error(smooth_maps(images[:, None], walsh(images), (30, 25)), looped) < 1e-9
