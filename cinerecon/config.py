"""Typed configuration: each recipe is YAML, validated by a model that stands beside the thing it configures."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from cinerecon.errors import ConfigError


class Config(BaseModel):
    """Base of all recipes: immutable, unknown keys are errors, a field's description is its help text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str = "") -> Self:
        """Validate plain values, e.g. from YAML.

        Raises
        ------
        ConfigError
            Naming the first wrong key and the nearest right one, or the value and what was expected.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            if first["type"] == "extra_forbidden":
                raise ConfigError(f"unknown setting '{key}'", where=where, hint=_nearest(cls, first["loc"])) from None
            message = f"setting '{key}': {first['msg'].lower()}, found {first['input']!r}"
            raise ConfigError(message, where=where) from None

    def with_settings(self, settings: Sequence[str]) -> Self:
        """A copy with ``key=value`` texts applied; dots reach into nested settings, values are read as YAML.

        Raises
        ------
        ConfigError
            If a text is not ``key=value``, or the key or the value is wrong.
        """
        values, present = self.model_dump(exclude_unset=True), self.model_dump()
        for setting in settings:
            key, sign, text = setting.partition("=")
            if not sign:
                raise ConfigError(f"'{setting}' is not key=value", where="--set")
            try:
                _put(values, present, key.strip().split("."), yaml.safe_load(text))
            except yaml.YAMLError:
                raise ConfigError(f"the value of '{setting}' is not YAML", where="--set") from None
        return type(self).parse(values, where="--set")


def _put(values: dict[str, Any], present: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """Set a value at the end of a path through nested settings: those not set are the present ones, null is empty."""
    *outer, last = path
    for part in outer:
        if values.get(part) is None:
            values[part] = present.get(part) or {}
        if not isinstance(values[part], dict):
            raise ConfigError(f"'{part}' has no settings of its own", where=f"--set {'.'.join(path)}")
        values, present = values[part], present.get(part) or {}
    values[last] = value


def _nearest(model: type[BaseModel], path: tuple[int | str, ...]) -> str:
    """The nearest setting of the (nested) model that a wrong key was meant for."""
    *outer, wrong = path
    for part in outer:
        annotation = model.model_fields[str(part)].annotation if part in model.model_fields else None
        for inner in (annotation, *get_args(annotation)):  # a model, or one that may be missing
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return nearest_name(str(wrong), list(model.model_fields))


def nearest_name(name: str, known: Sequence[str]) -> str:
    """A hint for a name that is not in a list: the nearest one, or all of them."""
    match = difflib.get_close_matches(name, known, n=1)
    question = f"did you mean '{match[0]}'? " if match else ""
    return question + "known: " + ", ".join(known)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, or is not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the recipe: {error}", where=str(path)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"the recipe is not YAML: {' '.join(str(error).split())}", where=str(path)) from None
    if not isinstance(values, dict):
        raise ConfigError("the recipe is not a mapping of keys to values", where=str(path))
    return values
