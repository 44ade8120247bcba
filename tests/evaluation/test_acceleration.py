"""The same scan has the same acceleration in every command."""

import numpy as np
import pytest
from raw_scan import small_scan

from cinerecon.acquisition.open import open_scan
from cinerecon.acquisition.reference import undersample
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.methods.card import Card
from cinerecon.methods.card_warnings import outside_training
from cinerecon.reconstruction.run import ReconRequest, reconstruct_scan


@pytest.fixture
def partial_scan(tmp_path):
    """Fully sampled but for a quarter of the readout (asymmetric echo) and a quarter of the lines (partial Fourier)."""
    raw = small_scan(matrix=(24, 32), n_frames=4)
    raw.samples = [samples[:, 16:] for samples in raw.samples]
    raw.heads["number_of_samples"], raw.heads["center_sample"] = 48, 16
    raw.keep(raw.heads["idx"]["kspace_encode_step_1"] >= 6)
    return raw.write(tmp_path / "partial.h5")


@pytest.fixture
def checkered(tmp_path):
    """Every fourth point of each row, next to that of the row before: ``(frames, ky, kx)``."""
    y, x = np.indices((24, 32))
    path = tmp_path / "checkered.npy"
    np.save(path, np.stack([(y + x + frame) % 4 == 0 for frame in range(4)]))
    return str(path)


def recon(path, tmp_path, pattern=None):
    request = ReconRequest(path, "zerofilled", outputs=(str(tmp_path / "out.npz"),), undersample=pattern, force=True)
    (part,) = reconstruct_scan(request).slices
    return part.acceleration


def test_partial_measurement_does_not_accelerate(partial_scan, tmp_path):
    plan = open_scan(partial_scan).plan
    assert plan.acceleration == recon(partial_scan, tmp_path) == 1


def test_retrospective_points_count_the_same_everywhere(partial_scan, checkered, tmp_path):
    """In four frames every point is sampled once, so the acceleration is 4 within any extent."""
    (score,) = evaluate([partial_scan], EvaluationRequest(["zerofilled"], [checkered])).scores
    assert recon(partial_scan, tmp_path, checkered) == score.acceleration == 4
    data = undersample(open_scan(partial_scan).read_slice(0), checkered)
    assert 4 * 24 * 32 / int(data.mask.sum()) > 7  # over the whole grid, which was not measured
    assert not outside_training(Card(acceleration=(2, 4)), data)
    (warning,) = outside_training(Card(acceleration=(2, 3)), data)
    assert warning.startswith("acceleration is 4.0")
