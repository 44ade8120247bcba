"""Defaults of the options of `prepare` and `simulate` are those of their settings."""

from pathlib import Path

from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.commands.prepare import PrepareOptions
from cinerecon.commands.simulate import SimulateOptions
from cinerecon.preparation.config import PrepareConfig
from cinerecon.simulation.config import SimulateConfig


def test_prepare_without_options_is_the_default_preparation():
    config = PrepareOptions(sources=(Path("a"),), output=Path("b")).config()
    assert config == PrepareConfig()


def test_sizes_shown_in_the_help_of_simulate_are_the_defaults():
    config = SimulateConfig()
    for name in ("n_frames", "ky", "kx", "n_slices"):
        assert int(SimulateOptions.flag_of(name).default_text.partition(",")[0]) == getattr(config, name)


def test_prepare_takes_one_process_at_least(tmp_path):
    result = CliRunner().invoke(app, ["prepare", str(tmp_path), "-o", "x", "--workers", "-1"])
    assert result.exception.what == "setting 'workers': input should be greater than or equal to 1, found -1"


def test_compression_is_set_by_either_option():
    """The default of ``--compression`` does not replace the value of ``--set``."""
    required = {"sources": (Path("scans"),), "output": Path("data")}
    for options in ({"settings": ("preprocessing.compression=geometric",)}, {"compression": "geometric"}):
        assert PrepareOptions(**required, **options).config().preprocessing.compression == "geometric"
