"""Uncertainty: variants are the same measurement, the map is the spread of their images, files hold it."""

import json
from dataclasses import replace

import h5py
import ismrmrd
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from typer.testing import CliRunner

from cinerecon.cine import CineData, as_tensor
from cinerecon.cine_meta import CineMeta
from cinerecon.cli import app
from cinerecon.errors import ConfigError, DataError, FileError
from cinerecon.image import CineImage, as_map
from cinerecon.io.export.display import radiological_turn
from cinerecon.io.mrd2.scan import load_mrd
from cinerecon.methods.table import load_method
from cinerecon.physics.fourier import ifft2c
from cinerecon.physics.sampling import parse_mask
from cinerecon.reconstruction.public import reconstruct
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.reconstruction.uncertainty import (
    OMISSION_PROBABILITY,
    Variant,
    draw_left_out,
    draw_variants,
    map_uncertainty,
)
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

SIZES = {"n_frames": 4, "ky": 32, "kx": 28, "n_coils": 3, "noise": 0.01}
PATTERN = "gaussian:3,acs=4"


def cine(**values):
    return simulate_cine(SimulateConfig(**{**SIZES, "undersample": PATTERN} | values))[0]


def sampled(data, pattern):
    """Fully sampled data, undersampled at points."""
    mask = as_tensor(parse_mask(pattern).draw(data.n_frames, *data.matrix, 0))
    return replace(data, kspace=data.kspace * mask, mask=mask)


@pytest.mark.parametrize("sizes", [(32, 28), (33, 29), (32, 29)])
@pytest.mark.parametrize("pattern", [PATTERN, "radial:4"])
def test_the_image_of_a_variant_is_that_of_the_measurement(sizes, pattern):
    data = cine(ky=sizes[0], kx=sizes[1], undersample=None if pattern == "radial:4" else pattern)
    data = sampled(data, pattern) if pattern == "radial:4" else data
    method = load_method("cgsense")
    image = method(data)
    for mirrored in ((), (-2,), (-1,), (-2, -1)):
        variant = Variant(mirrored, first_frame=3, phase=1.2)
        changed = variant.apply(data)
        assert torch.allclose(variant.undo(method(changed)), image, atol=1e-4 * float(image.abs().max()))
        assert not torch.allclose(changed.kspace, data.kspace)


def test_a_partial_extent_is_mirrored_with_the_samples():
    data = cine(undersample=None)
    data.mask[:, :, :8] = data.mask[:, :, 28:] = False
    data = CineData(data.kspace * data.mask, data.mask, data.csm, meta=replace(data.meta, extent=None))
    method = load_method("cgsense")
    variant = Variant((-2, -1))
    assert variant.apply(data).meta.extent == (slice(5, 25), slice(None))
    again = Variant((-2,)).apply(replace(variant.apply(data), csm=data.csm))
    assert again.meta.extent == (slice(8, 28), slice(None))
    first_half = replace(data, meta=replace(data.meta, extent=(slice(0, 20), slice(None))))
    assert variant.apply(first_half).meta.extent == (slice(13, 32), slice(None))  # line 0 has no counterpart
    image = method(data)
    assert torch.allclose(variant.undo(method(variant.apply(data))), image, atol=1e-4 * float(image.abs().max()))


def test_a_tenth_of_the_outer_lines_is_left_out():
    mask = cine(n_frames=25, ky=128).mask
    chosen = draw_left_out(mask, OMISSION_PROBABILITY, np.random.default_rng(0))
    acs = slice(62, 66)
    assert not chosen[:, :, acs].any()
    assert not (chosen & ~mask).any()
    share = float(chosen.sum() / (mask.sum() - mask[:, :, acs].sum()))
    assert share == pytest.approx(OMISSION_PROBABILITY, abs=0.03)
    assert (chosen == chosen[..., :1]).all()
    assert not draw_left_out(torch.ones(3, 1, 8, 1, dtype=torch.bool), 1.0, np.random.default_rng(0)).any()
    points = sampled(cine(undersample=None), "radial:4").mask
    assert not (draw_left_out(points, OMISSION_PROBABILITY, np.random.default_rng(0)) == points).all(-1).all()


def test_frames_are_shifted_within_one_beat_alone():
    data = cine()
    assert data.meta.is_one_beat
    assert len({variant.first_frame for variant in draw_variants(data, 16)}) > 1
    real_time = replace(data, meta=replace(data.meta, is_one_beat=False, is_real_time=True))
    assert {variant.first_frame for variant in draw_variants(real_time, 16)} == {0}
    assert draw_variants(data, 4, seed=1) == draw_variants(data, 4, seed=1) != draw_variants(data, 4, seed=2)


