"""A Typer command made of a model of options."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

import typer

from cinerecon.options import Options

O = TypeVar("O", bound=Options)  # noqa: E741


def command(options: type[O], run: Callable[[O], None]) -> Callable[..., None]:
    """A function with one parameter per field of `options`, as Typer expects it, that calls `run` with an instance."""

    def call(**values: Any) -> None:
        run(options.from_command_line(values))  # type: ignore[arg-type]

    parameters = [_parameter(options, name) for name in options.model_fields]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__doc__ = options.__doc__
    call.__name__ = options.__name__.removesuffix("Options").lower()
    return call


def _parameter(options: type[Options], name: str) -> inspect.Parameter:
    field, flag = options.model_fields[name], options.flag_of(name)
    annotation: Any = field.annotation
    is_repeatable = get_origin(annotation) is tuple and get_args(annotation)[1:] == (...,)
    if is_repeatable:
        annotation = list[get_args(annotation)[0]]  # type: ignore[misc]
    default = ... if field.is_required() else field.default
    default = list(default) if is_repeatable and default is not ... else default
    shown: Any = flag.default_text or (not is_repeatable)
    if flag.is_argument:
        info = typer.Argument(default, help=field.description, show_default=shown)
    else:
        option = "--" + name.replace("_", "-")
        names = flag.names or ((option,) if annotation is bool else ())  # a switch has no --no-...
        info = typer.Option(default, *names, help=field.description, show_default=shown)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=annotation)
