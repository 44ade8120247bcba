"""Merging of the shards of a preparation into one index of all cases without duplicate contents."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from cinerecon.archives.case_index import INDEX, PREPARE, IndexRow, read_index, unlisted_cases, write_index
from cinerecon.archives.scan_names import ScanNames
from cinerecon.archives.shards import Shard, read_finished_shards
from cinerecon.errors import DataError, FileError
from cinerecon.preparation.report import Leftover, PrepareReport, read_refused, write_refused


def merge_cases(folder: Path) -> PrepareReport:
    """Merge the indices of all shards into that of the folder.

    Repeating the call gives the same result. Cases of other runs in the index are kept. Scans with equal content that
    were prepared by different shards are kept only once, under the first of their names, as in a run without shards.

    Raises
    ------
    FileError, ConfigError
        If the shards are incomplete, unfinished or from different runs, see `io.shards.read_finished_shards`; or if a
        case is missing.
    DataError
        If a subject is in two splits.
    """
    shards = read_finished_shards(folder, PREPARE)
    folders = [Shard(shard.number, shard.n).folder(folder, PREPARE) for shard in shards]
    before = {row.case: row for row in read_index(folder)}
    shard_of = {row.case: shard for shard, records in zip(shards, folders, strict=True) for row in read_index(records)}
    rows = {row.case: row for records in folders for row in read_index(records)}
    copies = _copies(rows, before)
    for case in rows:
        if case not in copies and not (folder / case).exists():
            hint = f"cinerecon {PREPARE} ... --shard {shard_of[case].number}/{shard_of[case].n}"
            raise FileError("a case listed in the index is missing", where=str(folder / case), hint=hint)
    merged = {case: row for case, row in (before | rows).items() if case not in copies}
    _require_one_split(merged.values(), folder)
    refused = sorted(
        (refusal for records in folders for refusal in read_refused(records)),
        key=lambda refusal: (str(refusal.path), refusal.where),
    )
    ScanNames(folder, PREPARE).merge()
    write_index(folder, [row for row in merged.values() if (folder / row.case).exists()])
    write_refused(folder, refused)
    for case in copies:
        (folder / case).unlink(missing_ok=True)
    n_sources = len({rows[case].source for case in copies if case in rows})
    passed = {"copies of other files, under another name": n_sources} if n_sources else {}
    remaining = tuple(row for case, row in rows.items() if case not in copies)
    leftover = Leftover(unlisted=tuple(unlisted_cases(folder)))
    return PrepareReport(remaining, len(remaining), tuple(refused), passed, 0, {}, folder / INDEX, leftover)


def _copies(rows: dict[str, IndexRow], before: dict[str, IndexRow]) -> set[str]:
    """Cases whose content was also prepared under a name that sorts first, or was already in the index."""
    sources: dict[str, set[str]] = defaultdict(set)
    for row in rows.values():
        sources[row.source_sha256].add(row.source)
    groups: dict[str, list[IndexRow]] = defaultdict(list)
    for row in rows.values():
        if len(sources[row.source_sha256]) > 1:
            groups[row.source_sha256].append(row)
    copies = set()
    for group in groups.values():
        first = min(group, key=lambda row: (row.case not in before, row.case.partition("/")[2]))
        copies |= {row.case for row in group if row.source != first.source}
    return copies


def _require_one_split(rows: Iterable[IndexRow], folder: Path) -> None:
    splits: dict[str, str] = {}
    for row in rows:
        if splits.setdefault(row.subject, row.split) != row.split:
            what = f"subject {row.subject} is in {splits[row.subject]} and in {row.split}"
            raise DataError(what, where=str(folder), hint="prepare all shards again with the same --split")
