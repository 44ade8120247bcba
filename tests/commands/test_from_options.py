"""One model of options makes a command: names, defaults, help and errors."""

from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from cinerecon.commands.from_options import command
from cinerecon.errors import ConfigError
from cinerecon.options import Flag, Options


class CopyOptions(Options):
    """Copy files."""

    sources: Annotated[tuple[Path, ...], Flag(is_argument=True)] = Field(description="files to copy")
    outputs: Annotated[tuple[str, ...], Flag(("--output", "-o"))] = Field(default=(), description="where to")
    n_frames: Annotated[int, Flag(("--frames",))] = Field(default=25, ge=1, description="number of frames")
    device: str = Field(default="auto", description="auto, cpu or cuda")
    csm: Annotated[str | None, Flag(default_text="as the model")] = Field(default=None, description="coil maps")
    force: bool = Field(default=False, description="overwrite existing files")
    range_cm_s: Annotated[float | None, Flag(("--range",))] = Field(default=None, description="velocity range [cm/s]")


@pytest.fixture
def run():
    seen = []
    app = typer.Typer()
    app.command()(command(CopyOptions, seen.append))
    app.command(name="other")(lambda: None)

    def call(*arguments):
        result = CliRunner().invoke(app, ["copy", *arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result, seen[-1] if seen else None

    return call


def test_what_is_not_given_has_the_default_of_the_model(run):
    result, options = run("a", "b")
    assert result.exit_code == 0
    assert options == CopyOptions(sources=(Path("a"), Path("b")))


def test_what_is_given_arrives(run):
    _, options = run("a", "-o", "x", "--output", "y", "--frames", "3", "--csm", "walsh", "--force", "--device", "cpu")
    expected = {"outputs": ("x", "y"), "n_frames": 3, "csm": "walsh", "force": True, "device": "cpu"}
    assert options == CopyOptions(sources=(Path("a"),), **expected)


def test_help_is_that_of_the_model(run):
    text = " ".join(run("--help")[0].output.split())
    for part in ("Copy files.", "Number of frames.", "25", "as the model", "Overwrite existing files."):
        assert part in text
    assert "--no-force" not in text
    assert "Velocity range [cm/s]." in text  # not taken as markup
    assert "--force Overwrite" in text  # a switch: without a type


def test_a_wrong_value_names_the_setting_and_its_option(run):
    with pytest.raises(ConfigError, match=r"n_frames.*greater than or equal to 1") as error:
        run("a", "--frames", "0")
    assert error.value.where == "--frames"


def test_a_missing_argument_is_an_error(run):
    result, options = run()
    assert result.exit_code == 2
    assert "Missing argument" in result.output
    assert options is None


def test_only_given_options_are_set(run):
    """A value that equals the default is given, too."""
    _, options = run("a", "--frames", "25", "--force")
    assert options.model_fields_set == {"sources", "n_frames", "force"}
