"""Parameters of a scanner protocol, and the corresponding settings of a reconstruction.

OpenRecon sends the parameters of its user interface as one JSON text before the readouts, e.g. ``{"parameters":
{"config": "ktslr", "csm": "espirit"}}``; with FIRE, the text is a file next to the protocol. The label of an OpenRecon
package is created from the same table, so that the user interface offers exactly the parameters that are read here.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from cinerecon.acquisition.config import GatingMode
from cinerecon.errors import ConfigError, nearest_name
from cinerecon.methods.table import METHODS
from cinerecon.options import CsmMethod
from cinerecon.reconstruction.options import ReconSettings

MODEL = "config"
"""The parameter that selects the method."""
AUTO = "auto"
"""The choice that keeps the default of the method or of the scan."""
SERVER_NAMES = ("", "cinerecon", "openrecon", "default")
"""Names of a configuration for which the server selects the method."""


@dataclass(frozen=True)
class ProtocolParameter:
    """A parameter in the user interface of the scanner.

    Attributes
    ----------
    id
        Name in the JSON text, consisting of letters and digits.
    label
        Short name in the user interface.
    option
        Field of `ReconSettings` that the parameter sets, which determines its type and description.
    choices
        The allowed values of a choice; empty for other types.
    information
        Description in the user interface, if that of the option is not suitable.
    """

    id: str
    label: str
    option: str
    choices: tuple[str, ...] = ()
    information: str = ""

    @property
    def description(self) -> str:
        """The description in the user interface."""
        return self.information or ReconSettings.model_fields[self.option].description or ""

    @property
    def kind(self) -> str:
        """The type: ``choice``, ``boolean`` or ``string``."""
        if self.choices:
            return "choice"
        return "boolean" if ReconSettings.model_fields[self.option].annotation is bool else "string"

    @property
    def default(self) -> str | bool:
        """The value that keeps the default setting."""
        if self.kind == "boolean":
            return False
        return AUTO if self.choices else ""

    def read(self, value: Any) -> Any:
        """Convert a value of the parameter to the value of the option.

        Raises
        ------
        ConfigError
            If the value is of the wrong type or not among the choices.
        """
        if self.kind == "boolean":
            flag = {"true": True, "false": False}.get(str(value).lower())
            if flag is None:
                raise ConfigError(f"'{self.id}' must be true or false, not {value!r}", where="protocol")
            return flag
        if not isinstance(value, str):
            raise ConfigError(f"'{self.id}' must be a string, not {value!r}", where="protocol")
        if self.choices:
            if value not in self.choices:
                hint = nearest_name(value, self.choices)
                raise ConfigError(f"'{self.id}' has no choice '{value}'", where="protocol", hint=hint)
            return value
        if ReconSettings.model_fields[self.option].annotation is str:
            return value
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise ConfigError(f"'{self.id}': {error}", where="protocol", hint="key=value key=value") from None


PARAMETERS = (
    ProtocolParameter("gating", "Gating", "gating", get_args(GatingMode)),
    ProtocolParameter(
        "frames",
        "Frames",
        "frames",
        information="number of frames with retrospective gating, or a range first:last",
    ),
    ProtocolParameter("csm", "Coil maps", "csm", (AUTO, *get_args(CsmMethod))),
    ProtocolParameter(
        "strict", "Strict", "strict", information="treat warnings as errors: no images are sent for the scan"
    ),
    ProtocolParameter("customconfig", "Settings", "settings"),
)
"""Parameters in addition to the method."""


@dataclass(frozen=True)
class ProtocolSettings:
    """The settings of a protocol.

    Attributes
    ----------
    model
        Name of the method; None for the default of the server.
    options
        Fields of `ReconSettings` with their values.
    """

    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def read_protocol(text: str) -> ProtocolSettings:
    """Read the JSON text with the parameters; an empty text changes no settings.

    Raises
    ------
    ConfigError
        If the text is not a JSON object, or a parameter is unknown or has an invalid value.
    """
    content = text.strip("\0 \t\r\n")
    if not content:
        return ProtocolSettings()
    try:
        document = json.loads(content)
    except ValueError as error:
        raise ConfigError(f"the parameters are not valid JSON: {error}", where="protocol") from None
    values = document.get("parameters", {}) if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise ConfigError(
            "the parameters are not a JSON object", where="protocol", hint='{"parameters": {"csm": "walsh"}}'
        )
    known = {parameter.id: parameter for parameter in PARAMETERS}
    options, model = {}, None
    for name, value in values.items():
        if name == MODEL:
            model = model_of_config(str(value))
            continue
        if name not in known:
            raise ConfigError(f"unknown parameter '{name}'", where="protocol", hint=nearest_name(name, [MODEL, *known]))
        if value != known[name].default:
            options[known[name].option] = known[name].read(value)
    return ProtocolSettings(model, options)


def model_of_config(name: str) -> str | None:
    """The method selected by the name of a configuration; None for the default of the server.

    Raises
    ------
    ConfigError
        If there is no such method.
    """
    short = name.strip("\0 \t\r\n").removesuffix(".xml").removesuffix(".json")
    if short in SERVER_NAMES:
        return None
    if short not in METHODS:
        raise ConfigError(f"no method '{short}'", where="protocol, config", hint=nearest_name(short, list(METHODS)))
    return short
