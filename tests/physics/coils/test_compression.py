import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.errors import ShapeError
from cinerecon.physics.coils import (
    CoilStatistics,
    apply_coil_matrix,
    apply_geometric_compression,
    coil_shading,
    compression_matrix,
    geometric_compression_matrices,
    transform_maps,
)
from cinerecon.physics.fourier import fft2c


def test_rank_deficient_coils_are_compressed_without_loss():
    kspace = apply_coil_matrix(complex_randn(6, 3, seed=1), complex_randn(4, 3, 9, 8), -3)
    matrix = compression_matrix(kspace, 3)
    assert relative_error(matrix @ matrix.mH, torch.eye(3, dtype=matrix.dtype)) < 1e-12
    compressed = apply_coil_matrix(matrix, kspace, -3)
    assert relative_error(apply_coil_matrix(matrix.mH, compressed, -3), kspace) < 1e-12


def test_virtual_coils_are_sorted_by_energy_and_uncorrelated():
    kspace = complex_randn(5, 9, 8) * torch.tensor([1.0, 9.0, 3.0, 5.0, 2.0])[:, None, None]
    compressed = apply_coil_matrix(compression_matrix(kspace, 5), kspace, 0).flatten(1)
    correlation = compressed @ compressed.mH
    energy = correlation.diagonal().real
    assert torch.equal(energy, energy.sort(descending=True).values)
    assert relative_error(correlation, torch.diag(energy).to(correlation)) < 1e-12


