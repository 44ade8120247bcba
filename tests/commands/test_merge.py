"""Shards of each command, and the merge of their results."""

import pytest

from cinerecon.archives.shards import Shard
from cinerecon.evaluation.jobs import merge_scores
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.preparation.merge import merge_cases
from cinerecon.preparation.run import prepare
from cinerecon.reconstruction.batch import plan_batch
from cinerecon.reconstruction.batch_run import run_batch
from cinerecon.reconstruction.record import merge_batch
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.simulation.scan import SimulateConfig, simulate_scan


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A folder of two scans."""
    folder = tmp_path_factory.mktemp("scans")
    for seed in range(2):
        config = SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2, seed=seed, subject=f"P{seed}")
        simulate_scan(folder / f"P{seed}.h5", config)
    return folder


def _prepare(scans, output, shard):
    prepare([scans], output, shard=shard, workers=1, pictures=False)


def _evaluate(scans, output, shard):
    evaluate([scans], EvaluationRequest(["zerofilled"], ["gaussian:2"], output=output), shard=shard)


def _recon(scans, output, shard):
    common = ReconRequest(scans, "zerofilled")
    run_batch(plan_batch([scans], ["zerofilled"], [f"{output}/"], [".npz"], common, shard))


@pytest.mark.parametrize(
    ("run", "merge"),
    [
        (_prepare, lambda output: [row.subject for row in merge_cases(output).rows]),
        (_evaluate, lambda output: [score.scan for score in merge_scores(output)[0]]),
        (_recon, lambda output: [outcome.name for outcome in merge_batch(output)]),
    ],
)
def test_shards_without_scans_are_merged(scans, tmp_path, run, merge):
    for number in range(1, 5):
        run(scans, tmp_path, Shard(number, 4))
    assert len(merge(tmp_path)) == len(set(merge(tmp_path))) == 2
