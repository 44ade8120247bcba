"""What intake says of a slice besides its arrays: what its reference is, and whether its frames are one heart beat."""

import numpy as np
import pytest
from raw_scan import small_scan

from cinerecon.acquisition import AcquisitionConfig, open_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture
def meta_of(tmp_path):
    return lambda scan: open_scan(scan.write(tmp_path / "scan.h5"), PLAIN).read_slice(0).meta


def test_gated_frames_are_one_beat_and_frames_one_after_the_other_are_not(meta_of):
    """Time stamps tell, not the order in the file."""
    scan = small_scan()
    order = np.arange(len(scan.heads))
    scan.heads["acquisition_time_stamp"] = order
    assert not meta_of(scan).is_one_beat
    scan.heads["acquisition_time_stamp"] = order % 12 // 4 * 12 + order // 12 * 4 + order % 4
    assert meta_of(scan).is_one_beat


def test_it_is_told_what_a_reference_is(meta_of, tmp_path):
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
