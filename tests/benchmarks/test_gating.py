"""The benchmark of gating: retrospective gating is as good as sorting by the true cardiac phase, a counter is not."""

import gating
import pytest

from cinerecon.simulation.scan import simulate_scan


@pytest.mark.parametrize(("variation", "ectopic", "loss"), [(0.0, 0.0, 0.0), (0.15, 0.1, 0.5)])
def test_retrospective_gating_keeps_the_quality_of_ideal_binning(tmp_path, variation, ectopic, loss):
    values = {"rr_variation": variation, "ectopic": ectopic, "seed": 1}
    simulate_scan(tmp_path / "scan.h5", gating.SCAN.model_copy(update=values))
    found = {way: gating.quality(*scan) for way, scan in gating.scans(tmp_path / "scan.h5", tmp_path).items()}
    assert found["retro"] > found["ideal"] - loss
    assert found["retro by ECG"] > found["ideal"] - loss - 0.7
    if variation:
        assert found["counter"] < found["ideal"] - 4
