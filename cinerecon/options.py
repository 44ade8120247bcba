"""Options of a command: one model defines the command line, the Python call and the documentation.

A model derives from `Options`; each field has its type, its default and its description once. `commands.from_options`
makes a Typer command of it, and the library is called with an instance of it.
"""

from dataclasses import dataclass
from typing import Any

from cinerecon.config import Config


@dataclass(frozen=True)
class Flag:
    """How a field is given on the command line; without it, ``--field-name``.

    Attributes
    ----------
    names
        Names of the option, e.g. ``("--output", "-o")``.
    is_argument
        Given by position, without a name.
    default_text
        The default as shown in the help, if it is not the default of the field.
    """

    names: tuple[str, ...] = ()
    is_argument: bool = False
    default_text: str = ""


class Options(Config):
    """Base of the options of a command; the docstring of the subclass is the help of the command."""

    @classmethod
    def flag_of(cls, name: str) -> Flag:
        """How a field is given on the command line."""
        return next((item for item in cls.model_fields[name].metadata if isinstance(item, Flag)), Flag())

    @classmethod
    def from_command_line(cls, values: dict[str, Any]) -> "Options":
        """An instance from parsed values, in which several values of an option are a list.

        Raises
        ------
        ConfigError
            If a value is wrong, with the option that it was given to.
        """
        where = f"cinerecon {cls.__name__.removesuffix('Options').lower()}"
        return cls.parse({name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}, where=where)