@pytest.mark.parametrize("noise", [0.0, 1.0])
@pytest.mark.parametrize("kind", ["pca", "geometric"])
def test_the_loss_is_the_share_of_the_signal_that_virtual_coils_leave_out(noise, kind):
    n_y, n_x = 64, 48
    amplitudes = torch.tensor([40.0, 12.0, 3.0, 1.5, 0.7, 0.3])
    sources = torch.linalg.qr(complex_randn(9, 6, seed=1))[0] * amplitudes  # six sources of signal in nine coils
    window = torch.exp(-(((torch.arange(n_y) - n_y // 2) / 4.0) ** 2))[:, None]
    kspace = apply_coil_matrix(sources, complex_randn(8, 6, n_y, n_x, seed=2) * window, -3)
    kspace = kspace + noise * complex_randn(*kspace.shape, seed=3) * (window.mean() / 8)
    mask = torch.rand(8, 1, n_y, 1, generator=torch.Generator().manual_seed(0)) < 0.6
    mask[:, :, :3], mask[:, :, -3:] = True, True
    statistics = CoilStatistics.of_kspace((kspace * mask).to(torch.complex64), mask, kind)
    expected = 1 - amplitudes.square().cumsum(0) / amplitudes.square().sum()
    if kind == "pca":
        assert torch.allclose(statistics.loss[:3].float(), expected[:3], rtol=0.1)
    assert (statistics.loss[:6].float() <= 1.1 * expected + 1e-4).all()
    assert statistics.n_virtual("auto") == 2  # which lose 0.7 %
    assert statistics.n_virtual(4) == 4
    assert statistics.n_virtual(20) == 9


@pytest.mark.parametrize("kind", ["pca", "geometric"])
@pytest.mark.parametrize("level", [0, 0.2, 1, 10])
def test_a_coil_with_only_noise_does_not_change_the_virtual_coils(kind, level):
    sources = torch.linalg.qr(complex_randn(8, 4, seed=1))[0] * torch.tensor([40.0, 12.0, 6.0, 0.5])
    window = torch.exp(-(((torch.arange(32) - 16) / 4.0) ** 2))[:, None]
    kspace = apply_coil_matrix(sources, complex_randn(4, 4, 32, 24, seed=2) * window, -3)
    kspace = (kspace + 0.05 * complex_randn(*kspace.shape, seed=3)).to(torch.complex64)
    noise = 0.05 * level * complex_randn(4, 1, 32, 24, seed=4, dtype=torch.complex64)
    mask = torch.ones(4, 1, 32, 1, dtype=torch.bool)
    intact = CoilStatistics.of_kspace(kspace, mask, kind)
    noisy = CoilStatistics.of_kspace(torch.cat([noise, kspace], 1), mask, kind)
    n_virtual = intact.n_virtual("auto")
    assert noisy.n_virtual("auto") == n_virtual == 3
    matrix = noisy.matrix(n_virtual)
    assert float(matrix[..., 0].abs().max()) < 1e-3
    assert smallest_angle_cosine(matrix[..., 1:], intact.matrix(n_virtual)) > 0.999


def test_coils_without_signal_are_not_compressed():
    silent = torch.zeros(2, 4, 8, 8, dtype=torch.complex64)
    assert CoilStatistics.of_kspace(silent, torch.ones(2, 1, 8, 1, dtype=torch.bool)).n_virtual("auto") == 4


def two_coils_at_each_position(n_x: int = 21):
    """Coil images that span, at each x, a plane that turns slowly along x."""
    angle = torch.linspace(0, 2, n_x, dtype=torch.float64)
    mixing = torch.zeros(n_x, 4, 2, dtype=torch.complex128)
    mixing[:, 0, 0], mixing[:, 1, 0], mixing[:, 2, 1], mixing[:, 3, 1] = (
        angle.cos(),
        angle.sin(),
        angle.sin(),
        angle.cos(),
    )
    return torch.einsum("xcv,fvyx->fcyx", mixing, complex_randn(3, 2, 16, n_x))


def test_geometric_compression_needs_fewer_coils_than_one_matrix():
    images = two_coils_at_each_position()
    kspace = fft2c(images)
    compressed = apply_geometric_compression(geometric_compression_matrices(kspace, 2), kspace)
    assert abs(compressed.norm() / kspace.norm() - 1) < 1e-12
    plain = apply_coil_matrix(compression_matrix(kspace, 2), kspace, -3)
    assert plain.norm() < 0.95 * kspace.norm()


def test_aligned_matrices_turn_as_slowly_as_their_subspace():
    matrices = geometric_compression_matrices(fft2c(two_coils_at_each_position()), 2)
    steps = (matrices[1:] - matrices[:-1]).norm(dim=(1, 2))
    assert float(steps.max()) < 1.01 * 2**0.5 * 2 / 20


def test_window_averages_neighbouring_positions():
    kspace = fft2c(complex_randn(2, 4, 16, 9))
    wide = geometric_compression_matrices(kspace, 4, window=5)
    assert wide.shape == (9, 4, 4)
    assert relative_error(wide @ wide.mH, torch.eye(4, dtype=wide.dtype).expand(9, 4, 4)) < 1e-12


@pytest.mark.parametrize("n_virtual", [0, 5])
def test_impossible_number_of_virtual_coils_is_refused(n_virtual):
    with pytest.raises(ShapeError, match="1 to 4"):
        compression_matrix(complex_randn(4, 6, 6), n_virtual)


@pytest.fixture
def bart_phantom(bart):
    return torch.from_numpy(bart("phantom64")["kspace"])


def smallest_angle_cosine(found, expected):
    return float(torch.linalg.svdvals(found @ expected.mH).min())


def test_subspace_agrees_with_bart(bart, bart_phantom):
    expected = torch.from_numpy(bart("cc_S_r24_p4")["matrix"])[:4].conj()
    assert smallest_angle_cosine(compression_matrix(bart_phantom, 4), expected) > 0.99999


def test_geometric_subspaces_agree_with_bart(bart, bart_phantom):
    expected = torch.from_numpy(bart("cc_G_r24_p4")["matrix"]).permute(2, 0, 1)[:, :4].conj()
    assert smallest_angle_cosine(geometric_compression_matrices(bart_phantom, 4), expected) > 0.9999


def test_shading_is_the_same_with_and_without_compression():
    """Maps that the virtual coils represent completely, and whitening by which coils have different gains."""
    maps = apply_coil_matrix(complex_randn(6, 3, seed=1), complex_randn(3, 9, 8), -3)
    whitening = complex_randn(6, 6, seed=2)
    whitened = transform_maps(whitening, maps)
    norm = whitened.norm(dim=0)
    expected = maps.norm(dim=0) / norm
    assert relative_error(coil_shading(whitened / norm, whitening, (9, 8), whitening=whitening), expected) < 1e-12
    kspace = fft2c(whitened)
    for compression in (compression_matrix(kspace, 3), geometric_compression_matrices(kspace, 3)):
        mixing = compression @ whitening
        shading = coil_shading(transform_maps(mixing, maps) / norm, mixing, (9, 8), whitening=whitening)
        assert relative_error(shading, expected) < 1e-9
        virtual = transform_maps(compression, whitened) / norm
        assert relative_error(coil_shading(virtual, compression, (9, 8)), torch.ones_like(norm)) < 1e-9
