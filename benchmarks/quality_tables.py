"""The tables of `quality.py`: measures, gains over the baseline and time, by sampling pattern and number of coils."""

from collections.abc import Sequence
from statistics import mean, median

from pages import markdown_table

from cinerecon.evaluation.score import Score
from cinerecon.metrics.statistics import Gain, compare_paired, summarise_mean, with_holm
from cinerecon.words import counted

Column = tuple[str, int]
"""Sampling pattern and number of coils."""
Pair = tuple[str, str]
"""A method, and the one with which it is compared."""
LOWRANK_MODULES = {"istanet-lr": "istanet", "dccnn-lr": "dccnn", "crnn-lr": "crnn"}
"""Networks with a low-rank module, and the same networks without it."""
HEADS = {("psnr", "ssim"): "PSNR [dB] / SSIM", ("heart_psnr", "xt_ssim"): "heart PSNR [dB] / x-t SSIM"}


def columns_of(scores: Sequence[Score]) -> list[Column]:
    """All patterns, each with all numbers of coils."""
    samplings = list(dict.fromkeys(score.sampling for score in scores))
    return [(sampling, coils) for sampling in samplings for coils in sorted({score.n_coils for score in scores})]


def values_of(scores: Sequence[Score], method: str, column: Column, field: str) -> dict[str, float]:
    """A measure of a method in a column: the mean over the series of each subject."""
    by_subject: dict[str, list[float]] = {}
    for score in scores:
        if score.method == method and (score.sampling, score.n_coils) == column:
            by_subject.setdefault(score.subject, []).append(getattr(score, field))
    return {subject: mean(values) for subject, values in by_subject.items()}


def gains_of(scores: Sequence[Score], pairs: Sequence[Pair]) -> dict[tuple[Pair, Column], Gain]:
    """The gain in PSNR of the first method of each pair over the second, in each column, tested over subjects."""
    gains = {}
    for column in columns_of(scores):
        compared = []
        for method, other in pairs:
            first, second = (values_of(scores, name, column, "psnr") for name in (method, other))
            compared.append(compare_paired([first[s] for s in second], list(second.values()), list(second)))
        gains |= {(pair, column): gain for pair, gain in zip(pairs, with_holm(compared), strict=True)}
    return gains


def gain_table(scores: Sequence[Score], methods: Sequence[str], baseline: str) -> str:
    """Mean gains over the baseline with 95 % intervals, and how often a method is worse."""
    heads = f"PSNR gain over `{baseline}` [dB]", f"worse than `{baseline}` (largest loss)"
    return _gain_rows(scores, {f"`{method}`": (method, baseline) for method in methods}, heads)


def lowrank_table(scores: Sequence[Score], methods: Sequence[str]) -> str:
    """Gains of networks with a low-rank module over the same networks without it; empty if there are no such pairs."""
    pairs = [pair for pair in LOWRANK_MODULES.items() if set(pair) <= set(methods)]
    heads = "PSNR gain by the low-rank module [dB]", "worse with the module (largest loss)"
    return _gain_rows(scores, {f"`{method}` over `{other}`": (method, other) for method, other in pairs}, heads)


def _gain_rows(scores: Sequence[Score], rows: dict[str, Pair], heads: tuple[str, str]) -> str:
    if not rows:
        return ""
    gains, columns = gains_of(scores, list(rows.values())), columns_of(scores)
    cells = [
        (label, *(describe_gain(gains[pair, column]) for column in columns), describe_losses(scores, *pair))
        for label, pair in rows.items()
    ]
    return markdown_table((heads[0], *map(column_title, columns), heads[1]), cells)


def describe_gain(gain: Gain) -> str:
    """Mean and interval; the mean alone if there are too few subjects for an interval."""
    if gain.low != gain.low:
        return f"{gain.mean:+.2f}"
    star = "" if gain.p_holm < 0.05 else " *"
    return f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}]{star}"


def describe_losses(scores: Sequence[Score], method: str, baseline: str) -> str:
    """How many combinations of subject, pattern and coils are worse than the baseline, and the largest loss."""
    differences = [
        values_of(scores, method, column, "psnr")[subject] - value
        for column in columns_of(scores)
        for subject, value in values_of(scores, baseline, column, "psnr").items()
    ]
    n_below = sum(difference < 0 for difference in differences)
    lowest = f" ({min(differences):+.2f})" if n_below else ""
    return f"{n_below} of {len(differences)}{lowest}"


def value_table(scores: Sequence[Score], methods: Sequence[str], fields: tuple[str, str]) -> str:
    """Two measures of all methods, means over subjects."""
    columns = columns_of(scores)
    rows = {}
    for method in methods:
        pairs = [[summarise(scores, method, column, field) for field in fields] for column in columns]
        rows[method] = [f"{first:.2f} / {second:.3f}" for first, second in pairs]
    return markdown(HEADS[fields], columns, rows)


def summarise(scores: Sequence[Score], method: str, column: Column, field: str) -> float:
    """Mean over the subjects for which the measure is defined."""
    return summarise_mean(list(values_of(scores, method, column, field).values())).mean


def time_table(scores: Sequence[Score], methods: Sequence[str], baseline: str) -> str:
    """Time including the initial image, relative to that of the baseline: median over series."""
    columns = columns_of(scores)
    rows = {}
    for method in methods:
        cells = []
        for column in columns:
            seconds = {
                (score.method, score.case): score.seconds
                for score in scores
                if (score.sampling, score.n_coils) == column and score.method in (method, baseline)
            }
            cases = {case for name, case in seconds if name == method}
            cells.append(f"{median(seconds[method, case] / seconds[baseline, case] for case in cases):.2f}")
        rows[method] = cells
    return markdown(f"time relative to `{baseline}`", columns, rows)


def column_title(column: Column) -> str:
    """Pattern and number of coils."""
    sampling, coils = column
    return f"{sampling}, {counted(coils, 'coil')}"


def markdown(head: str, columns: Sequence[Column], rows: dict[str, list[str]]) -> str:
    """A table with a row for each method."""
    return markdown_table(
        (head, *map(column_title, columns)), [(f"`{method}`", *cells) for method, cells in rows.items()]
    )
