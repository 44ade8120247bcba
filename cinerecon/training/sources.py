"""Check that the data a user names are those that a training uses."""

from collections.abc import Sequence
from pathlib import Path

from cinerecon.errors import ConfigError
from cinerecon.training.data import PreparedSource, SeriesSource
from cinerecon.training.recipe import Recipe


def require_used(recipe: Recipe, as_written: Recipe, *, real: Sequence[Path] = (), scans: Sequence[Path] = ()) -> None:
    """Check that no folder given is left unused, and that a loss without truth has measured data.

    Parameters
    ----------
    recipe
        The recipe with all options applied.
    as_written
        The recipe as its file has it: a loss ``ssdu`` written there is meant for the sources beside it.
    real
        Folders of measured magnitude cines.
    scans
        Undersampled scans to train on in place of the sources.

    Raises
    ------
    ConfigError
        Naming the option that is missing, or not used.
    """
    sources = recipe.training.data.sources.values()
    if real and scans:
        what = "--scan takes the place of all sources of the recipe, --series is for one of them"
        raise ConfigError(what, where="--scan, --series", hint="leave out one")
    if real and not any(isinstance(source, SeriesSource) and not source.folder for source in sources):
        what = "the recipe has no source of kind series without a folder, so --series would not be used"
        hint = "leave out --series, or --set 'training.data.sources.series={kind: series}'"
        if all(isinstance(source, PreparedSource) for source in sources):
            what = "--data takes the place of all sources of the recipe, --series is for one of them"
            hint = "leave out one; to mix them: --set 'training.data.sources.mine={kind: prepared, folder: FOLDER}'"
        raise ConfigError(what, where="--series", hint=hint)
    is_requested = recipe.training.loss == "ssdu" != as_written.training.loss
    if is_requested and not scans and not any(isinstance(source, PreparedSource) for source in sources):
        what = (
            f"loss ssdu trains on undersampled scans, none is given: the recipe has {', '.join(_names(recipe))} alone"
        )
        hint = "--scan SCAN or --scan FOLDER; to train on simulated cines in this way, write loss: ssdu in the recipe"
        raise ConfigError(what, where="--loss ssdu", hint=hint)


def _names(recipe: Recipe) -> list[str]:
    """The sources of a recipe with their kinds."""
    return [f"{name} ({source.kind})" for name, source in recipe.training.data.sources.items()]
