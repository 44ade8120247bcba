"""Siemens twix files: the same scan as twix and as HDF5, measured data of a phantom, and files that cannot be read."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from siemens_scan import as_twix, siemens_copy, siemens_scan
from twix_file import measurement_of, noise_measurement, write_twix

from cinerecon import load_method, reconstruct
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import find_cines, open_scan
from cinerecon.cli import main
from cinerecon.errors import CineReconError, ConfigError, DataError, FileError, HeaderError, UnsupportedError
from cinerecon.io.recognise import is_twix
from cinerecon.io.twix.acquisitions import directions_of_normal
from cinerecon.io.twix.scan import read_twix
from cinerecon.physics.fourier import ifft2c
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

pytest.importorskip("twixtools", reason="reads and writes twix files")
MEASURED = Path(__file__).parents[4] / "shared" / "formats" / "twix"
measured = pytest.mark.skipif(not MEASURED.exists(), reason="needs ../shared/formats/twix")
PLAIN = AcquisitionConfig(csm="walsh")


def two_averages(scan):
    for row in range(len(scan.heads)):
        scan.append(row)["idx"]["average"] = 1


def reversed_lines(scan):
    for row in range(0, len(scan.heads), 2):
        scan.flag(row, 22)
        scan.samples[row] = scan.samples[row][:, ::-1].copy()


def asymmetric_echo(scan):
    scan.samples = [samples[:, 6:] for samples in scan.samples]
    scan.heads["number_of_samples"] -= 6
    scan.heads["center_sample"] -= 6


def calibration_lines(scan):
    """Every second line in turn, lines of the centre in between flagged as calibration alone."""
    line, frame = (scan.heads["idx"][name] for name in ("kspace_encode_step_1", "phase"))
    is_image, is_central = (line + frame) % 2 == 0, np.abs(line.astype(int) - 6) <= 3
    for row in np.flatnonzero(is_central):
        scan.flag(row, 21 if is_image[row] else 20)
    scan.keep(is_image | is_central)


def dropped_readouts(scan):
    """A navigator, a dummy and a phase correction of large amplitude, which must not enter the image."""
    for row, flags in ((0, (23, 28)), (1, (27,)), (2, (24,))):
        scan.append(row, 1e3 * scan.samples[row])
        for flag in flags:
            scan.flag(len(scan.heads) - 1, flag)


CASES = {
    "plain": lambda scan: None,
    "averages": two_averages,
    "reversed": reversed_lines,
    "asymmetric": asymmetric_echo,
    "calibration": calibration_lines,
    "dropped": dropped_readouts,
}


@pytest.mark.parametrize("line", ["VB", "VD"])
@pytest.mark.parametrize("name", CASES)
def test_a_scan_is_the_same_as_twix_and_as_hdf5(tmp_path, name, line):
    scan = siemens_scan(n_slices=2, rows=14)
    CASES[name](scan)
    if name == "averages":
        scan.space["limits"]["average"] = (1, 0)
    twix = write_twix(tmp_path / "scan.dat", as_twix(scan, n_averages=1 + (name == "averages")), line=line)
    one, other = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN), open_scan(twix, PLAIN)
    assert other.n_slices == one.n_slices == 2
    for number in range(2):
        expected, data = one.read_slice(number), other.read_slice(number)
        assert torch.equal(data.mask, expected.mask)
        scale = expected.kspace.abs().max()
        assert (data.kspace - expected.kspace).abs().max() <= 1e-6 * scale
        assert (data.csm - expected.csm).abs().max() <= 1e-5
        assert_same_geometry(data.meta, expected.meta)
        assert data.meta.frame_times_ms == expected.meta.frame_times_ms == (0, 40, 80)
    assert other.plan.dropped == one.plan.dropped
    if name == "plain":
        truth = scan.images[0]
        image = (ifft2c(data.kspace) * data.csm.conj()).sum(1)
        assert image.shape[-2:] == truth.shape[-2:]


def assert_same_geometry(meta, expected):
    for name in ("position_mm", "read_dir", "phase_dir", "slice_dir"):
        assert np.allclose(getattr(meta.geometry, name), getattr(expected.geometry, name), atol=1e-4), name
    assert meta.pixel_size_mm == pytest.approx(expected.pixel_size_mm, abs=1e-6)
    assert meta.slice_thickness_mm == expected.slice_thickness_mm


def test_headers_carry_times_counters_and_the_protocol(tmp_path):
    scan = siemens_scan()
    scan.heads["idx"]["segment"] = np.arange(len(scan.heads)) % 4
    raw = read_twix(write_twix(tmp_path / "scan.dat", as_twix(scan)))
    for name in ("acquisition_time_stamp", "physiology_time_stamp", "center_sample", "active_channels"):
        assert np.array_equal(raw.heads[name], scan.heads[name]), name
    assert np.array_equal(raw.heads["idx"]["segment"], scan.heads["idx"]["segment"])
    assert np.allclose(raw.heads["sample_time_us"], 2.0)
    header = raw.header
    assert (header.vendor, header.model, header.field_strength_tesla) == ("SIEMENS", "Sola", 1.494)
    assert (header.tr_ms, header.te_ms, header.flip_degrees, header.sequence) == (40, 1.5, 50, "trufi")
    assert (header.patient_position, header.protocol) == ("HFS", "cine_sax")
    assert header.subject.startswith("person-")
    assert "0815" not in raw.xml and "Nobody" not in raw.xml


@pytest.mark.parametrize("missing", [3, 5])
def test_partial_fourier_is_centred_on_the_line_of_the_readouts(tmp_path, missing):
    """The scanner counts the first measured line as 0."""
    scan = siemens_scan(n_frames=1)
    scan.keep(scan.heads["idx"]["kspace_encode_step_1"] >= missing)
    expected = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).read_slice(0)
    scan.heads["idx"]["kspace_encode_step_1"] -= missing
    part = as_twix(scan, centre_line=6 - missing)
    part.meas["iNoOfFourierLines"] = 12 - missing
    data = open_scan(write_twix(tmp_path / "scan.dat", part), PLAIN).read_slice(0)
    assert torch.equal(data.mask, expected.mask)
    assert torch.allclose(data.kspace, expected.kspace)


def noise_of(scan, n=40, seed=0):
    rng = np.random.default_rng(seed)
    mixing = np.eye(3) + 0.5 * rng.standard_normal((3, 3))
    heads = np.repeat(scan.heads[:1], n)
    heads["flags"], heads["number_of_samples"], heads["sample_time_us"] = 1 << 18, 64, 5.0
    heads["acquisition_time_stamp"] -= n
    noise = rng.standard_normal((n, 3, 64, 2)).view(np.complex128)[..., 0]
    return heads, [(1e-3 * mixing @ part).astype(np.complex64) for part in noise]


def test_noise_of_an_earlier_measurement_whitens_the_scan(tmp_path):
    scan = siemens_scan()
    heads, noise = noise_of(scan)
    part = as_twix(scan)
    twix = write_twix(tmp_path / "scan.dat", noise_measurement(part, heads, noise), part)
    scan.heads, scan.samples = np.concatenate([heads, scan.heads]), [*noise, *scan.samples]
    one, other = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN), open_scan(twix, PLAIN)
    expected, data = one.read_slice(0), other.read_slice(0)
    assert torch.allclose(data.kspace, expected.kspace, rtol=0, atol=1e-6 * float(expected.kspace.abs().max()))
    assert not any("not whitened" in warning for warning in data.meta.warnings)
    assert other.plan.noise == "40 readouts of 64 samples in measurement 1 of 2"
    plain = open_scan(twix, PLAIN.with_settings(["whiten=false"])).read_slice(0)
    assert not torch.allclose(plain.kspace, data.kspace, rtol=0.1)


def test_noise_of_other_coils_is_not_used(tmp_path):
    scan = siemens_scan()
    heads, noise = noise_of(scan)
    part = as_twix(scan)
    twix = write_twix(tmp_path / "scan.dat", noise_measurement(part, heads, [samples[:2] for samples in noise]), part)
    assert "no noise readouts: coils are not whitened" in open_scan(twix, PLAIN).plan.warnings


def test_the_last_measurement_is_read_unless_another_is_chosen(tmp_path, capsys, run):
    first, last = siemens_scan(n_frames=2), siemens_scan(n_frames=3)
    twix = write_twix(tmp_path / "scan.dat", as_twix(first), as_twix(last))
    assert open_scan(twix, PLAIN).read_slice(0).n_frames == 3
    assert open_scan(twix, PLAIN, measurement=1).read_slice(0).n_frames == 2
    with pytest.raises(ConfigError, match="no measurement 3, the file contains 2: 1 'cine', 2 'cine'"):
        open_scan(twix, PLAIN, measurement=3)
    with pytest.raises(ConfigError, match="--dataset applies only to ISMRMRD"):
        open_scan(twix, PLAIN, dataset="dataset")
    with pytest.raises(ConfigError, match="--measurement applies only to Siemens"):
        open_scan(first.write(tmp_path / "scan.h5"), PLAIN, measurement=1)
    assert find_cines(tmp_path) == [twix, tmp_path / "scan.h5"]
    assert run("inspect", twix, "--measurement", "1") == 0
    assert "measurement 1 of 2" in capsys.readouterr().out


def test_adjustments_after_the_scan_are_not_the_scan(tmp_path):
    scan = siemens_scan()
    heads, noise = noise_of(scan)
    part = as_twix(scan)
    adjustment = noise_measurement(part, heads, noise)
    opened = open_scan(write_twix(tmp_path / "scan.dat", part, adjustment), PLAIN)
    assert opened.plan.noise == "40 readouts of 64 samples in measurement 2 of 2"
    assert "measurement 2 of 2 has only noise readouts: measurement 1 of 2 is read" in opened.plan.warnings
    expected = open_scan(write_twix(tmp_path / "other.dat", adjustment, part), PLAIN).read_slice(0)
    assert torch.equal(opened.read_slice(0).kspace, expected.kspace)
    with pytest.raises(DataError, match="only noise readouts"):
        open_scan(write_twix(tmp_path / "noise.dat", adjustment), PLAIN)


def test_line_vb_is_read_as_twixtools_reads_it(tmp_path):
    import twixtools

    scan = siemens_scan(n_frames=1)
    path = write_twix(tmp_path / "scan.dat", as_twix(scan), line="VB")
    raw = read_twix(path)
    (other,) = twixtools.read_twix(str(path), verbose=False, parse_pmu=False, parse_geometry=False)
    assert len(other["mdb"]) == len(raw) == 12
    for row, block in enumerate(other["mdb"]):
        assert np.array_equal(raw.samples(np.array([row]))[0], block.data)
        assert (block.cLin, block.mdh.TimeStamp) == (
            raw.heads["idx"]["kspace_encode_step_1"][row],
            raw.heads["acquisition_time_stamp"][row],
        )


@pytest.fixture
def run(monkeypatch):
    """Call the command line; its exit code is returned."""

    def call(*arguments) -> int:
        monkeypatch.setattr(sys, "argv", ["cinerecon", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0)

    return call


@measured
def test_a_measured_phantom_is_its_direct_transform():
    import twixtools

    path = MEASURED / "gre.dat"
    data = open_scan(path, PLAIN).read_slice(0)
    kspace = np.zeros((2, 160, 320), np.complex128)
    for block in twixtools.read_twix(str(path), verbose=False, parse_geometry=False)[-1]["mdb"]:
        if block.is_image_scan():
            kspace[:, block.cLin] = block.data
    image = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(kspace, axes=(1, 2)), norm="ortho"), axes=(1, 2))[..., 80:240]
    coils = ifft2c(data.kspace[0]).numpy()
    assert np.abs(coils - image).max() < 1e-5 * np.abs(image).max()
    assert data.meta.pixel_size_mm == (1.25, 1.25)
    geometry = data.meta.geometry
    assert np.allclose(geometry.position_mm, (-2.5897, 53.9224, -53.9995), atol=1e-3)
    assert np.allclose(geometry.slice_dir, (0, 0.0383878, 0.9992630), atol=1e-6)
    assert np.allclose(geometry.phase_dir, (0, 0.9992630, -0.0383878), atol=1e-6)
    assert np.allclose(geometry.read_dir, (-1, 0, 0), atol=1e-6)


@measured
def test_echo_planar_scans_are_refused(capsys, run):
    assert run("inspect", MEASURED / "epi.dat") == 2
    assert "EPI (needs phase correction and regridding)" in capsys.readouterr().err


@measured
def test_directions_of_the_normal_are_those_of_the_quaternion():
    raw = read_twix(MEASURED / "gre.dat")
    directions = directions_of_normal(np.array([6.58423005e-09, 0.0383878015, 0.9992629886]), 0.0)
    for name, direction in zip(("read_dir", "phase_dir", "slice_dir"), directions, strict=True):
        assert np.allclose(raw.heads[name][0], direction, atol=1e-6)


def test_orientation_without_quaternion_is_that_of_the_protocol(tmp_path):
    """A coronal slice: phase encoding from right to left, rotated in the plane by 90 degrees."""
    scan = siemens_scan(n_frames=1)
    part = as_twix(scan)
    part.quaternion = False
    part.meas_yaps["sSliceArray.asSlice[0].sNormal.dCor"] = 1.0
    geometry = open_scan(write_twix(tmp_path / "a.dat", part), PLAIN).read_slice(0).meta.geometry
    assert np.allclose([geometry.phase_dir, geometry.read_dir, geometry.slice_dir], [[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    part.meas_yaps["sSliceArray.asSlice[0].dInPlaneRot"] = np.pi / 2
    geometry = open_scan(write_twix(tmp_path / "b.dat", part), PLAIN).read_slice(0).meta.geometry
    assert np.allclose([geometry.phase_dir, geometry.read_dir], [[0, 0, 1], [1, 0, 0]], atol=1e-7)


def test_slices_without_position_are_those_of_the_protocol(tmp_path):
    scan = siemens_scan(n_frames=2, n_slices=3)
    expected = open_scan(write_twix(tmp_path / "a.dat", as_twix(scan)), PLAIN)
    part = as_twix(scan)
    for number in range(3):
        row = np.flatnonzero(scan.heads["idx"]["slice"] == number)[0]
        for name, field in (("sPosition", "position"), ("sNormal", "slice_dir")):
            for axis, value in zip(("dSag", "dCor", "dTra"), scan.heads[field][row], strict=True):
                part.meas_yaps[f"sSliceArray.asSlice[{number}].{name}.{axis}"] = float(value)
    part.heads = scan.heads.copy()
    for name in ("position", "read_dir", "phase_dir", "slice_dir"):
        part.heads[name] = 0
    found = open_scan(write_twix(tmp_path / "b.dat", part), PLAIN)
    assert any("readouts of 3 slices have no position" in text for text in found.warnings)
    for number in range(3):
        one, other = (opened.read_slice(number) for opened in (found, expected))
        assert torch.equal(one.kspace, other.kspace)
        assert np.allclose(one.meta.geometry.position_mm, other.meta.geometry.position_mm, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"sKSpace.ucDimension": "0x4", "sKSpace.lPartitions": 16}, UnsupportedError, "a 3-D scan"),
        ({"sKSpace.ucTrajectory": "0x2"}, UnsupportedError, "the trajectory is radial"),
        ({"sKSpace.ucTrajectory": "0x4"}, UnsupportedError, "the trajectory is spiral"),
        ({"sKSpace.ucTrajectory": "0x8"}, UnsupportedError, "the trajectory is other"),
        ({"sKSpace.ucTrajectory": ""}, UnsupportedError, "the trajectory is other"),
        ({"sSliceAcceleration.lMultiBandFactor": 2}, UnsupportedError, "multi-band"),
        ({"sSliceArray.asSlice[0].dPhaseFOV": ""}, HeaderError, "the protocol lacks .*dPhaseFOV"),
        ({"sKSpace.lBaseResolution": 0}, HeaderError, "lBaseResolution is 0"),
    ],
)
def test_unsupported_scans_are_refused(tmp_path, change, kind, text):
    part = as_twix(siemens_scan(n_frames=1))
    part.meas_yaps |= change
    with pytest.raises(kind, match=text):
        open_scan(write_twix(tmp_path / "scan.dat", part))


@pytest.mark.parametrize("line", ["VB", "VD"])
def test_cut_files_are_refused(tmp_path, capsys, run, line):
    part = as_twix(siemens_scan(n_frames=1))
    content = write_twix(tmp_path / "scan.dat", part, line=line).read_bytes()
    path = tmp_path / "cut.dat"
    header = int.from_bytes(content[:4], "little") if line == "VB" else 10240 + len(part.header())
    for length in (64, header // 2, header - 1, header + 10, header + 400, len(content) // 2, len(content) - 700):
        path.write_bytes(content[:length])
        with pytest.raises(FileError, match="cut") as error:
            open_scan(path)
        assert str(path) in error.value.where and "copy" in error.value.hint
    assert run("recon", path, "--model", "zerofilled", "-o", tmp_path / "out.h5") == 2
    assert "error" in capsys.readouterr().err
    path.write_bytes(content[: len(content) // 2].ljust(len(content), b"\0"))
    with pytest.raises(FileError, match="damaged: there is no readout at byte"):
        open_scan(path)
    path.write_bytes(b"")
    with pytest.raises(FileError, match="an empty file"):
        open_scan(path)


def test_a_scan_without_readouts_is_refused(tmp_path):
    part = as_twix(siemens_scan(n_frames=1))
    blocks = part.blocks(is_vd=True)[-1:]
    part.blocks = lambda is_vd: blocks
    with pytest.raises(DataError, match="has no readouts"):
        open_scan(write_twix(tmp_path / "scan.dat", part))


@pytest.mark.parametrize(("offset", "value"), [(4, 60), (16, 3), (24, 1 << 40), (16, 1 << 60)])
def test_damaged_tables_of_measurements_are_refused(tmp_path, offset, value):
    content = bytearray(write_twix(tmp_path / "scan.dat", as_twix(siemens_scan(n_frames=1))).read_bytes())
    width = 4 if offset == 4 else 8
    content[offset : offset + width] = value.to_bytes(width, "little")
    (tmp_path / "scan.dat").write_bytes(content)
    with pytest.raises(FileError, match=r"damaged|cut"):
        open_scan(tmp_path / "scan.dat")


def test_damage_never_raises_another_error(tmp_path):
    good = write_twix(tmp_path / "good.dat", as_twix(siemens_scan(n_frames=1, matrix=(6, 8)))).read_bytes()
    rng, path = np.random.default_rng(0), tmp_path / "damaged.dat"
    n_refused = 0
    for _ in range(150):
        damaged = bytearray(good)
        first = int(rng.choice([rng.integers(0, 200), rng.integers(10240, 12000), rng.integers(22240, len(good))]))
        length = int(rng.integers(1, 40))
        damaged[first : first + length] = rng.bytes(length)
        path.write_bytes(damaged[: len(good)])
        try:
            open_scan(path, PLAIN).read_slice(0)
        except CineReconError as error:
            n_refused += str(path) in error.where
    assert n_refused > 30


def test_without_twixtools_the_package_is_named(tmp_path, monkeypatch, capsys, run):
    path = write_twix(tmp_path / "scan.dat", as_twix(siemens_scan(n_frames=1)))
    for name in [name for name in sys.modules if name.partition(".")[0] == "twixtools"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "twixtools", None)
    assert run("inspect", path) == 2
    assert "pip install 'cinerecon[twix]'" in capsys.readouterr().err


def test_files_are_recognised_by_content(tmp_path):
    twix = write_twix(tmp_path / "scan.h5", as_twix(siemens_scan(n_frames=1)))
    assert is_twix(twix) and open_scan(twix, PLAIN).n_slices == 1
    for content in (b"", b"text", b"\0" * 64, bytes(range(64)), np.linspace(0, 1, 99).tobytes()):
        (tmp_path / "other.dat").write_bytes(content)
        assert not is_twix(tmp_path / "other.dat")
    assert find_cines(tmp_path) == [twix]


def test_a_simulated_scan_is_the_same_through_twix(tmp_path):
    config = SimulateConfig(n_frames=4, ky=24, kx=20, n_coils=3, n_slices=2, undersample="gaussian:2,acs=4", seed=1)
    simulate_scan(tmp_path / "scan.h5", config)
    twix, method = siemens_copy(tmp_path / "scan.h5"), load_method("zerofilled")
    expected, images = (reconstruct(scan, method=method) for scan in (tmp_path / "scan.h5", twix))
    assert len(images) == len(expected) == 2
    for image, truth in zip(images, reversed(expected), strict=True):  # the slice direction has the other sign
        assert np.linalg.norm(image.image - truth.image) < 1e-6 * np.linalg.norm(truth.image)
        for name in ("position_mm", "read_dir", "phase_dir"):
            difference = np.subtract(getattr(image.meta.geometry, name), getattr(truth.meta.geometry, name))
            assert np.abs(difference).max() < (0.01 if name == "position_mm" else 1e-5)
        assert image.meta.pixel_size_mm == pytest.approx(truth.meta.pixel_size_mm)
        assert image.meta.frame_times_ms == truth.meta.frame_times_ms


def test_a_segmented_scan_is_gated_by_its_time_stamps(tmp_path):
    config = SimulateConfig(n_frames=6, ky=24, kx=20, n_coils=3, segments=4, rr_variation=0.1, seed=2)
    simulate_scan(tmp_path / "scan.h5", config)
    twix = siemens_copy(tmp_path / "scan.h5")
    gated = PLAIN.with_settings(["gating=retro", "gated_frames=6"])
    expected, data = (open_scan(path, gated).read_slice(0) for path in (tmp_path / "scan.h5", twix))
    assert data.n_frames == 6
    assert torch.equal(data.mask, expected.mask)
    scale = float(expected.kspace.abs().max())
    assert torch.allclose(data.kspace, expected.kspace, rtol=0, atol=1e-6 * scale)


def test_noise_of_a_separate_twix_file_is_found_among_its_measurements(tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=3))
    twix = siemens_copy(tmp_path / "scan.h5")
    heads = read_twix(twix)
    alone = write_twix(
        tmp_path / "alone.dat",
        measurement_of(
            heads.heads, list(heads.samples(np.arange(len(heads)))), matrix=(16, 16), fov_mm=(300, 300), n_frames=2
        ),
    )
    whitened = open_scan(twix, PLAIN).read_slice(0)
    data = open_scan(alone, PLAIN, noise=twix).read_slice(0)
    assert torch.allclose(data.kspace, whitened.kspace, rtol=0, atol=1e-6 * float(whitened.kspace.abs().max()))
    assert "in scan.dat" in open_scan(alone, PLAIN, noise=twix).plan.noise


def test_noise_of_a_separate_file_has_the_coils_of_the_scan(tmp_path):
    """The file holds a scan of other coils, and after it the adjustment."""
    scan = siemens_scan()
    heads, noise = noise_of(scan)
    part = as_twix(scan)
    adjustment = noise_measurement(part, heads, noise)
    others = replace(part, samples=[samples[:2] for samples in part.samples])
    alone = write_twix(tmp_path / "alone.dat", part)
    separate = write_twix(tmp_path / "noise.dat", others, adjustment)
    expected = open_scan(write_twix(tmp_path / "scan.dat", adjustment, part), PLAIN).read_slice(0)
    assert torch.equal(open_scan(alone, PLAIN, noise=separate).read_slice(0).kspace, expected.kspace)


def test_an_interpolated_matrix_changes_nothing(tmp_path):
    """Scanners double the transform along y and the image, not the field of view."""
    scan = siemens_scan(n_frames=1, rows=14)
    expected = open_scan(write_twix(tmp_path / "a.dat", as_twix(scan)), PLAIN).read_slice(0)
    part = as_twix(scan)
    part.meas_yaps["sKSpace.uc2DInterpolation"] = "0x1"
    for name in ("iPEFTLength", "ImageColumns", "ImageLines"):
        part.meas[name] *= 2
    data = open_scan(write_twix(tmp_path / "b.dat", part), PLAIN).read_slice(0)
    assert torch.equal(data.kspace, expected.kspace)
    assert data.meta.pixel_size_mm == expected.meta.pixel_size_mm == (20.0, 20.0)


def test_readouts_of_adjustments_are_left_out_and_corrections_are_reported(tmp_path):
    scan = siemens_scan(n_frames=2)
    expected = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).read_slice(0)
    scan.append(5, 1e3 * scan.samples[5])
    part = as_twix(scan)
    part.extra_flags = {len(scan.heads) - 1: ("B1_CONTROLLOOP",), 3: ("RAWDATACORRECTION",)}
    opened = open_scan(write_twix(tmp_path / "scan.dat", part), PLAIN)
    assert torch.equal(opened.read_slice(0).kspace, expected.kspace)
    assert opened.plan.warnings[:2] == (
        "readouts of the scanner adjustments are not used: 1",
        "the scanner requests a per-coil correction of readouts (RAWDATACORRECTION), which is not applied",
    )


def test_a_protocol_of_more_frames_than_were_measured_is_a_warning(tmp_path):
    part = as_twix(siemens_scan(n_frames=2))
    part.meas_yaps["sPhysioImaging.lPhases"] = 25
    opened = open_scan(write_twix(tmp_path / "scan.dat", part), PLAIN)
    assert opened.n_slices == 1 and opened.plan.n_frames == (2,)
    assert any(
        text.startswith("the protocol specifies 25 values of phase, but the data") for text in opened.plan.warnings
    )


def test_counters_that_do_not_begin_at_zero(tmp_path):
    """The protocol has no limits of phases and repetitions: those of the readouts are the limits."""
    scan = siemens_scan(n_frames=4)
    scan.keep(scan.heads["idx"]["phase"] > 0)
    scan.heads["idx"]["repetition"] = 5
    part = as_twix(scan)
    opened = open_scan(write_twix(tmp_path / "scan.dat", part), PLAIN)
    assert opened.read_slice(0).n_frames == 3
    assert any("specifies 4 values of phase, but the data contain 3" in text for text in opened.plan.warnings)


@measured
def test_a_measured_header_has_coils_and_the_position_of_the_table():
    raw = read_twix(MEASURED / "gre.dat")
    for channel, name in enumerate(("BC2", "BC")):
        assert f"<coilNumber>{channel}</coilNumber><coilName>Body:{name}</coilName>" in raw.xml
    assert raw.heads["patient_table_position"][0].tolist() == [0, 0, -1040015]
    assert "<H1resonanceFrequency_Hz>123263034</H1resonanceFrequency_Hz>" in raw.xml
    assert np.diff(raw.heads["acquisition_time_stamp"].astype(int)).mean() == pytest.approx(4, abs=0.05)  # TR 10 ms
