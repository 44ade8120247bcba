import pytest
import torch
from coil_phantom import agreement, smooth_coils
from helpers import complex_randn, relative_error

from cinerecon.errors import DataError
from cinerecon.physics.coils import espirit, espirit_eigenmaps
from cinerecon.physics.fourier import fft2c


@pytest.fixture
def scan():
    csm, image = smooth_coils(6, 40, 37)
    return csm, image, fft2c(csm * image)


def test_maps_of_a_smooth_object_are_found(scan):
    csm, image, kspace = scan
    found = espirit(kspace, kernel_size=5)
    assert float(agreement(found, csm)[image.abs() > 0].quantile(0.01)) > 0.9994


def test_unit_norm_inside_and_zero_outside(scan):
    norm = espirit(scan[2]).norm(dim=0)
    assert float(torch.minimum(norm, (norm - 1).abs()).max()) < 1e-12
    assert 0.3 < float(norm.mean()) < 0.95
    assert float((espirit(scan[2], crop=0).norm(dim=0) - 1).abs().max()) < 1e-12


def test_scale_and_phase_of_the_scan_do_not_matter(scan):
    kspace = scan[2]
    assert relative_error(espirit(kspace * 1e-7j), espirit(kspace)) < 1e-6


def test_maps_follow_a_mixing_of_coils(scan):
    """A unitary mixing of the coils mixes the maps alike: whitening and compression may come first."""
    kspace = scan[2]
    unitary = torch.linalg.qr(complex_randn(6, 6))[0]
    mixed = torch.einsum("vc,cyx->vyx", unitary, kspace)
    expected = torch.einsum("vc,cyx->vyx", unitary, espirit(kspace, crop=0))
    assert float(agreement(espirit(mixed, crop=0), expected).min()) > 0.999999


def test_batched_equals_looped(scan):
    slices = torch.stack([scan[2], scan[2].flip(-1), scan[2] + 0.1 * complex_randn(6, 40, 37)]).reshape(3, 1, 6, 40, 37)
    looped = torch.stack([espirit(one[0])[None] for one in slices])
    assert relative_error(espirit(slices), looped) < 1e-8


def test_small_calibration_region_is_refused(scan):
    with pytest.raises(DataError, match="4 x 4"):
        espirit(scan[2], n_acs=4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ecalib_default_m1", {}),
        ("ecalib_default_m2", {"n_maps": 2}),
        ("ecalib_63x49_m1", {}),
        ("ecalib_64x48_m1", {}),
        ("ecalib_m1_r20_k5_c09_t001", {"n_acs": 20, "kernel_size": 5, "threshold": 0.01}),
        ("ecalib_m1_soft", {}),
        ("ecalib_m1_nocrop", {}),
        ("ecalib_m1_intensity", {}),
    ],
)
def test_agrees_with_bart(bart, name, settings):
    reference = bart(name)
    kspace = torch.from_numpy(reference["kspace"] if "kspace" in reference else bart("phantom64")["kspace"])
    expected, eigenvalue = (torch.from_numpy(reference[key][0]) for key in ("maps", "eig"))
    maps, values = espirit_eigenmaps(kspace, **settings)
    inside = (eigenvalue.abs() > 0.99) & (expected.norm(dim=0) > 0)
    assert float(agreement(maps[0], expected)[inside].quantile(0.01)) > 0.9999
    assert float((values[0] - eigenvalue.abs())[inside].abs().quantile(0.99)) < 0.002
