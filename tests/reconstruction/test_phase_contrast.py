"""Phase contrast: the velocity in a vessel, in every file format, and scans that are not two alike sets."""

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from scipy.ndimage import binary_erosion

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import CineReconError, CineReconWarning, ConfigError, DataError, UnsupportedError
from cinerecon.io.export.display import radiological_turn
from cinerecon.io.ismrmrd.header import parse_header
from cinerecon.io.mrd2.images import read_mrd2_images
from cinerecon.io.mrd_stream.images import read_stream_images
from cinerecon.reconstruction.public import reconstruct
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

VENC = 150.0
CONFIG = SimulateConfig(n_frames=6, ky=64, kx=64, n_coils=4, venc=VENC)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("flow") / "flow.h5"
    simulate_scan(path, CONFIG)
    return path


def copied(scan, path, change):
    """A copy of a scan whose rows or header are changed in place by ``change(rows, xml)``, which returns the header."""
    with h5py.File(scan) as source, h5py.File(path, "w") as file:
        source.copy("dataset", file)
        rows = file["dataset/data"][:]
        xml = change(rows, file["dataset/xml"][0].decode())
        keep = rows["head"]["number_of_samples"] > 0
        del file["dataset/data"], file["dataset/xml"]
        file["dataset"].create_dataset("data", data=rows[keep], dtype=rows.dtype)
        file["dataset"].create_dataset("xml", data=[xml.encode()], dtype=h5py.special_dtype(vlen=bytes))
    return path


def in_vessel(scan, velocity):
    """True and measured mean velocity of each frame inside the vessel."""
    with h5py.File(scan) as file:
        truth = file["dataset/truth/velocity"][0]
    vessel = binary_erosion(np.abs(truth).max(0) > 0, iterations=2)
    return truth[:, vessel].mean(1), velocity[:, vessel].mean(1)


def test_velocity_in_the_vessel(scan):
    (part,) = reconstruct(scan, method="zerofilled")
    truth, measured = in_vessel(scan, part.cine.velocity)
    assert abs(truth).max() > 0.4 * VENC
    assert np.abs(measured - truth).max() < 0.02 * abs(truth).max()
    assert part.quality["psnr"] > 40


def test_two_sets_are_opened_only_on_request(scan):
    with pytest.raises(UnsupportedError, match="2 sets"):
        open_scan(scan)
    finished = open_scan(scan, phase_contrast=True).read_timed(0)
    assert finished.data.kspace.shape == finished.encoded.kspace.shape
    for number, data in enumerate((finished.data, finished.encoded)):
        alone = open_scan(scan, AcquisitionConfig().with_set(number)).read_slice(0)
        assert torch.allclose(data.kspace, alone.kspace)


def test_velocity_at_8_fold_acceleration(scan):
    (part,) = reconstruct(scan, method="cgsense", undersample="gaussian:8,acs=8")
    truth, measured = in_vessel(scan, part.cine.velocity)
    assert np.abs(measured - truth).max() < 0.15 * abs(truth).max()


def test_virtual_coils_are_those_of_both_sets(scan):
    (part,) = reconstruct(scan, method="zerofilled", settings=["preprocessing.n_virtual_coils=3"])
    truth, measured = in_vessel(scan, part.cine.velocity)
    assert np.abs(measured - truth).max() < 0.02 * abs(truth).max()


def test_given_range_scales_the_velocity(scan):
    parts = [reconstruct(scan, method="zerofilled", venc=venc)[0] for venc in (None, 75.0)]
    assert np.allclose(parts[0].cine.velocity, 2 * parts[1].cine.velocity, atol=1e-3)


def test_velocity_in_every_format(scan, tmp_path):
    outputs = [str(tmp_path / name) for name in ("a.nii.gz", "a.h5", "a.npz", "a.mrd2", "a.mrd", "dicom/")]
    report = reconstruct_scan(ReconRequest(scan, "zerofilled", outputs))
    velocity = report.slices[0].cine.velocity
    assert np.allclose(nibabel.load(tmp_path / "a.velocity.nii.gz").get_fdata()[:, :, 0].transpose(2, 1, 0), velocity)
    with h5py.File(tmp_path / "a.velocity.h5") as file:
        group = file["dataset/image_0"]
        assert np.array_equal(group["data"][:, 0, 0], velocity)
        assert set(group["header"]["image_type"]) == {2}
        assert "<name>VENC_cm_s</name><value>150</value>" in group["attributes"][0].decode()
    (series,) = read_mrd2_images(tmp_path / "a.velocity.mrd2")
    (stream,) = read_stream_images(tmp_path / "a.velocity.mrd")
    for images in (series, stream):
        assert np.array_equal([image.values[0, 0] for image in images], velocity)
        assert {int(image.head["image_type"]) for image in images} == {2}
        assert "<name>VENC_cm_s</name><value>150</value>" in images[0].attributes
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["velocity"][0], velocity)
        assert arrays["venc_cm_s"] == [VENC]
    shown = radiological_turn(report.slices[0].cine.first_voxel).pixels(velocity)
    for frame in range(CONFIG.n_frames):
        image = pydicom.dcmread(tmp_path / f"dicom.velocity/slice00_frame{frame:03d}.dcm")
        values = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        assert np.abs(values - shown[frame]).max() <= VENC / 2048 + 1e-3
        assert list(image.ImageType) == ["DERIVED", "SECONDARY", "VELOCITY MAP", "P"]
        assert "VENC 150 cm/s, background phase offset is not corrected" in image.ImageComments
        unit = image.RealWorldValueMappingSequence[0].MeasurementUnitsCodeSequence[0]
        assert unit.CodeValue == "cm/s"
    magnitude = pydicom.dcmread(tmp_path / "dicom/slice00_frame000.dcm")
    assert magnitude.SeriesInstanceUID != image.SeriesInstanceUID


