"""Parameters of the twix protocol, and corrections that it or the readouts request."""

import numpy as np
import pytest
from siemens_scan import as_twix, siemens_scan
from twix_file import write_twix

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import UnsupportedError
from cinerecon.io.twix.scan import read_twix

pytest.importorskip("twixtools", reason="reads and writes twix files")
PLAIN = AcquisitionConfig(csm="walsh")


@pytest.mark.parametrize("flag", ["SIGNREV", "SCANSCALEFACTOR"])
def test_corrections_of_some_lines_are_reported(tmp_path, flag):
    part = as_twix(siemens_scan(n_frames=2))
    text = f"({flag}), which is not applied"
    for rows, expected in (((), False), (range(24), False), ((3, 4, 5), True)):
        part.extra_flags = dict.fromkeys(rows, (flag,))
        warnings = read_twix(write_twix(tmp_path / "scan.dat", part)).warnings
        assert any(text in warning for warning in warnings) == expected


def test_lines_that_the_scanner_shares_between_phases_are_reported(tmp_path):
    scan = siemens_scan(n_frames=4)
    part = as_twix(scan)
    part.meas_yaps["sKSpace.ucViewSharing"] = "0x2"
    text = "the scanner shares the others between adjacent phases"
    assert not any(text in warning for warning in read_twix(write_twix(tmp_path / "full.dat", part)).warnings)
    line, frame = (scan.heads["idx"][name] for name in ("kspace_encode_step_1", "phase"))
    scan.keep((line % 2 == frame % 2) | (np.abs(line.astype(int) - 6) < 2))
    part = as_twix(scan)
    assert not any(text in warning for warning in read_twix(write_twix(tmp_path / "kt.dat", part)).warnings)
    part.meas_yaps["sKSpace.ucViewSharing"] = "0x2"
    warnings = read_twix(write_twix(tmp_path / "shared.dat", part)).warnings
    assert any(warning.startswith("a frame has 7.5 of 12 lines on average: the") for warning in warnings)


def test_phases_of_retrospective_gating_depend_on_the_heart_rate(tmp_path):
    """Fewer phases than in the protocol do not mean that the scan was stopped."""
    part = as_twix(siemens_scan())
    part.meas_yaps |= {"sPhysioImaging.lPhases": 5, "sPhysioImaging.lMethod1": 8}
    assert not read_twix(write_twix(tmp_path / "retro.dat", part)).warnings
    part.meas_yaps["sPhysioImaging.lMethod1"] = 2
    assert "5 values of phase" in read_twix(write_twix(tmp_path / "triggered.dat", part)).warnings[0]


def test_the_velocity_encoding_is_that_of_the_protocol(tmp_path):
    part = as_twix(siemens_scan())
    assert read_twix(write_twix(tmp_path / "plain.dat", part)).header.venc_cm_s is None
    part.meas_yaps |= {"sAngio.sFlowArray.lSize": 1, "sAngio.sFlowArray.asElm[0].nVelocity": 150}
    assert read_twix(write_twix(tmp_path / "flow.dat", part)).header.venc_cm_s == 150


def test_names_in_two_pairs_of_quotes(tmp_path):
    part = as_twix(siemens_scan())
    part.meas_yaps["tProtocolName"] = '""cine sax""'
    assert read_twix(write_twix(tmp_path / "scan.dat", part)).header.protocol == "cine_sax"


def test_the_position_of_a_slice_without_slice_data_is_that_of_the_protocol(tmp_path):
    scan = siemens_scan()
    scan.heads["position"] = 0
    part = as_twix(scan)
    part.quaternion = False
    part.meas_yaps |= {"sSliceArray.asSlice[0].sNormal.dTra": 1.0, "sSliceArray.asSlice[0].sPosition.dCor": -31.5}
    geometry = open_scan(write_twix(tmp_path / "scan.dat", part), PLAIN).read_slice(0).meta.geometry
    assert geometry.position_mm == (0, -31.5, 0)
    part.quaternion = True  # the slice is at the isocentre
    geometry = open_scan(write_twix(tmp_path / "centre.dat", part), PLAIN).read_slice(0).meta.geometry
    assert geometry.position_mm == (0, 0, 0)


def test_the_trajectory_is_named_before_the_samples_are_judged(tmp_path):
    """Radial readouts all pass through the centre and resemble images along y."""
    scan = siemens_scan(n_frames=1, matrix=(64, 64))
    centre = scan.samples[32]
    scan.samples = [centre] * 64
    part = as_twix(scan)
    part.meas_yaps["sKSpace.ucTrajectory"] = "0x2"
    with pytest.raises(UnsupportedError, match="the trajectory is radial"):
        open_scan(write_twix(tmp_path / "scan.dat", part), PLAIN)
