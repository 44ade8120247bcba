"""The command ``cinerecon merge``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.options import Flag, Options


class MergeOptions(Options):
    """Merge the results of the shards of prepare, recon or evaluate in one folder.

    All shards must have finished, with the same scans and settings. Repeating the command gives the same result.
    If some scans failed, they are listed, and the exit code is 2.
    """

    folder: Annotated[Path, Flag(is_argument=True)] = Field(description="output folder of the shards")
    baseline: Annotated[str | None, Flag(default_text="the first method")] = Field(
        default=None, description="for evaluate: method to test against"
    )
    tables: Annotated[tuple[str, ...], Flag(("--table",))] = Field(
        default=(), description="for evaluate: table of a paper to reproduce; may be repeated"
    )


def merge(options: MergeOptions) -> None:
    """Merge all shards of a folder, and print the results."""
    from cinerecon.archives.shards import SHARDS, sharded_commands
    from cinerecon.errors import ConfigError, FileError

    mergers: dict[str, Callable[[MergeOptions], bool]] = {
        "prepare": _merge_cases,
        "recon": _merge_images,
        "evaluate": _merge_scores,
    }
    for_scores = next((name for name in ("baseline", "tables") if options.is_changed(name)), None)
    commands = [command for command in sharded_commands(options.folder) if command in mergers]
    if not commands:
        hint = "give the output folder of prepare, recon or evaluate with --shard"
        raise FileError("there are no shards", where=str(options.folder / SHARDS), hint=hint)
    if for_scores is not None and "evaluate" not in commands:
        what = f"{options.option_of(for_scores)} applies to scores, these are shards of {' and '.join(commands)}"
        raise ConfigError(what, where=options.option_of(for_scores), hint="leave it out")
    have_failures = [mergers[command](options) for command in commands]
    if any(have_failures):
        raise typer.Exit(2)


app = app_of(MergeOptions, merge)


def _merge_cases(options: MergeOptions) -> bool:
    from cinerecon.commands.results import print_cases
    from cinerecon.preparation.merge import merge_cases

    report = merge_cases(options.folder)
    print_cases(report, "merged")
    return bool(report.refused)


def _merge_images(options: MergeOptions) -> bool:
    from cinerecon.commands.recon_report import print_batch
    from cinerecon.reconstruction.record import RECORD, merge_batch

    outcomes = merge_batch(options.folder)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        print_batch(failed)
    print(f"\n{len(outcomes) - len(failed)} reconstructions merged, {len(failed)} failed")
    print(f"wrote    {options.folder / RECORD}")
    return bool(failed)


def _merge_scores(options: MergeOptions) -> bool:
    from cinerecon.commands.results import report_results
    from cinerecon.evaluation.jobs import merge_scores
    from cinerecon.evaluation.paper_tables import find_paper_table

    scores, failures = merge_scores(options.folder)
    layouts = [find_paper_table(name) for name in options.tables]
    report_results(scores, failures, options.folder, options.baseline, layouts)
    return bool(failures)
