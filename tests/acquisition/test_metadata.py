"""Metadata of a slice: orientation, frame times, reference, and whether its frames are one heartbeat."""

import re

import h5py
import numpy as np
import pytest
from raw_scan import READ, small_scan

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture
def meta_of(tmp_path):
    return lambda scan: open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).read_slice(0).meta


def test_gated_frames_are_one_beat_and_frames_one_after_the_other_are_not(meta_of):
    """Time stamps decide, not the order in the file."""
    scan = small_scan()
    order = np.arange(len(scan.heads))
    scan.heads["acquisition_time_stamp"] = order
    assert not meta_of(scan).is_one_beat
    scan.heads["acquisition_time_stamp"] = order % 12 // 4 * 12 + order // 12 * 4 + order % 4
    assert meta_of(scan).is_one_beat


def test_the_kind_of_reference_is_stated(meta_of, tmp_path):
    scan = small_scan()
    assert meta_of(scan).reference_is == "all samples"
    scan.keep(scan.heads["idx"]["kspace_encode_step_1"] >= 3)
    assert meta_of(scan).reference_is == "some samples"
    scan.keep(scan.heads["idx"]["kspace_encode_step_1"] % 3 != 1)
    assert meta_of(scan).reference_is == ""
    config = SimulateConfig(n_frames=3, ky=12, kx=12, n_coils=2, undersample="uniform:2,acs=4")
    simulate_scan(tmp_path / "simulated.h5", config)
    meta = open_scan(tmp_path / "simulated.h5", PLAIN).read_slice(0).meta
    assert (meta.reference_is, meta.is_one_beat) == ("truth", True)
    assert simulate_cine(config)[0].meta.reference_is == "truth"


@pytest.mark.parametrize("direction", [np.zeros(3), READ, np.full(3, np.nan)])
def test_no_orientation_is_invented(tmp_path, direction):
    scan = small_scan()
    scan.heads["phase_dir"] = direction
    if not direction.any():
        scan.heads["read_dir"] = scan.heads["slice_dir"] = 0
    opened = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN)
    data = opened.read_slice(0)
    assert data.meta.geometry is None
    assert sum("images have no orientation" in warning for warning in data.meta.warnings) == 1


@pytest.mark.parametrize(("tr_ms", "expected"), [(31.5, (0, 31.5, 63)), (2.9, (0, 25, 50)), (None, (0, 25, 50))])
def test_frame_times(read, tr_ms, expected):
    scan = small_scan()
    scan.heads["acquisition_time_stamp"] = (
        1000 + 10 * scan.heads["idx"]["phase"] + scan.heads["idx"]["kspace_encode_step_1"]
    )
    if tr_ms:
        scan.space["extra"] = f"<sequenceParameters><TR>{tr_ms}</TR></sequenceParameters>"
    assert read(scan).meta.frame_times_ms == pytest.approx(expected)


@pytest.mark.parametrize(("tr_ms", "n_reported"), [(40, 0), (300, 0), (400, 1), (480, 1)])
@pytest.mark.parametrize("is_gated", [False, True])
def test_a_heartbeat_in_place_of_tr_is_reported_if_frames_are_gated(tmp_path, tr_ms, n_reported, is_gated):
    scan = small_scan(n_frames=8, vendor="GE")
    frames, lines = (scan.heads["idx"][name].astype(int) for name in ("phase", "kspace_encode_step_1"))
    beats = lines // 4 if is_gated else 0 * lines
    scan.heads["acquisition_time_stamp"] = 1000 * beats + 10 * frames + lines % 4
    scan.space["extra"] = f"<sequenceParameters><TR>{tr_ms}</TR></sequenceParameters>"
    warnings = open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).plan.warnings
    assert sum("TR is probably the R-R interval" in text for text in warnings) == (n_reported if is_gated else 0)


def test_frame_times_of_a_scan_that_was_stopped(meta_of):
    """Each line is measured in one heartbeat; the last frames lack those of the last beat."""
    scan = small_scan()
    beat = 400 * (scan.heads["idx"]["kspace_encode_step_1"] // 4)
    scan.heads["acquisition_time_stamp"] = 1000 + 10 * scan.heads["idx"]["phase"] + beat
    scan.keep((beat < 800) | (scan.heads["idx"]["phase"] == 0))
    meta = meta_of(scan)
    assert meta.frame_times_ms == pytest.approx((0, 25, 50))
    assert not any("times of the frames" in text for text in meta.warnings)


@pytest.mark.parametrize(
    ("bend", "words"),
    [
        (lambda scan: scan.space.update(vendor="GE"), "times of the frames are unknown"),
        (lambda scan: scan.space.update(vendor=""), "rotated by 180 degrees, which --set preprocessing.transform=fft"),
        (
            lambda scan: scan.space.update(extra="<sequenceParameters><TR>12</TR></sequenceParameters>"),
            "12 ms by TR in the header, 25 ms by the time stamps",
        ),
        (lambda scan: scan.space.update(thickness=0), "no slice thickness"),
    ],
)
def test_missing_elements_of_the_header_give_warnings(tmp_path, bend, words):
    scan = small_scan()
    scan.heads["acquisition_time_stamp"] = 10 * scan.heads["idx"]["phase"]
    path = tmp_path / "scan.h5"
    for is_bent in (False, True):
        if is_bent:
            bend(scan)
        opened = open_scan(scan.write(path), PLAIN)
        for warnings in (opened.plan.warnings, opened.read_slice(0).meta.warnings):
            assert sum(words in text for text in warnings) == is_bent


def test_frame_times_no_cine_has_are_reported_with_the_unit_that_mends_them(tmp_path):
    """Stamps in units of 0.1 ms that are read as those of 2.5 ms."""
    scan = small_scan(vendor="SIEMENS")
    line = scan.heads["idx"]["phase"] * 250 + scan.heads["idx"]["kspace_encode_step_1"] * 10
    scan.heads["acquisition_time_stamp"] = 1000 + line
    path = scan.write(tmp_path / "scan.h5")
    meta = open_scan(path, PLAIN).read_slice(0).meta
    assert any("ms apart by the time stamps, which is long for a cine" in text for text in meta.warnings)
    meta = open_scan(path, PLAIN.model_copy(update={"tick_ms": 0.1})).read_slice(0).meta
    assert meta.frame_times_ms == pytest.approx((0, 25, 50))
    assert not any("time stamps" in text for text in meta.warnings)


@pytest.mark.parametrize(
    ("factor", "words"), [(0.001, "in metres"), (0.1, "in centimetres"), (10, "larger than any scanner")]
)
def test_fields_of_view_in_other_units_are_reported(tmp_path, factor, words):
    path = tmp_path / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2))
    with h5py.File(path, "r+") as file:
        size = re.compile(rb"(<fieldOfView_mm><x>)([\d.]+)(</x><y>)([\d.]+)")
        scaled = lambda m: b"%s%f%s%f" % (m[1], factor * float(m[2]), m[3], factor * float(m[4]))  # noqa: E731
        file["dataset/xml"][0] = size.sub(scaled, file["dataset/xml"][0])
    assert any(words in text for text in open_scan(path, PLAIN).plan.warnings)
