"""SNR of a raw scan: noise passes whitening, averages, coil combination, shading and the method into the maps."""

import json
import shutil
from functools import cache

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
from typer.testing import CliRunner

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan, read_slices
from cinerecon.cine import CineData
from cinerecon.cli import app
from cinerecon.errors import CineReconWarning, ConfigError, DataError, FileError
from cinerecon.image import CineImage, as_map
from cinerecon.io.export.display import radiological_turn
from cinerecon.reconstruction.public import reconstruct
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SIZES = {"n_frames": 4, "ky": 32, "kx": 28, "n_coils": 4}
NOISE_FLAG = 1 << 18
N_SCANS = 60
LEVEL = 0.01
"""Standard deviation of the noise over the maximum of the image, in the coil with the least noise."""


@pytest.fixture(scope="module")
def quiet_scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("snr") / "quiet.h5"
    simulate_scan(path, SimulateConfig(**SIZES, noise=1e-6, undersample="gaussian:2,acs=6"))
    return path


def coil_mixing():
    """Coils whose noise differs fourfold in strength, and of which two are strongly correlated."""
    mixing = np.diag([1, 2, 4, 1]).astype(complex)
    mixing[1, 0], mixing[3, 2] = 1.5j, 0.4
    return LEVEL * mixing


def add_noise(source, path, seed, repeats=1):
    """A copy of a scan with noise of `coil_mixing` in its lines, and matching noise readouts.

    With ``repeats``, every second line was measured so often: its samples have less noise, and repetitions are stored.
    """
    rng = np.random.default_rng(seed)
    shutil.copyfile(source, path)
    with h5py.File(path, "r+") as file:
        data = file["dataset/data"]
        rows = data[:]
        is_noise = (rows["head"]["flags"] & NOISE_FLAG) > 0
        dwell, dwell_noise = (rows["head"]["sample_time_us"][choice][0] for choice in (~is_noise, is_noise))
        bandwidth = 0.793  # of the header that `simulate` writes
        loss = np.sqrt(dwell * bandwidth / dwell_noise)
        out = []
        for row, noise_row in zip(rows, is_noise, strict=True):
            n = repeats if not noise_row and row["head"]["idx"]["kspace_encode_step_1"] % 2 else 1
            samples = row["data"].view(np.complex64).reshape(4, -1)
            for _ in range(n):
                white = rng.standard_normal((2, *samples.shape)) / np.sqrt(2)
                noise = coil_mixing() @ (white[0] + 1j * white[1])
                copy = row.copy()
                copy["data"] = (
                    (loss * noise if noise_row else samples + noise).astype(np.complex64).view(np.float32).ravel()
                )
                out.append(copy)
        readouts = np.empty(len(out), rows.dtype)
        for number, row in enumerate(out):
            readouts[number] = row
        data.resize((len(out),))
        data[:] = readouts
    return path


@pytest.fixture(scope="module")
def repeated_scans(quiet_scan, tmp_path_factory):
    """Scans that differ in their noise alone, by the number of measurements of every second line."""
    folder = tmp_path_factory.mktemp("repeated")
    return {n: [add_noise(quiet_scan, folder / f"{n}_{seed}.h5", seed, n) for seed in range(N_SCANS)] for n in (1, 3)}


@pytest.fixture(scope="module")
def read(repeated_scans):
    """The slices of `repeated_scans`, read with some settings."""

    @cache
    def read(n, *settings):
        config = AcquisitionConfig(csm="walsh").with_settings(settings)
        return [open_scan(scan, config).read_slice(0) for scan in repeated_scans[n]]

    return read


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::cinerecon.errors.CineReconWarning")
@pytest.mark.parametrize(
    ("method", "repeats", "settings"),
    [
        ("zerofilled", 1, ()),
        ("zerofilled", 3, ("repeats=average",)),
        ("cgsense", 1, ()),
        ("cgsense", 3, ("repeats=average", "n_virtual_coils=3")),
        ("viewshared", 1, ()),
    ],
)
def test_the_noise_of_a_scan_is_the_spread_of_its_repetitions(repeated_scans, read, method, repeats, settings):
    images = np.abs([reconstruct(data, method=method).image for data in read(repeats, *settings)])
    options = {"csm": "walsh", "settings": [f"preprocessing.{text}" for text in settings]}
    mapped = reconstruct(repeated_scans[repeats][0], method=method, snr=True, n_replicas=24, **options)[0].cine
    measured, mean = images.std(0, ddof=1), images.mean(0)
    support = mean.mean(0) > 0.3 * mean.max()  # where the noise of a magnitude is that of its real part
    ratio = (mapped.noise / measured)[:, support]
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert np.log(ratio).std() < 1.5 / np.sqrt(2 * N_SCANS)
    assert np.allclose(mapped.snr, images[0] / mapped.noise, rtol=1e-5)