def test_the_map_is_the_standard_deviation_that_left_out_lines_cause():
    """For zero filling it has a formula: each line is a term that is absent with a known probability."""
    generator = torch.Generator().manual_seed(0)
    kspace = torch.randn(2, 1, 24, 24, dtype=torch.complex64, generator=generator)
    mask = torch.rand(2, 1, 24, 1, generator=generator) < 0.6
    mask[:, :, 10:14] = True
    mask[0, :, [14, 9]] = False
    data = CineData(kspace * mask, mask, meta=CineMeta(is_one_beat=True))
    method = load_method("zerofilled")
    image = method(data)
    terms = torch.stack([ifft2c(data.kspace[:, 0] * (torch.arange(24) == line)[:, None]) for line in range(24)])
    along = (terms * torch.sgn(image).conj()).real[[line for line in range(24) if not 10 <= line < 14]]
    variance = (OMISSION_PROBABILITY * (1 - OMISSION_PROBABILITY) * along.square()).sum(0)
    expected = torch.nn.functional.avg_pool2d(variance[:, None], 3, 1, 1, count_include_pad=False)[:, 0].sqrt()
    std = map_uncertainty(data, method, image, draw_variants(data, 300))
    assert torch.allclose(std, expected, rtol=0.2)
    assert float((std / expected).median()) == pytest.approx(1, abs=0.03)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("uncertainty") / "scan.h5"
    simulate_scan(path, SimulateConfig(**SIZES, undersample=PATTERN))
    return path


def test_the_map_is_a_series_of_its_own(scan, tmp_path):
    names = ("c.h5", "c.nii.gz", "c.npz", "c.png", "c.mrd2", "dicom/")
    outputs = tuple(str(tmp_path / name) for name in names)
    report = reconstruct_scan(ReconRequest(scan, "cgsense", outputs, uncertainty=True, n_variants=3))
    (part,) = report.slices
    values = part.cine.uncertainty
    assert (values > 0).all()
    with np.load(tmp_path / "c.npz") as arrays:
        assert np.array_equal(arrays["uncertainty"][0], values)
        assert "3 variants" in str(arrays["uncertainty_source"])
    file = ismrmrd.Dataset(str(tmp_path / "c.uncertainty.h5"), "dataset", create_if_needed=False)
    images = [file.read_image("image_0", n) for n in range(4)]
    assert np.allclose([image.data[0, 0] for image in images], values, rtol=1e-5)
    assert "3 variants" in images[0].attribute_string
    nifti = nibabel.load(tmp_path / "c.uncertainty.nii.gz")
    assert np.allclose(nifti.get_fdata()[:, :, 0].transpose(2, 1, 0), values, rtol=1e-4)
    files = [pydicom.dcmread(path) for path in sorted((tmp_path / "dicom.uncertainty").glob("*.dcm"))]
    (item,) = files[0].RealWorldValueMappingSequence
    stored = np.stack([file.pixel_array for file in files])
    shown = radiological_turn(part.cine.first_voxel).pixels(values)
    assert np.allclose(stored * item.RealWorldValueSlope, shown, atol=0.6 * item.RealWorldValueSlope)
    assert files[0].ImageType[3] == "UNCERTAINTY"
    with load_mrd("c").BinaryMrdReader(str(tmp_path / "c.uncertainty.mrd2")) as reader:
        reader.read_header()
        assert np.allclose([item.value.data[0, 0] for item in reader.read_data()], values, rtol=1e-5)
    (tmp_path / "other.uncertainty.h5").write_bytes(b"")
    with pytest.raises(FileError, match="exists"):
        reconstruct_scan(ReconRequest(scan, "cgsense", (str(tmp_path / "other.h5"),), uncertainty=True))


@pytest.mark.filterwarnings("ignore::cinerecon.errors.CineReconWarning")
def test_a_network_has_uncertainty_where_all_samples_are_measured(tmp_path):
    data = cine(undersample=None)
    part = reconstruct(data, method="dccnn", uncertainty=True, n_variants=4)
    assert 0 < part.uncertainty["support"] < 0.1
    with pytest.raises(ConfigError, match="does not depend on the variants"):
        reconstruct(data, method="cgsense", uncertainty=True)
    simulate_scan(tmp_path / "flow.h5", SimulateConfig(**SIZES, undersample=PATTERN, venc=150))
    with pytest.raises(ConfigError, match="one set at a time"):
        reconstruct(tmp_path / "flow.h5", method="cgsense", uncertainty=True)


def test_the_report_states_uncertainty(scan, tmp_path):
    command = ["recon", str(scan), "--uncertainty", "--variants", "2", "--model", "zerofilled", "--force"]
    command += ["-o", str(tmp_path / "c.h5")]
    assert "in the support (root mean square)" in CliRunner().invoke(app, command).output
    (part,) = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["slices"]
    with h5py.File(tmp_path / "c.uncertainty.h5") as file:
        values = file["dataset/image_0/data"][:, 0, 0]
    with h5py.File(tmp_path / "c.h5") as file:
        image = file["dataset/image_0/data"][:, 0, 0]
    support = image.mean(0) > 0.1 * np.quantile(image.mean(0), 0.995)
    expected = np.sqrt((values[:, support] ** 2).mean() / (image[:, support] ** 2).mean())
    assert part["uncertainty"]["support"] == pytest.approx(expected, rel=0.02)
    assert "2 variants" in part["uncertainty_source"]
    with pytest.raises(DataError, match="was not mapped"):
        as_map(CineImage(np.ones((1, 2, 2), np.complex64)), "uncertainty")
