"""Typer commands from classes of options."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_args, get_origin

import typer

from cinerecon.options import Options

O = TypeVar("O", bound=Options)  # noqa: E741


def app_of(options: type[O], run: Callable[[O], None]) -> typer.Typer:
    """A Typer application with a single command, see `command`."""
    app = typer.Typer(add_completion=False)
    app.command()(command(options, run))
    return app


def command(options: type[O], run: Callable[[O], None]) -> Callable[..., None]:
    """A function for Typer with one parameter for each field of `options`, which calls `run` with an instance.

    Fields of the class precede inherited fields, which are ordered by the distance of their class. Only options given
    on the command line are set in the instance.
    """

    def call(context: typer.Context, **values: Any) -> None:
        given = {name: value for name, value in values.items() if _is_given(context, name)}
        run(options.from_command_line(given))  # type: ignore[arg-type]

    parameters = [inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    names = sorted(options.model_fields, key=lambda name: _distance(options, name))
    parameters += [_parameter(options, name) for name in names]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__doc__ = options.__doc__
    call.__name__ = options.__name__.removesuffix("Options").lower()
    return call


def _distance(options: type[Options], name: str) -> int:
    """Number of classes between a model and the one that defines a field."""
    return next(n for n, base in enumerate(options.__mro__) if name in inspect.get_annotations(base))


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def _parameter(options: type[Options], name: str) -> inspect.Parameter:
    field, flag = options.model_fields[name], options.flag_of(name)
    annotation: Any = field.annotation
    is_repeatable = get_origin(annotation) is tuple and get_args(annotation)[1:] == (...,)
    if is_repeatable:
        annotation = list[get_args(annotation)[0]]  # type: ignore[misc]
    default = ... if field.is_required() else field.default
    default = list(default) if is_repeatable and default is not ... else default
    shown: Any = flag.default_text or (not is_repeatable and default != "")
    description = field.description or ""
    text = f"{description[:1].upper()}{description[1:]}" + ("" if description.endswith(".") else ".")
    text = text.replace("[", r"\[")  # Rich would read a unit such as [ms] as markup
    if flag.is_argument:
        info = typer.Argument(default, help=text, show_default=shown)
    else:
        option = "--" + name.replace("_", "-")
        names = flag.names or ((option,) if annotation is bool else ())  # a switch has no --no-...
        metavar = "" if annotation is bool else None  # a switch takes no value
        info = typer.Option(default, *names, help=text, show_default=shown, metavar=metavar)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=annotation)