def test_maps_are_series_of_their_own(quiet_scan, tmp_path):
    scan = add_noise(quiet_scan, tmp_path / "scan.h5", 0)
    outputs = tuple(str(tmp_path / name) for name in ("c.h5", "c.nii.gz", "c.npz", "c.png", "dicom/"))
    report = reconstruct_scan(ReconRequest(scan, "cgsense", outputs, snr=True))
    (part,) = report.slices
    expected = {"snr": np.abs(part.image) / part.cine.noise, "noise": part.cine.noise}
    with np.load(tmp_path / "c.npz") as arrays:
        assert "formula" in str(arrays["noise_source"])
        for name, values in expected.items():
            assert np.allclose(arrays[name][0], values, rtol=1e-5)
    studies, series = set(), set()
    for name, values in expected.items():
        with h5py.File(tmp_path / f"c.{name}.h5") as file:
            assert list(file["dataset"]) == ["image_0", "xml"]
            assert np.allclose(file["dataset/image_0/data"][:, 0, 0], values, rtol=1e-5)
            assert "noise by formula" in file["dataset/image_0/attributes"][0].decode()
        nifti = nibabel.load(tmp_path / f"c.{name}.nii.gz")
        assert np.allclose(nifti.get_fdata()[:, :, 0].transpose(2, 1, 0), values, rtol=1e-4)
        assert np.allclose(nifti.affine, nibabel.load(tmp_path / "c.nii.gz").affine)
        assert b"noise by formula" in nifti.header.extensions[0].get_content()
        files = [pydicom.dcmread(path) for path in sorted((tmp_path / f"dicom.{name}").glob("*.dcm"))]
        (item,) = files[0].RealWorldValueMappingSequence
        stored = np.stack([file.pixel_array for file in files])
        shown = radiological_turn(part.cine.first_voxel).pixels(values)
        assert np.allclose(stored * item.RealWorldValueSlope, shown, atol=0.6 * item.RealWorldValueSlope)
        assert name.lower() in files[0].SeriesDescription.lower()
        assert files[0].ImageType[3] == name.upper()
        studies.add(files[0].StudyInstanceUID)
        series.add(files[0].SeriesInstanceUID)
    image = pydicom.dcmread(next((tmp_path / "dicom").glob("*.dcm")))
    assert studies == {image.StudyInstanceUID}
    assert len(series | {image.SeriesInstanceUID}) == 3
    (tmp_path / "other.snr.h5").write_bytes(b"")
    with pytest.raises(FileError, match="exists"):
        reconstruct_scan(ReconRequest(scan, "cgsense", (str(tmp_path / "other.h5"),), snr=True))


def test_the_report_states_snr_and_the_origin_of_the_noise(quiet_scan, tmp_path):
    scan = add_noise(quiet_scan, tmp_path / "scan.h5", 0)
    command = ["recon", str(scan), "--snr", "-o", str(tmp_path / "c.npz"), "--replicas", "4", "--force", "--model"]
    result = CliRunner().invoke(app, [*command, "viewshared", "--json", "--quiet"])
    (part,) = json.loads(result.stdout)["slices"]
    with np.load(tmp_path / "c.npz") as arrays:
        snr, image = arrays["snr"][0], np.abs(arrays["image"][0])
    support = image.mean(0) > 0.1 * np.quantile(image.mean(0), 0.995)
    assert part["snr"]["median"] == pytest.approx(np.median(snr[:, support]), rel=0.05)
    assert part["noise_source"].startswith("noise from 4 pseudo-replicas, standard error ")
    assert "g-factor" in CliRunner().invoke(app, [*command, "cgsense"]).output


def test_noise_is_estimated_with_a_warning_where_it_is_not_known(quiet_scan, tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=4, ky=64, kx=64, n_coils=4, noise=0.03))
    scan = tmp_path / "scan.h5"
    known = reconstruct(scan, method="zerofilled", snr=True)[0]
    with pytest.warns(CineReconWarning, match="no noise scan was used"):
        (part,) = reconstruct(scan, method="zerofilled", snr=True, settings=["preprocessing.whiten=false"])
    assert any("no noise scan was used" in text for text in part.warnings)
    assert part.snr["median"] == pytest.approx(known.snr["median"], rel=0.2)
    data = next(read_slices(scan))
    still = data.kspace[:1].expand_as(data.kspace)  # the same in all frames: measured noise would differ
    with pytest.raises(DataError, match="the noise is unknown"):
        reconstruct(CineData(still, data.mask, data.csm), method="zerofilled", snr=True)


def test_options_of_snr_belong_to_scans_and_slices(quiet_scan):
    data = next(read_slices(quiet_scan))
    assert reconstruct(data, method="cgsense", snr=True).cine.snr.shape == tuple(
        data.kspace.shape[i] for i in (0, 2, 3)
    )
    with pytest.raises(ConfigError, match="belongs to"):
        reconstruct(data.kspace, data.mask, method="cgsense", snr=True)
    with pytest.raises(DataError, match="not mapped"):
        as_map(CineImage(np.ones((1, 2, 2), np.complex64)), "snr")