def test_one_set_by_its_index(scan):
    parts = [reconstruct(scan, method="zerofilled", set_index=number)[0] for number in (0, 1)]
    assert parts[0].cine.velocity is None
    (both,) = reconstruct(scan, method="zerofilled")
    _, measured = in_vessel(scan, np.angle(parts[1].image * parts[0].image.conj()) * VENC / np.pi)
    assert np.abs(measured - in_vessel(scan, both.cine.velocity)[1]).max() < 0.01 * VENC


def test_mistakes(scan, tmp_path):
    with pytest.raises(DataError) as error:
        reconstruct(scan, method="zerofilled", set_index=4)
    assert error.value.hint == "use --set-index=0"
    with pytest.raises(ConfigError, match="phase contrast"):
        reconstruct(scan, method="zerofilled", venc=100, set_index=0)
    with pytest.raises(ConfigError, match="one set at a time"):
        reconstruct(scan, method="zerofilled", snr=True)


def test_missing_range(scan, tmp_path):
    path = copied(scan, tmp_path / "a.h5", lambda _, xml: xml.replace("<name>VENC</name>", "<name>other</name>"))
    with pytest.raises(DataError, match="no velocity encoding") as error:
        reconstruct(path, method="zerofilled")
    assert "--venc 150" in error.value.hint
    assert reconstruct(path, method="zerofilled", venc=VENC)[0].cine.venc_cm_s == VENC


@pytest.mark.parametrize("value", ["1500", "1.5"])
def test_venc_in_another_unit_is_reported(scan, tmp_path, value):
    name = "<name>VENC</name><value>"
    path = copied(scan, tmp_path / "flow.h5", lambda _, xml: xml.replace(f"{name}150", f"{name}{value}"))
    with pytest.warns(CineReconWarning, match=f"VENC is {value} cm/s, which is implausible"):
        assert reconstruct(path, method="zerofilled")[0].cine.venc_cm_s == float(value)
    (part,) = reconstruct(path, method="zerofilled", venc=VENC)
    assert not any("implausible" in text for text in part.warnings)


def test_three_sets(scan, tmp_path):
    def change(rows, xml):
        rows["head"]["idx"]["set"][-20:] = 2
        return xml.replace(
            "<set><minimum>0</minimum><maximum>1</maximum>", "<set><minimum>0</minimum><maximum>2</maximum>"
        )

    with pytest.raises(UnsupportedError, match="3 sets") as error:
        reconstruct(copied(scan, tmp_path / "a.h5", change), method="zerofilled")
    assert "--set-index=0" in error.value.hint


def test_sets_of_unlike_sampling(scan, tmp_path):
    def change(rows, xml):
        head = rows["head"]
        is_lost = (head["idx"]["set"] == 1) & (head["idx"]["kspace_encode_step_1"] % 8 == 1)
        head["number_of_samples"][is_lost] = 0
        return xml

    with pytest.warns(CineReconWarning, match="different lines in 6 of 6 frames"):
        reconstruct(copied(scan, tmp_path / "a.h5", change), method="zerofilled")

    def shorten(rows, xml):
        head = rows["head"]
        head["number_of_samples"][(head["idx"]["set"] == 1) & (head["idx"]["phase"] == 5)] = 0
        return xml

    with pytest.raises(CineReconError):
        reconstruct(copied(scan, tmp_path / "b.h5", shorten), method="zerofilled")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("VENC", 80), ("venc_0", 80), ("sAngio.sFlowArray.asElm[0].nVelocity", 80), ("VelocityEncoding", 80),
     ("convenience", None), ("PreVencCheck", None)],
)  # fmt: skip
def test_names_of_the_velocity_range(scan, name, expected):
    with h5py.File(scan) as file:
        xml = file["dataset/xml"][0].decode()
    xml = xml.replace("<name>VENC</name><value>150</value>", f"<name>{name}</name><value>80</value>")
    assert parse_header(xml.encode()).venc_cm_s == expected


def test_simulated_sets_need_a_file():
    with pytest.raises(ConfigError, match="two sets"):
        simulate_cine(CONFIG)
