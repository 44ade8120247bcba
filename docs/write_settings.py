"""Write docs/reference/settings.md from the settings classes: name, default and description of each setting.

python docs/write_settings.py
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic_core import PydanticUndefined

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.config import Config
from cinerecon.methods.catalogue import type_in_words
from cinerecon.methods.model_file import ModelConfig
from cinerecon.methods.table import METHODS
from cinerecon.networks import NETWORKS
from cinerecon.networks.config import LowRankModuleConfig, NetworkConfig
from cinerecon.physics.shrinkage import ShrinkageConfig, ShrinkageName, make_rule
from cinerecon.preparation.config import PrepareConfig
from cinerecon.simulation.scan import SimulateConfig
from cinerecon.training.data.config import DataConfig, PhantomSource, PreparedSource, SeriesSource, SimulatedSource
from cinerecon.training.recipe import TrainConfig

TARGET = Path(__file__).parent / "reference/settings.md"
HEAD = """# Settings

All settings with their defaults, generated from the code by `python docs/write_settings.py`. On the command line,
settings are given as `--set key=value`; nested keys are joined by dots, and values are parsed as YAML. In Python, the
same strings are passed as `settings=["key=value"]`. Recipes (`model.yaml`) contain the settings as YAML.
"""
PREPROCESSING = """Steps from the readouts of a raw scan to coil images: `--set preprocessing.KEY=VALUE` of `recon`,
`inspect`, `prepare`, `evaluate` and `serve`, and the key `preprocessing` of a model, so that scans are processed as in
its training."""
MODEL = (
    "The keys of `model.yaml`, which `--set` of `recon`, `evaluate` and (together with those of `training`) "
    "`train` accepts."
)

SHRINKAGE = (
    "Shrinkage of singular values in `ktslr`, `llr`, `lps` and networks with low rank. Each rule uses only its own "
    "settings; in a network, they are the initial values before training."
)
LOWRANK = "The keys of `architecture.lowrank` of `istanet`, `dccnn` and `crnn`."
RULE = "[rule](#shrinkage-of-singular-values)"
SIMULATED = "Settings of the sources `phantom` and `series`, whose phase and coils are simulated."
SHARED: dict[type[Config], str] = {
    ShrinkageConfig: "the [shrinkage of singular values](#shrinkage-of-singular-values)",
    NetworkConfig: "[all networks](#all-networks)",
    SimulatedSource: "[simulated sources](#simulated-sources)",
}
"""Classes whose settings are listed once, and the link to their table."""


def value_text(value: Any) -> str:
    """A default as YAML."""
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, tuple | list) and not value:
        return "`[]`"
    if isinstance(value, float) and value and abs(value) < 1e-3:
        return f"`{value:g}`"
    try:
        return f"`{json.dumps(value, ensure_ascii=False)}`" if not isinstance(value, str) else f"`{value or '(none)'}`"
    except TypeError:
        return f"`{value}`"


def rows_of(config: type[Config], prefix: str = "") -> Iterator[str]:
    """A row of the table for each setting; nested settings follow with their full key."""
    for name, field in config.model_fields.items():
        inner = field.annotation
        if (
            isinstance(inner, type)
            and issubclass(inner, Config)
            and inner not in (TrainConfig, DataConfig, AcquisitionConfig)
        ):
            yield from rows_of(inner, f"{prefix}{name}.")
            continue
        default = field.default if field.default_factory is None else field.default_factory()  # type: ignore[call-arg]
        is_nested = inner is AcquisitionConfig or (
            isinstance(default, dict) and any(isinstance(part, Config) for part in default.values())
        )
        if isinstance(default, Config):
            default = default.model_dump(mode="json", exclude_defaults=True)
            is_nested = not default
        text = "its defaults" if is_nested else value_text(default)
        values = RULE if get_args(inner) == get_args(ShrinkageName) else type_in_words(field)
        description = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{prefix}{name}` | {values} | {text} | {description} |"


def table(config: type[Config], prefix: str = "") -> str:
    """The settings of a class as a table; those of `SHARED` are left out unless their default or meaning differs."""
    bases = [base for base in SHARED if issubclass(config, base) and config is not base]
    shared = {row for base in bases for row in rows_of(base)}
    rows = [row for row in rows_of(config, prefix) if row not in shared]
    heads = ["| setting | values | default | meaning |", "|---|---|---|---|"]
    text = "\n".join([*heads, *rows]) if rows else "None." if not bases else ""
    links = " and ".join(f"of {SHARED[base]}" for base in bases)
    return f"The settings {links}{', and:' if rows else '.'}\n\n{text}".strip() if bases else text


def rules() -> str:
    """The rules for singular values as a table: the first sentence of each class."""
    summaries = {
        "pass": "Learned: thresholds depend on the position of the value in the spectrum (PASSNet; networks only)."
    }
    for name in get_args(ShrinkageName):
        if name not in summaries:
            rule = type(make_rule(ShrinkageConfig(shrinkage=name)))
            summaries[name] = " ".join((rule.__doc__ or "").partition("\n\n")[0].split())
    rows = (f"| `{name}` | {summaries[name].replace('|', chr(92) + '|')} |" for name in get_args(ShrinkageName))
    return "\n".join(["| `shrinkage` | effect on a singular value s |", "|---|---|", *rows])


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Preprocessing\n", PREPROCESSING + "\n", table(AcquisitionConfig) + "\n"]
    parts += ["## Classical methods\n"]
    for name, method in METHODS.items():
        if method.kind == "classical":
            parts += [f"### {name}\n", table(method.config_class) + "\n"]
    parts += ["## Shrinkage of singular values\n", SHRINKAGE + "\n", rules() + "\n", table(ShrinkageConfig) + "\n"]
    parts += ["## Models\n", MODEL + "\n", table(ModelConfig) + "\n"]
    parts += ["## Architectures\n", "The keys of `architecture`.\n"]
    parts += ["### All networks\n", table(NetworkConfig) + "\n"]
    parts += ["### Low-rank module\n", LOWRANK + "\n", table(LowRankModuleConfig) + "\n"]
    for name, network in NETWORKS.items():
        parts += [f"### {name}\n", table(network.config_class) + "\n"]
    parts += ["## Training\n", "The keys of `training`.\n", table(TrainConfig) + "\n"]
    parts += ["### Training data\n", "The keys of `training.data`.\n", table(DataConfig) + "\n"]
    parts += ["### Simulated sources\n", SIMULATED + "\n", table(SimulatedSource) + "\n"]
    for config in (PhantomSource, SeriesSource, PreparedSource):
        kind = config.model_fields["kind"].default
        title = f"### Source: {kind}\n"
        parts += [title, f"The keys of `training.data.sources.NAME` with `kind: {kind}`.\n", table(config) + "\n"]
    parts += [
        "## Preparation\n",
        "Set by the options of `prepare`, and stored in each case.\n",
        table(PrepareConfig) + "\n",
    ]
    parts += ["## Simulation\n", "Set by the options of `simulate`.\n", table(SimulateConfig)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(f"wrote {TARGET}", file=sys.stderr)
