"""Commands on another device than the CPU: no array is left on the CPU, and results are those of the CPU."""

from pathlib import Path

import numpy as np
import pytest
from forked import run_python
from pretend_gpu import pretended_gpu
from small_recipe import write_recipe

from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan
from cinerecon.training import TrainOptions, read_recipe, train

SIZES = {"n_frames": 6, "ky": 56, "kx": 49, "noise": 0.01}
JUDGED = {"n_frames": 8, "ky": 72, "kx": 65}
"""A size for which there is a verdict."""
FEW = {"settings": ("n_iterations=5",)}
RECONSTRUCTIONS = {
    "verdict": (JUDGED | {"n_coils": 6, "undersample": "equispaced:4"}, "stvarnet", {}),
    "one coil": ({"n_coils": 1, "undersample": "gaussian:4"}, "ktslr", FEW),
    "noise map": ({"n_coils": 6, "undersample": "gaussian:4"}, "cgsense", {"snr": True}),
    "replicas": ({"n_coils": 3, "undersample": "gaussian:4"}, "viewshared", {"snr": True, "n_replicas": 4}),
    "uncertainty": ({"n_coils": 3, "undersample": "gaussian:4"}, "stvarnet", {"uncertainty": True, "n_variants": 2}),
    "partial Fourier": (
        {"n_coils": 6, "undersample": "gaussian:2", "partial_fourier": 0.7, "partial_echo": 0.7},
        "zerofilled",
        {},
    ),
    "flow": ({"n_coils": 6, "undersample": "gaussian:4", "venc": 150.0}, "ktslr", FEW),
}

TRAINING = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pretend_gpu import pretended_gpu
from cinerecon.training import TrainOptions, read_recipe, train

with pretended_gpu() as gpu:
    train(read_recipe(Path({{recipe!r}})), Path({{run!r}}), TrainOptions(device=str(gpu), workers=0))
"""
"""In a process of its own: the first gradient in a process fixes the devices that gradients can be computed on."""


@pytest.mark.parametrize("kind", RECONSTRUCTIONS)
def test_a_scan_is_reconstructed_as_on_the_cpu(kind, tmp_path):
    config, model, options = RECONSTRUCTIONS[kind]
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(**SIZES | config))

    def reconstruct(device):
        request = ReconRequest(tmp_path / "scan.h5", model, (f"{tmp_path}/{device[:3]}.npz",), device=device, **options)
        return reconstruct_scan(request).slices

    with pretended_gpu() as gpu:
        slices = reconstruct(str(gpu))
    for on_gpu, on_cpu in zip(slices, reconstruct("cpu"), strict=True):
        assert np.linalg.norm(on_gpu.cine.image - on_cpu.cine.image) < 1e-3 * np.linalg.norm(on_cpu.cine.image)
        assert (on_gpu.verdict is None) == (on_cpu.verdict is None)
        assert on_cpu.verdict is not None or kind != "verdict"
        if on_cpu.verdict is not None:
            assert on_gpu.verdict.psnr == pytest.approx(on_cpu.verdict.psnr, abs=0.05)


@pytest.mark.parametrize("pattern", ["gaussian:4", "radial:12"])
def test_methods_are_scored_as_on_the_cpu(pattern, tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(**SIZES, n_coils=3))

    def score(device):
        return evaluate(
            [tmp_path / "scan.h5"], EvaluationRequest(["ktslr"], [pattern], device=device, **FEW)
        ).complete()

    with pretended_gpu() as gpu:
        scores = score(str(gpu))
    for on_gpu, on_cpu in zip(scores, score("cpu"), strict=True):
        assert on_gpu.psnr == pytest.approx(on_cpu.psnr, abs=0.02)
        assert on_gpu.frc_rate == pytest.approx(on_cpu.frc_rate, abs=0.5)


def test_a_network_is_trained(tmp_path):
    recipe = write_recipe(tmp_path, n_steps=2, save_every=1, n_warmup=1)
    run = run_python(TRAINING.format(recipe=str(recipe), run=f"{tmp_path}/gpu"))
    assert run.returncode == 0, run.stderr.decode()
    train(read_recipe(recipe), tmp_path / "cpu", TrainOptions(device="cpu", workers=0))
    curves = [np.genfromtxt(tmp_path / name / "log.csv", delimiter=",", names=True) for name in ("gpu", "cpu")]
    np.testing.assert_allclose(curves[0]["loss"], curves[1]["loss"], rtol=1e-3)
    np.testing.assert_allclose(curves[0]["validation_db"], curves[1]["validation_db"], atol=0.02)
