"""A small full scan and invented scores for the tests of evaluation."""

import pytest

from cinerecon.evaluation.score import Score
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SIZES = {"n_frames": 8, "ky": 48, "kx": 40, "n_coils": 3}


@pytest.fixture(scope="session")
def full_scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "full.h5"
    simulate_scan(path, SimulateConfig(**SIZES, noise=0.002))
    return path


@pytest.fixture
def make_scores():
    """Scores of two methods on n scans; the second is better by ``gain``, and a little more from scan to scan."""

    def make(n=8, gain=1.0, methods=("ktslr", "slrnet"), samplings=("gaussian:8",), n_slices=1):
        return [
            Score(
                scan=f"scan{case}",
                slice=number,
                n_coils=1,
                sampling=sampling,
                method=method,
                psnr=30 + 0.7 * case + index * (gain + 0.01 * case),
                ssim=0.9 + 0.01 * index,
                nmse=0.02 - 0.001 * index,
                seconds=2.0,
                mse=4e-5,
                n_parameters=1000 * index,
                acceleration=7.5 + position,
                subject=f"subject{case}",
                crop="full field, all frames",
                frame_psnr=(30.0, 31.5),
                frame_ssim=(0.9, 0.8),
                frame_nmse=(0.01, 0.02),
                task=f"{sampling}-{method}-{case}-{number}",
            )
            for case in range(n)
            for number in range(n_slices)
            for position, sampling in enumerate(samplings)
            for index, method in enumerate(methods)
        ]

    return make
