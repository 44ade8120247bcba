"""Typed configuration: each recipe is YAML, validated by a model defined next to the class that it configures."""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, Union, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    PositiveFloat,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from cinerecon.errors import ConfigError, nearest_name

logger = logging.getLogger(__name__)


def _ascending(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError("expected the smaller number first")
    return limits


Interval = Annotated[tuple[PositiveFloat, PositiveFloat], AfterValidator(_ascending)]
"""Lower and upper limit of positive numbers."""


class SettingsError(ValueError):
    """Settings that contradict each other, for validators of several settings.

    Parameters
    ----------
    what
        The contradiction.
    names
        The settings.
    """

    def __init__(self, what: str, *names: str) -> None:
        super().__init__(what)
        self.names = names


class InvalidSettingError(ConfigError, ValueError):
    """A setting given to the constructor of its class is unknown or wrong; ``__cause__`` is the error of pydantic."""


class Config(BaseModel):
    """Base class of all settings: immutable, unknown keys are errors, the description of a field is its help text.

    The constructor raises `InvalidSettingError`, naming the first wrong setting.

    Attributes
    ----------
    renamed
        Former names of settings, each with the present one; those of the base classes apply as well. They are still
        read, from files and from ``key=value`` texts; if both names are given, the later one counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    renamed: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # type checkers derive the parameters from the fields

        def __init__(self, /, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _described(error, type(self), where=type(self).__name__, kind=InvalidSettingError) from error

        __init__.__pydantic_base_init__ = True  # as in BaseModel: nested settings are validated without it

    @classmethod
    def present_name(cls, name: str) -> str:
        """The present name of a setting, which may be a former one."""
        return next(
            (base.renamed[name] for base in cls.__mro__ if issubclass(base, Config) and name in base.renamed), name
        )

    @model_validator(mode="before")
    @classmethod
    def _read_former_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {cls.present_name(str(key)): value for key, value in values.items()}

    @field_validator("*")
    @classmethod
    def _expand_home(cls, value: Any) -> Any:
        """Expand ``~`` in paths, since no shell does so in recipes and quoted arguments."""
        if isinstance(value, tuple) and any(isinstance(item, Path) for item in value):
            return tuple(map(cls._expand_home, value))
        return value.expanduser() if isinstance(value, Path) else value

    @model_validator(mode="before")
    @classmethod
    def _refuse_bool_as_number(cls, values: Any) -> Any:
        """Refuse ``yes`` and ``true``, which YAML reads as a truth value, where a number is expected; it would be 1."""
        for name, value in values.items() if isinstance(values, Mapping) else ():
            types = _alternatives(cls.model_fields[name].annotation) if name in cls.model_fields else []
            if isinstance(value, bool) and bool not in types and not {int, float}.isdisjoint(types):
                kind = PydanticCustomError("bool_as_number", "expected a number")
                details = InitErrorDetails(type=kind, loc=(name,), input=value)
                raise ValidationError.from_exception_data(cls.__name__, [details])
        return values

    @classmethod
    def or_default(cls, config: Self | None) -> Self:
        """The settings, or the defaults for None.

        Raises
        ------
        ConfigError
            If they are of another type.
        """
        return cls() if config is None else cls.require(config)

    @classmethod
    def require(cls, config: Self) -> Self:
        """The settings, which a caller gave.

        Raises
        ------
        ConfigError
            If they are of another type.
        """
        if not isinstance(config, cls):
            example = next(iter(cls.model_fields), "")
            what = f"settings are of type {type(config).__name__}, expected {cls.__name__}"
            raise ConfigError(what, where="config", hint=f"{cls.__name__}({example and example + '=...'})")
        return config

    @classmethod
    def parse(
        cls, values: Mapping[str, Any], *, where: str = "", option_of: Callable[[str], str] | None = None
    ) -> Self:
        """Validate plain values, e.g. from YAML.

        Parameters
        ----------
        values
            The values by the names of the settings.
        where
            Their source, for messages.
        option_of
            The option of the command line for the name of a setting, for messages.

        Raises
        ------
        ConfigError
            Naming the first wrong key and the nearest right one, or the value and what was expected.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise _described(error, cls, where=where, option_of=option_of) from None

    def with_settings(self, settings: Sequence[str], *, where: str = "--set") -> Self:
        """A copy with ``key=value`` texts applied; dots reach into nested settings, values are read as YAML.

        Parameters
        ----------
        settings
            The texts.
        where
            The option they come from, for messages.

        Raises
        ------
        ConfigError
            If a text is not ``key=value``, or the key or the value is wrong, or this is no list of texts.
        """
        values, defaults = self.model_dump(exclude_unset=True), self.model_dump()
        for setting in as_settings(settings, where):
            key, sign, text = setting.partition("=")
            if not sign:
                raise ConfigError(f"'{setting}' is not key=value", where=where)
            path = _present_names(type(self), key.strip().split("."), where)
            try:
                _put(values, path, yaml.safe_load(text), defaults, where)
            except yaml.YAMLError:
                raise ConfigError(f"the value of '{setting}' is not YAML", where=where) from None
        return type(self).parse(values, where=where)


def _described(
    error: ValidationError,
    model: type[Config],
    *,
    where: str,
    option_of: Callable[[str], str] | None = None,
    kind: type[ConfigError] = ConfigError,
) -> ConfigError:
    """The first error that pydantic found, as one that names the setting, see `Config.parse`."""
    first = error.errors()[0]
    parts, known = _follow(model, first["loc"])
    key = ".".join(parts)
    if first["type"] == "extra_forbidden":
        hint = nearest_name(parts[-1], known) if known else "it has no settings"
        return kind(f"unknown setting '{key}'", where=where, hint=hint)
    if first["type"] == "missing":
        return kind(f"setting '{key}' is missing", where=where)
    if first["type"].startswith("union_tag"):
        tag, name = first["ctx"].get("tag"), f"{key}.{first['ctx']['discriminator'].strip(chr(39))}"
        wrong = f"'{tag}', expected {first['ctx']['expected_tags']}" if tag else "missing"
        return kind(f"setting '{name}' is {wrong}", where=where)
    message = first["msg"].removeprefix("Value error, ").partition(", unable to parse")[0]
    message = message[:1].lower() + message[1:]
    named = parts[:1] or list(getattr(first.get("ctx", {}).get("error"), "names", ()))
    if option_of and named:
        where = ", ".join(map(option_of, named))
    if key:  # otherwise settings contradict each other
        message = f"setting '{key}': {message}, found {first['input']!r}"
    return kind(message, where=where)


def as_settings(settings: Sequence[str], where: str = "settings") -> tuple[str, ...]:
    """Settings as ``key=value`` texts.

    Raises
    ------
    ConfigError
        If it is a single text or a mapping, or contains something other than texts.
    """
    wrong = settings if isinstance(settings, str | Mapping) or not isinstance(settings, Iterable) else None
    wrong = next((item for item in settings if not isinstance(item, str)), None) if wrong is None else wrong
    if wrong is not None:
        example = next((f"{key}={value}" for key, value in wrong.items()), "") if isinstance(wrong, Mapping) else wrong
        hint = f"[{example!r}]" if isinstance(example, str) and "=" in example else "['n_iterations=20']"
        raise ConfigError(f"settings must be a list of key=value strings, found {wrong!r}", where=where, hint=hint)
    return tuple(settings)


def differences(before: Any, now: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The settings that differ, with dots in the names of nested ones, and their two values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before | now:
            yield from differences(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    elif before != now:
        yield name, before, now


def _present_names(model: type[BaseModel], path: Sequence[str], where: str) -> list[str]:
    """A path through nested settings with the present names of those that were renamed, which are logged."""
    present: list[str] = []
    types: list[Any] = [model]
    for part in path:
        configs = [config for config in types if isinstance(config, type) and issubclass(config, Config)]
        name = next((config.present_name(part) for config in configs if config.present_name(part) != part), part)
        if name != part:
            logger.warning("%s: the setting '%s' is now called '%s'", where, part, name)
        fields = [config.model_fields[name].annotation for config in configs if name in config.model_fields]
        types = [inner for field in fields or map(_content, types) for inner in _alternatives(field)]
        present.append(name)
    return present


def _put(values: dict[str, Any], path: Sequence[str], value: Any, defaults: Any, where: str) -> None:
    """Set a value at the end of a path through nested settings; missing or null ones start from their defaults."""
    *outer, last = path
    for part in outer:
        defaults = defaults.get(part) if isinstance(defaults, dict) else None
        if values.get(part) is None:
            values[part] = defaults if isinstance(defaults, dict) else {}
        if not isinstance(values[part], dict):
            raise ConfigError(f"'{part}' has no settings of its own", where=f"{where} {'.'.join(path)}")
        values = values[part]
    values[last] = value


def _follow(model: type[BaseModel], path: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The path of a setting as a user writes it, and the names of the settings next to its last part.

    If a mapping may be of several kinds, pydantic adds the kind to the path, and ``[key]`` after a wrong key.
    """
    shown, known = list[str](), list(model.model_fields)
    types: list[Any] = [model]
    for part in itertools.takewhile(lambda part: part != "[key]", path):
        models = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
        of_kind = [kind for kind in models if any(part in get_args(f.annotation) for f in kind.model_fields.values())]
        if of_kind and len(models) > 1:
            types = of_kind
            continue
        shown.append(str(part))
        known = [name for kind in models for name in kind.model_fields] or known
        fields = [kind.model_fields[str(part)].annotation for kind in models if part in kind.model_fields]
        types = [inner for field in fields or map(_content, types) for inner in _alternatives(field)]
    return shown, known


def _content(container: Any) -> Any:
    """The type of the items of a list or mapping; None for anything else."""
    inner = get_args(container)
    return inner[1 if get_origin(container) is dict else 0] if inner else None


def _alternatives(annotation: Any) -> list[Any]:
    """The types that a value may have."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [inner for alternative in get_args(annotation) for inner in _alternatives(alternative)]
    return [annotation]


class _UniqueKeyLoader(yaml.SafeLoader):
    """Reads YAML in which no mapping has a key twice; the standard loader takes the last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping without repeated keys.

        Raises
        ------
        yaml.YAMLError
            If a key occurs twice.
        """
        keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = next((key for key, count in keys.items() if count > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key '{twice}' occurs twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises
    ------
    ConfigError
        If the file is missing, is not YAML, is not a mapping, or has a key twice in one mapping.
    """
    if path.exists() and not path.is_file():  # reading a pipe would wait for its other end
        raise ConfigError("the recipe is not a regular file", where=str(path))
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"cannot read the recipe: {reason}", where=str(path)) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"the recipe is not YAML: {' '.join(str(error).split())}", where=str(path)) from None
    if not isinstance(values, dict):
        raise ConfigError("the recipe is not a mapping of keys to values", where=str(path))
    return values
