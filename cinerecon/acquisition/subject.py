"""Who was scanned: by the header, the path, or the study, never by name."""

import re
from pathlib import Path

from cinerecon.acquisition.source import CineSource
from cinerecon.errors import ConfigError, DataError

N_DIGITS = 10
"""Hexadecimal digits of the hash of a study that stand for its subject."""


def subject_in_path(pattern: str, path: Path) -> str:
    """The subject that a regular expression finds in a path: its groups, or all that it matches.

    Raises
    ------
    ConfigError
        If the pattern is no regular expression.
    DataError
        If the path does not fit it.
    """
    try:
        match = re.search(pattern, path.as_posix())
    except re.error as error:
        raise ConfigError(f"'{pattern}' is not a regular expression: {error}", where="--subject") from None
    if match is None:
        raise DataError(f"the path does not fit the pattern of subjects '{pattern}'", where=str(path))
    return "-".join(part for part in match.groups() if part) or match.group()


def subject_in_header(source: CineSource) -> str:
    """A word that scans of one subject share: a hash of the patient's number, else of the study; empty if unknown."""
    return source.subject or (f"study-{source.study[:N_DIGITS]}" if source.study else "")
