"""The settings of an evaluation, and their completion by the methods, patterns and profile of a paper's table."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.errors import ConfigError, WeightsError
from cinerecon.evaluation.paper_tables import PaperTable
from cinerecon.evaluation.summary import require_baseline
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_file import model_label
from cinerecon.methods.table import METHODS, load_method
from cinerecon.metrics import DEFAULT_PROFILE
from cinerecon.options import DEVICE, SEED


@dataclass(frozen=True)
class EvaluationRequest:
    """Methods, sampling patterns and settings, as plain values that can be sent to other processes.

    Attributes
    ----------
    models, patterns
        Names of methods or folders of trained networks; sampling patterns, see `physics.sampling`.
    settings
        ``key=value`` texts for every method.
    seed
        Seed of the patterns; each slice of each scan has its own mask.
    device
        Device on which methods run.
    profile
        Name of the measurement rules, see `metrics.PROFILES`.
    output
        Folder with the ``scores.csv`` to which each score is written immediately; existing scores are not computed
        again. None means that scores are only returned.
    n_pictures
        Number of slices, evenly distributed, whose images are stored in the output folder for figures.
    subject
        Regular expression for the subject in the path of a scan; if it is empty, the subject is taken from the header.
        Subjects are the unit of confidence intervals and tests.
    config
        Settings for reading scans.
    memory
        Largest memory of all processes [bytes]; None means no limit. Methods that need more memory for a slice fail on
        it.
    """

    models: Sequence[str]
    patterns: Sequence[str]
    settings: Sequence[str] = ()
    seed: int = SEED
    device: str = DEVICE
    profile: str = DEFAULT_PROFILE
    output: Path | None = None
    n_pictures: int = 0
    subject: str = ""
    config: AcquisitionConfig = field(default_factory=AcquisitionConfig)
    memory: int | None = None

    def load_methods(self) -> dict[str, Reconstructor]:
        """The methods by their requested names."""
        return {name: load_method(name, self.settings, device=self.device) for name in self.models}


@dataclass(frozen=True)
class Selection:
    """Methods, sampling patterns and measurement rules, including those of tables.

    Attributes
    ----------
    models, patterns, profile
        Methods, sampling patterns and profile.
    named
        Names, in the results, of the methods requested by the user.
    left_out
        Methods of a table that have no weights, or ablations that have not been trained.
    """

    models: tuple[str, ...]
    patterns: tuple[str, ...]
    profile: str
    named: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def select_with_tables(
    models: Sequence[str],
    patterns: Sequence[str],
    profile: str | None,
    layouts: Sequence[PaperTable],
    baseline: str | None = None,
) -> Selection:
    """Complete methods, patterns and profile with those of tables.

    Raises
    ------
    ConfigError
        If there is no method or no pattern, two methods have the same name, the baseline is not among the methods, or
        tables with different profiles are requested without a choice of profile.
    """
    profiles = list(dict.fromkeys(layout.profile for layout in layouts))
    if profile is None and len(profiles) > 1:
        raise ConfigError(
            "these tables use different definitions of the metrics",
            where="--table",
            hint="--profile " + " or ".join(profiles),
        )
    chosen = list(models)
    left_out: list[str] = []
    if not models:
        for name in dict.fromkeys(method for layout in layouts for method in layout.methods):
            (chosen if _is_ready(name) else left_out).append(name)
    patterns = patterns or list(dict.fromkeys(sampling for layout in layouts for sampling in layout.samplings))
    if not chosen:
        hint = "--model ktslr --model slrnet, or --table slr-1"
        raise ConfigError("no method to evaluate", where="--model", hint=hint)
    if not patterns:
        raise ConfigError("no sampling pattern is given", where="--undersample", hint="--undersample gaussian:8")
    labels = Counter(model_label(name) for name in chosen)
    duplicates = [name for name in chosen if labels[model_label(name)] > 1]
    if len(set(duplicates)) > 1:
        what = f"two methods would be called '{model_label(duplicates[0])}' in the results"
        raise ConfigError(what, where=", ".join(duplicates), hint="rename the folder, file or class of one of them")
    if baseline is not None:
        require_baseline(baseline, list(labels))
    rules = profile or (profiles[0] if profiles else DEFAULT_PROFILE)
    return Selection(tuple(chosen), tuple(patterns), rules, tuple(map(model_label, models)), tuple(left_out))


def require_files(recons: Sequence[Path], reference: Path | None, others: Sequence[str]) -> tuple[list[Path], Path]:
    """Check that images are given with their reference, and without options that would have no effect.

    Parameters
    ----------
    recons, reference
        Images and their reference.
    others
        Arguments and options that apply to scans and methods.

    Raises
    ------
    ConfigError
        If one of the two is missing, or scans, methods or their options are also given.
    """
    if not recons or reference is None:
        missing = "--reference" if recons else "--recon"
        raise ConfigError(f"{missing} is missing", where="--recon, --reference", hint="give both")
    if others:
        what = "--recon compares existing images; scans, methods and their options cannot be given"
        raise ConfigError(what, where=", ".join(others), hint="leave it out")
    return list(recons), reference


def why_left_out(name: str) -> str:
    """The reason why a method of a table cannot be run, and the remedy."""
    if name in METHODS:
        return "no weights yet"
    return "no weights: train it with models/train.py --ablations, then use --model with its folder"


def _is_ready(name: str) -> bool:
    """Whether a method of a table can be run; ablations and networks may not have been trained yet."""
    try:
        load_method(name)
    except WeightsError:
        return False
    except ConfigError:
        if name in METHODS:
            raise
        return False
    return True
