"""Options of a preparation that do not affect the cases; a file of its own, so that the help loads quickly."""

import warnings
from typing import Annotated, Any

from pydantic import Field, field_validator

from cinerecon.options import Flag, MemoryLimit, Options


class PreparationOptions(Options, MemoryLimit):
    """How a preparation runs."""

    workers: Annotated[int | None, Flag(default_text="one per core")] = Field(
        default=None, ge=1, description="parallel processes"
    )
    memory: str | None = Field(
        default=None, description="memory limit for all processes together, e.g. 4GB; slices that need more are refused"
    )
    pictures: Annotated[bool, Flag(("--pictures/--no-pictures",))] = Field(
        default=True, description="draw a picture of each slice"
    )
    force: bool = Field(
        default=False, description="prepare the given files again; existing cases with other settings are removed"
    )

    @field_validator("memory", mode="before")
    @classmethod
    def _read_bytes(cls, memory: Any) -> Any:
        return f"{memory / 1000:.3f}kB" if isinstance(memory, int) and not isinstance(memory, bool) else memory

    @classmethod
    def from_arguments(cls, values: dict[str, Any]) -> "PreparationOptions":
        """The options from the arguments of a call; a former name causes a warning with the present name.

        Raises
        ------
        ConfigError
            If an argument is unknown, or a value is invalid.
        """
        if "draws" in values:
            warnings.warn("draws=... is now pictures=...", DeprecationWarning, stacklevel=3)
            values = {("pictures" if name == "draws" else name): value for name, value in values.items()}
        return cls.parse(values, where="prepare")
