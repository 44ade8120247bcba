"""Shards of an evaluation: the settings that they must share, and how their scores are joined."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cinerecon.errors import FileError
from cinerecon.evaluation.failures import Failure, read_failures, rewrite_failures
from cinerecon.evaluation.score import Score, iterate_scores, rewrite_scores
from cinerecon.evaluation.score_slice import Plan
from cinerecon.io.shards import Shard, ShardRecord, in_list_order, read_finished_shards

COMMAND = "evaluate"


def identity_of(plan: Plan, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """All settings that decide the scores, with the fingerprints of the methods."""
    values = asdict(plan)
    return {**values, "output": None, "weights": dict(fingerprints), "version": version("cinerecon")}


def merge_scores(output: Path) -> tuple[list[Score], list[Failure]]:
    """Join the scores and failures of all shards, in the order of the list of scans, and write them to the folder.

    It may be repeated: the result is the same. Scores of other methods and patterns in the folder are kept.

    Raises
    ------
    FileError, ConfigError
        If the shards are not complete, finished and of one run, see `io.shards.read_finished_shards`.
    """
    shards = read_finished_shards(output, COMMAND)
    folders = [Shard(shard.number, shard.n).folder(output, COMMAND) for shard in shards]
    before = {score.task: score for score in iterate_scores(output)}
    stored = [before | {score.task: score for score in iterate_scores(folder)} for folder in folders]
    failures = [failure for folder in folders for failure in read_failures(folder)]
    failed = {(failure.scan, failure.slice, failure.sampling, failure.method) for failure in failures}
    scores: dict[str, Score] = {}
    order = in_list_order(shards)
    for position, scan in enumerate(order):
        k = position % len(shards)
        for task, *case in shards[k].details["tasks"].get(scan, ()):
            if task in stored[k]:
                scores[task] = stored[k][task]
            elif (scan, *case) not in failed:
                raise _missing(shards[k], scan, output)
    ranks = {scan: rank for rank, scan in enumerate(order)}
    failures.sort(key=lambda failure: ranks.get(failure.scan, len(ranks)))
    rewrite_scores(output, [*(score for task, score in before.items() if task not in scores), *scores.values()])
    rewrite_failures(output, failures)
    return list(scores.values()), failures


def _missing(shard: ShardRecord, scan: str, output: Path) -> FileError:
    hint = f"cinerecon {COMMAND} ... --shard {shard.number}/{shard.n}"
    return FileError(
        f"{shard.name} has neither a score nor a failure of a task on {scan}", where=str(output), hint=hint
    )
