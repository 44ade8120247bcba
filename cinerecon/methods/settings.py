"""The settings of a configuration as a list: what ``--set`` takes, with type, current value and help."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from cinerecon.config import Config

TYPE_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", NoneType: "null"}
BOUNDS = {Ge: ("≥", "ge"), Gt: (">", "gt"), Le: ("≤", "le"), Lt: ("<", "lt")}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes
    ----------
    key
        As ``--set`` takes it, with dots between nested settings.
    type
        The values that it takes, in words.
    value
        Its current value, as YAML.
    help
        Description of the setting.
    """

    key: str
    type: str
    value: str
    help: str


def list_settings(config: Config, prefix: str = "") -> Iterator[Setting]:
    """The settings of a configuration with their current values; nested configurations with dots in their keys."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Config):
            yield from list_settings(value, f"{prefix}{name}.")
        else:
            text = json.dumps(value, default=_plain, ensure_ascii=False)
            yield Setting(prefix + name, type_in_words(field), text.strip('"'), field.description or "")


def type_in_words(field: FieldInfo) -> str:
    """The values that a field takes, e.g. ``whole number ≥ 1 or null``."""
    bounds = "".join(
        f" {sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for kind, (sign, name) in BOUNDS.items()
        if isinstance(limit, kind)
    )
    first, *others = _alternatives(field.annotation)
    return " or ".join([first + bounds, *others])


def _alternatives(annotation: Any) -> list[str]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _alternatives(inner[0])
    if origin in (Union, UnionType):
        return [text for one in inner for text in _alternatives(one)]
    if origin is Literal:
        return [str(value) for value in inner]
    if origin in (tuple, list):
        parts = dict.fromkeys(text for one in inner if one is not ... for text in _alternatives(one))
        return [f"list of {' or '.join(parts)}"]
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, Mapping | Config)):
        return ["mapping"]
    return [TYPE_NAMES.get(annotation, "any value")]


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Config) else str(value)
