"""A prepared case as a source of one slice."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cinerecon.acquisition.checks.measured import keep_measured
from cinerecon.acquisition.coil_maps import FinishedSlice, scale_maps
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.source import CineSource, SliceSize
from cinerecon.io.case import CaseFile, read_case

SETTINGS = ("whiten", "n_virtual_coils", "compression", "csm", "remove_oversampling")
"""The acquisition settings that determine the stored arrays."""


@dataclass(frozen=True, repr=False)
class CaseSource(CineSource):
    """A prepared case, opened for reconstruction.

    If the requested settings differ from those of the preparation, a warning lists them.
    """

    path: Path
    config: AcquisitionConfig

    @property
    def n_slices(self) -> int:
        """Number of slices; a case contains one."""
        return 1

    @property
    def files(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    @property
    def subject(self) -> str:
        """The pseudonym of the subject, as determined during preparation."""
        return str(self._attributes.get("subject", ""))

    @property
    def derived_from(self) -> str:
        """SHA-256 of the file from which the case was prepared; empty if it was not recorded."""
        return str(self._attributes.get("source_sha256", ""))

    @property
    def marks(self) -> tuple[str, ...]:
        """The marks assigned during preparation."""
        return tuple(self._attributes.get("marks", ()))

    def size_of(self, number: int) -> SliceSize:  # noqa: ARG002
        """See `CineSource.size_of`."""
        with CaseFile(self.path) as case:
            n_frames, n_coils, ky, kx = case.shape
        return SliceSize(n_frames, n_coils, ky, kx, n_copies=0.25)

    def read_timed(self, number: int) -> FinishedSlice:
        """Read the case with normalised coil maps, and exclude masked samples that are zero in k-space.

        Raises
        ------
        FileError, DataError, ShapeError
            See `read_case`; also raised if ``number`` is not 0.
        """
        self.require_slice(number)
        data = keep_measured(read_case(self.path)).with_warnings(*self._differences())
        csm = None if data.csm is None else scale_maps(data.csm)
        if csm is not data.csm:
            data = replace(data, csm=csm).with_warnings(
                "the sum of the squared coil maps was not 1: they were normalised"
            )
        return FinishedSlice(data)

    @property
    def _attributes(self) -> dict[str, Any]:
        with CaseFile(self.path) as case:
            return case.attributes

    def _differences(self) -> list[str]:
        """A warning if the case was prepared with settings that differ from the requested ones."""
        prepared, requested = self._attributes.get("intake"), self.config.model_dump()
        if not isinstance(prepared, dict):
            return []
        texts = [
            f"{name} {_setting_text(prepared.get(name))} (requested: {_setting_text(requested[name])})"
            for name in SETTINGS
            if prepared.get(name) != requested[name]
        ]
        return [f"the case was prepared with {', '.join(texts)}, and is used as it is"] if texts else []


def _setting_text(value: object) -> str:
    return "not set" if value is None else str(value)
