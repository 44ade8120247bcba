"""A prepared case as a source of one slice: it comes as it was prepared."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.measured import keep_measured
from cinerecon.cine import CineData
from cinerecon.errors import DataError
from cinerecon.io.case import open_case, read_case

SETTINGS = ("whiten", "n_virtual_coils", "compression", "csm", "remove_oversampling")
"""The settings of intake that shape what is stored."""


@dataclass(frozen=True)
class CaseSource:
    """A prepared case, opened to be reconstructed."""

    path: Path
    config: AcquisitionConfig

    n_slices = 1
    header_xml = None
    study = ""
    frame_of_reference = ""

    @property
    def subject(self) -> str:
        """Who was scanned, as it was found when the case was prepared."""
        return str(self._attributes.get("subject", ""))

    @property
    def made_from(self) -> str:
        """SHA-256 of what it was prepared from; empty if it does not say."""
        return str(self._attributes.get("source_sha256", ""))

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    @property
    def marks(self) -> tuple[str, ...]:
        """Its marks, as they were found when it was prepared."""
        return tuple(self._attributes.get("marks", ()))

    def read_slice(self, number: int, seconds: dict[str, float] | None = None) -> CineData:
        """Read the case, as far as its k-space holds what its mask claims.

        Where other settings are asked for than it was prepared with, a warning names them: the case stays as it is.

        Raises
        ------
        FileError, DataError, ShapeError
            As `read_case` does, and if another slice than the only one is asked for.
        """
        if number != 0:
            raise DataError(f"slice {number}, a prepared case has slice 0 alone", where=str(self.path))
        if seconds is not None:
            seconds["maps"] = 0.0
        data = keep_measured(read_case(self.path))
        warnings = (*data.meta.warnings, *self._differences())
        return replace(data, meta=replace(data.meta, warnings=warnings))

    @property
    def _attributes(self) -> dict[str, Any]:
        with open_case(self.path) as case:
            return case.attributes

    def _differences(self) -> list[str]:
        prepared, asked = self._attributes.get("intake"), self.config.model_dump()
        if not isinstance(prepared, dict):
            return []
        found = [(name, prepared.get(name), asked[name]) for name in SETTINGS if prepared.get(name) != asked[name]]
        texts = [f"{name} {_in_words(here)} (asked for: {_in_words(there)})" for name, here, there in found]
        return [f"the case was prepared with {', '.join(texts)}, and is taken as it is"] if texts else []


def _in_words(value: object) -> str:
    return "not set" if value is None else str(value)
