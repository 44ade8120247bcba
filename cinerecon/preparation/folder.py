"""The folder of prepared cases: its index and settings, and which existing cases are kept."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import yaml

from cinerecon.config import read_yaml
from cinerecon.errors import ConfigError
from cinerecon.io.atomic import clear_partial, refuse_existing, write_text
from cinerecon.io.case_index import IndexRow, read_index, write_index
from cinerecon.io.csv_file import read_csv, rewrite_csv
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.prepare_slice import Rejection
from cinerecon.preparation.sources import Item, case_names

SETTINGS, REFUSED = "settings.yaml", "refused.csv"


class ExistingCases:
    """Cases that a folder contains before a run.

    Parameters
    ----------
    rows
        Rows of its index.
    is_compatible
        Whether it was prepared with the same settings; the split may differ, since it concerns new subjects only.
    """

    def __init__(self, rows: Iterable[IndexRow], *, is_compatible: bool = True) -> None:
        self.rows = list(rows)
        self.is_compatible = is_compatible
        self.splits = {row.subject: row.split for row in reversed(self.rows)}
        self._by_slice: dict[tuple[str, int], list[IndexRow]] = defaultdict(list)
        for row in self.rows:
            for name in case_names(row.case):
                self._by_slice[name, row.slice].append(row)

    def find(self, item: Item, number: int) -> tuple[IndexRow, ...]:
        """The cases with the name of a slice of a scan."""
        return tuple(self._by_slice.get((item.case_name(number), number), ()))


def read_existing_cases(
    folder: Path, config: PrepareConfig, *, force: bool, records: Path | None = None
) -> ExistingCases:
    """Cases and settings of a folder, which is not modified.

    Parameters
    ----------
    folder
        Folder of the cases.
    config
        Settings of the preparation.
    force
        Accept cases of other settings, which will be replaced.
    records
        Folder of the records of a shard, whose cases are added.

    Raises
    ------
    FileError
        If the folder cannot be written.
    ConfigError
        If it contains cases prepared with other settings, and ``force`` is not set, or this is a shard.
    """
    settings = folder / SETTINGS
    refuse_existing(settings, force=True)
    by_case = {row.case: row for row in (*read_index(folder), *(read_index(records) if records else ()))}
    rows = list(by_case.values())
    if not settings.exists():
        return ExistingCases(rows)
    try:
        stored = PrepareConfig.parse(read_yaml(settings), where=str(settings))
    except ConfigError:  # damaged, or of another version
        if force and records is None:
            return ExistingCases(rows, is_compatible=False)
        raise
    stored = stored.model_copy(update={"split": config.split})
    if stored == config or (force and records is None):
        return ExistingCases(rows, is_compatible=stored == config)
    here, asked = stored.model_dump(), config.model_dump()
    name = next(name for name in here if here[name] != asked[name])
    words = ["not set" if value is None else value for value in (here[name], asked[name])]
    what = f"the folder was prepared with {name} {words[0]}, the requested value is {words[1]}"
    hint = "choose another folder" + (", or --force, which removes the cases that are there" if records is None else "")
    raise ConfigError(what, where=str(folder), hint=hint)


def start_folder(
    folder: Path, config: PrepareConfig, before: ExistingCases, records: Path | None = None
) -> ExistingCases:
    """Remove cases of other settings and remains of interruptions, and write the settings; returns the cases kept."""
    folder.mkdir(parents=True, exist_ok=True)
    clear_partial(folder)
    if not before.is_compatible:
        for row in before.rows:
            (folder / row.case).unlink(missing_ok=True)
        before = ExistingCases([])
        write_index(folder, [])
    elif records is not None:
        write_index(records, read_index(records))  # a line that was cut short would damage the next one
    elif before.rows:
        write_index(folder, before.rows)
    write_text(folder / SETTINGS, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    return before


def finish_index(
    folder: Path, rows: Iterable[IndexRow], refused: Iterable[Rejection], records: Path | None = None
) -> None:
    """Update the index, which keeps the cases of other runs, and list rejected files.

    Parameters
    ----------
    folder
        Folder of the cases.
    rows
        The cases of this run.
    refused
        The rejected files.
    records
        Folder of the index, where it is not that of the cases.
    """
    records = records or folder
    done = {row.case: row for row in read_index(records)} | {row.case: row for row in rows}
    write_index(records, [row for row in done.values() if (folder / row.case).exists()])
    write_refused(records, refused)


def write_refused(folder: Path, refused: Iterable[Rejection]) -> None:
    """List the rejected files; without any, there is no such list."""
    rows = [(refusal.path, refusal.what, refusal.where, refusal.hint) for refusal in refused]
    rewrite_csv(folder / REFUSED, ["path", "what", "where", "hint"], rows)


def read_refused(folder: Path) -> list[Rejection]:
    """The rejected files of a run.

    Raises
    ------
    FileError
        If the list cannot be read.
    """
    return read_csv(
        folder / REFUSED,
        lambda row: Rejection(Path(row["path"]), row["what"], row["where"], row["hint"]),
        "the rejected files",
    )
