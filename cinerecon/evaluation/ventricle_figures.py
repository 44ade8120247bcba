"""Figures of ventricular function: Bland-Altman plots, and area or volume over time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cinerecon.evaluation.charts import new_figure, style_of
from cinerecon.evaluation.score import coils_in_words
from cinerecon.evaluation.ventricle import Function, limits_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_CURVES = 8
"""Slices or stacks whose curves are drawn."""


def draw_bland_altman(functions: Sequence[Function]) -> "Figure":
    """Difference of image and truth against their mean: a row for each sampling, a column for each quantity.

    Parameters
    ----------
    functions
        All of slices, or all of stacks.
    """
    groups = list(dict.fromkeys((f.sampling, f.n_coils) for f in functions))
    methods = list(dict.fromkeys(f.method for f in functions))
    names = list(functions[0].pairs)
    figure = new_figure(4.2 * len(names), 3.0 * len(groups) + 0.5)
    axes = figure.subplots(len(groups), len(names), squeeze=False)
    for (sampling, n_coils), line in zip(groups, axes, strict=True):
        group = [f for f in functions if (f.sampling, f.n_coils) == (sampling, n_coils)]
        for axis, name in zip(line, names, strict=True):
            axis.axhline(0, color="black", lw=0.6)
            for index, method in enumerate(methods):
                pairs = [f.pairs[name] for f in group if f.method == method]
                if not pairs:
                    continue
                ours, truth = np.array(pairs).T
                style, limits = style_of(index), limits_of(pairs)
                axis.plot(
                    (ours + truth) / 2, ours - truth, linestyle="", ms=4, color=style["color"], marker=style["marker"]
                )
                axis.axhline(limits.bias, color=style["color"], lw=1)
                for end in (limits.low, limits.high):
                    if np.isfinite(end):
                        axis.axhline(end, color=style["color"], lw=0.8, ls="--")
            axis.set_xlabel(f"mean of image and truth, {name}", fontsize=8)
            axis.set_ylabel("image - truth", fontsize=8)
            axis.set_title(f"{sampling}, {coils_in_words(n_coils)}", fontsize=9)
            axis.tick_params(labelsize=7)
    _legend(figure, methods)
    return figure


def draw_function_curves(functions: Sequence[Function]) -> "Figure":
    """Area or volume over the frames, one panel for each slice or stack, a line for each method and the truth."""
    cases: dict[tuple[str, str, int, tuple[float, ...]], list[Function]] = {}
    for function in functions:
        key = (function.scan, function.sampling, function.n_coils, function.true_curve)
        cases.setdefault(key, []).append(function)
    methods = list(dict.fromkeys(f.method for f in functions))
    shown = list(cases.items())[:: max(1, -(-len(cases) // MAX_CURVES))]
    n_columns = min(4, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = new_figure(3.6 * n_columns, 2.7 * n_rows + 0.5)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, ((scan, sampling, _, truth), members) in zip(axes, shown, strict=False):
        axis.plot(truth, color="black", lw=2, alpha=0.6)
        for function in members:
            style = style_of(methods.index(function.method))
            axis.plot(function.curve, color=style["color"], linestyle=style["linestyle"], lw=1)
        axis.set_title(f"{scan}, {sampling}", fontsize=8)
        axis.set_xlabel("frame", fontsize=8)
        axis.set_ylabel("volume [ml]" if members[0].is_volume else "area [mm²]", fontsize=8)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
    _legend(figure, methods, has_truth=True)
    return figure


def _legend(figure: "Figure", methods: Sequence[str], *, has_truth: bool = False) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label="truth", color="black", lw=2, alpha=0.6)] if has_truth else []
    for index, method in enumerate(methods):
        style = style_of(index) | ({"marker": ""} if has_truth else {"linestyle": ""})
        handles.append(Line2D([], [], label=method, **style))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 7), fontsize=8, frameon=False)
