"""Defaults that commands repeat, so that their help is fast, are those of the settings."""

import inspect

from typer.testing import CliRunner

from cinerecon.cli import app
from cinerecon.commands.prepare import prepare
from cinerecon.commands.simulate import simulate
from cinerecon.preparation import PrepareConfig, parse_split
from cinerecon.simulation.scan import SimulateConfig

CALLED = {"subject": "person", "crop_readout": "readout", "patch": "patches"}
"""Settings of `PrepareConfig` by the names of their options, where these are others."""


def defaults(command):
    return {name: one.default for name, one in inspect.signature(command).parameters.items()}


def test_simulate():
    config, values = SimulateConfig(), defaults(simulate)
    shown = inspect.signature(simulate, eval_str=True).parameters
    for name in ("frames", "ky", "kx", "slices"):  # None: those of --from, or the default, which the help shows
        values[name] = int(shown[name].annotation.__metadata__[0].show_default.partition(",")[0])
    values = {SimulateConfig.renamed.get(name, name): value for name, value in values.items()}
    assert {name: values[name] for name in SimulateConfig.model_fields} == config.model_dump()


def test_prepare():
    config, told = PrepareConfig(), defaults(prepare)
    told |= {"patch": told["patch"] or (), "split": parse_split(told["split"])}
    named = {CALLED.get(name, name): value for name, value in told.items()}
    names = PrepareConfig.model_fields.keys() - {"intake"}
    assert {name: named[name] for name in names} == {name: getattr(config, name) for name in names}
    assert told["compression"] == config.intake.compression
    assert (told["csm"], told["compress_coils"]) == (None, None)


def test_prepare_takes_one_process_at_least(tmp_path):
    result = CliRunner().invoke(app, ["prepare", str(tmp_path), "-o", "x", "--workers", "-1"])
    assert result.exit_code == 2
    assert "ValueError" not in repr(result.exception)
