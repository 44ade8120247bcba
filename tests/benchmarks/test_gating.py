"""Retrospective gating is as good as sorting by the true cardiac phase, while a counter is worse."""

import gating
import pytest

from cinerecon.simulation.scan import simulate_scan


@pytest.mark.parametrize(("variation", "ectopic", "loss"), [(0.0, 0.0, 0.0), (0.15, 0.1, 0.5)])
def test_retrospective_gating_keeps_the_quality_of_ideal_binning(tmp_path, variation, ectopic, loss):
    values = {"rr_variation": variation, "ectopic": ectopic, "seed": 1}
    simulate_scan(tmp_path / "scan.h5", gating.SCAN.model_copy(update=values))
    scans = gating.gated_scans(tmp_path / "scan.h5", tmp_path)
    psnr = {method: gating.moving_psnr(*scan) for method, scan in scans.items()}
    assert psnr["retro"] > psnr["ideal"] - loss
    assert psnr["retro by ECG"] > psnr["ideal"] - loss - 0.7
    if variation:
        assert psnr["counter"] < psnr["ideal"] - 4
