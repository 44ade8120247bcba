"""Charts of scores and of ventricular function: box plots, quality against acceleration, Bland-Altman plots, curves."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cinerecon.evaluation.score import Score, coils_in_words, grouped
from cinerecon.evaluation.summary import MEASURES, summarise
from cinerecon.evaluation.ventricle import VentricularFunction, limits_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOX_PLOT_MEASURES = ("psnr", "ssim", "heart_psnr", "xt_ssim")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
"""Colours of Okabe and Ito, which colour-blind readers can distinguish."""
MARKERS, DASHES = ("o", "s", "^", "D"), ("-", "--", ":", "-.")
"""Styles of the first, second, third and fourth method of the same colour."""
MAX_CURVES = 8
"""Largest number of slices or stacks for which curves are drawn."""


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure [inches] that is drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, since this import takes most of the time
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def draw_boxes(scores: Sequence[Score]) -> "Figure":
    """Box plots: a panel for each measure, a group of boxes for each sampling and coil count, a box for each method."""
    names = [name for name in BOX_PLOT_MEASURES if np.isfinite([getattr(score, name) for score in scores]).any()]
    groups = list(dict.fromkeys(score.group for score in scores))
    methods = list(dict.fromkeys(score.method for score in scores))
    panels = (len(names) + 1) // 2
    width = max(4.5, 0.32 * len(groups) * (len(methods) + 1))
    figure = new_figure(2 * width + 0.6, 3 * panels + 0.7)
    axes = figure.subplots(panels, 2, squeeze=False).ravel()
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    step = len(methods) + 1
    for axis, name in zip(axes, names, strict=False):
        for index, method in enumerate(methods):
            values = [_finite(scores, name, method, group) for group in groups]
            positions = [step * g + index for g in range(len(groups))]
            _boxes(axis, values, positions, style_of(index))
        axis.set_title(MEASURES[name].title, fontsize=10)
        labels = [sampling if len({c for _, c in groups}) == 1 else f"{sampling}\n{c} ch" for sampling, c in groups]
        axis.set_xticks([step * g + (len(methods) - 1) / 2 for g in range(len(groups))], labels, fontsize=8)
        axis.grid(axis="y", alpha=0.3)
    _legend(figure, methods)
    return figure


def draw_curves(scores: Sequence[Score]) -> "Figure | None":
    """PSNR against net acceleration, one line for each method; None if no pattern has several accelerations.

    A line includes only slices that the method reconstructed at every acceleration; otherwise, it would depend on the
    choice of slices.
    """
    families = grouped(scores, lambda score: (_family(score.sampling), score.n_coils))
    panels = [family for family, members in families.items() if len({score.sampling for score in members}) > 1]
    if not panels:
        return None
    methods = list(dict.fromkeys(score.method for score in scores))
    figure = new_figure(4.2 * len(panels) + 0.4, 3.6)
    for axis, (family, n_coils) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        summaries = summarise(at_every_acceleration(families[family, n_coils]))
        for index, method in enumerate(methods):
            line = sorted((s for s in summaries if s.method == method), key=lambda s: s.acceleration)
            spreads = [s.measures["psnr"] for s in line]
            means = [spread.mean for spread in spreads]
            bars = [
                [max(0.0, np.nan_to_num(end)) for end in ends]
                for ends in ([s.mean - s.low for s in spreads], [s.high - s.mean for s in spreads])
            ]
            axis.errorbar(
                [s.acceleration for s in line],
                means,
                bars,
                markersize=4,
                capsize=2,
                **style_of(index),
            )
        axis.set_title(f"{family}, {coils_in_words(n_coils)}", fontsize=10)
        axis.set_xlabel("net acceleration")
        axis.set_ylabel("PSNR [dB]")
        axis.grid(alpha=0.3)
    _legend(figure, methods)
    return figure


def at_every_acceleration(scores: Sequence[Score]) -> list[Score]:
    """The scores of slices that the same method reconstructed with every sampling."""
    samplings = {score.sampling for score in scores}
    cases = grouped(scores, lambda score: (score.method, score.scan, score.slice)).values()
    return [score for case in cases if {score.sampling for score in case} == samplings for score in case]


def style_of(index: int) -> dict[str, Any]:
    """Style of the method with an index in the list; the first 32 styles are distinct."""
    variant = index // len(COLOURS) % len(MARKERS)
    return {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[variant], "linestyle": DASHES[variant]}


def _boxes(axis: "Axes", values: list[list[float]], positions: list[int], style: dict[str, Any]) -> None:
    filled = [(value, position) for value, position in zip(values, positions, strict=True) if value]
    if not filled:
        return
    shape: dict[str, Any] = {"patch_artist": True, "showfliers": False, "widths": 0.7}
    boxes = axis.boxplot([v for v, _ in filled], positions=[p for _, p in filled], manage_ticks=False, **shape)
    for box, median in zip(boxes["boxes"], boxes["medians"], strict=True):
        box.set(facecolor=style["color"], alpha=0.45, linestyle=style["linestyle"])
        median.set(color="black")
    for value, position in filled:
        shift = np.linspace(-0.2, 0.2, len(value)) if len(value) > 1 else [0.0]
        axis.plot(position + np.array(shift), value, color=style["color"], marker=style["marker"], ls="", ms=2)


def _legend(
    figure: "Figure", methods: Sequence[str], *, n_columns: int = 6, has_reference: bool = False, **style: str
) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label="reference", color="black", lw=2, alpha=0.6)] if has_reference else []
    handles += [Line2D([], [], label=method, **(style_of(index) | style)) for index, method in enumerate(methods)]
    n_columns = min(len(handles), n_columns)
    figure.legend(handles=handles, loc="outside lower center", ncols=n_columns, fontsize=8, frameon=False)


def _finite(scores: Sequence[Score], name: str, method: str, group: tuple[str, int]) -> list[float]:
    values = [getattr(s, name) for s in scores if s.method == method and s.group == group]
    return [value for value in values if np.isfinite(value)]


def _family(sampling: str) -> str:
    """The name of a pattern and its options, without the acceleration."""
    return re.sub(r":[0-9.]+", "", sampling, count=1)


def draw_bland_altman(functions: Sequence[VentricularFunction]) -> "Figure":
    """Difference of image and reference against their mean: one row for each sampling, one column for each quantity.

    Parameters
    ----------
    functions
        Functions either of slices or of stacks.
    """
    groups = grouped(functions, lambda f: (f.sampling, f.n_coils))
    methods = list(dict.fromkeys(f.method for f in functions))
    names = list(functions[0].pairs)
    figure = new_figure(4.2 * len(names), 3.0 * len(groups) + 0.5)
    axes = figure.subplots(len(groups), len(names), squeeze=False)
    for ((sampling, n_coils), group), line in zip(groups.items(), axes, strict=True):
        for axis, name in zip(line, names, strict=True):
            axis.axhline(0, color="black", lw=0.6)
            for index, method in enumerate(methods):
                pairs = [f.pairs[name] for f in group if f.method == method]
                if not pairs:
                    continue
                image, reference = np.array(pairs).T
                style, limits = style_of(index), limits_of(pairs)
                axis.plot(
                    (image + reference) / 2,
                    image - reference,
                    ls="",
                    ms=4,
                    color=style["color"],
                    marker=style["marker"],
                )
                axis.axhline(limits.bias, color=style["color"], lw=1)
                for end in (limits.low, limits.high):
                    if np.isfinite(end):
                        axis.axhline(end, color=style["color"], lw=0.8, ls="--")
            axis.set_xlabel(f"mean of image and reference, {name}", fontsize=8)
            axis.set_ylabel("image - reference", fontsize=8)
            axis.set_title(f"{sampling}, {coils_in_words(n_coils)}", fontsize=9)
            axis.tick_params(labelsize=7)
    _legend(figure, methods, n_columns=7, linestyle="")
    return figure


def draw_function_curves(functions: Sequence[VentricularFunction]) -> "Figure":
    """Area or volume over the frames: one panel for each slice or stack, one line for each method and the reference."""
    cases = grouped(functions, lambda f: (f.scan, f.sampling, f.n_coils, f.slice))
    methods = list(dict.fromkeys(f.method for f in functions))
    shown = list(cases.items())[:: max(1, -(-len(cases) // MAX_CURVES))]
    n_columns = min(4, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = new_figure(3.6 * n_columns, 2.7 * n_rows + 0.5)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis, ((scan, sampling, n_coils, number), members) in zip(axes, shown, strict=False):
        axis.plot(members[0].reference_curve, color="black", lw=2, alpha=0.6)
        for function in members:
            style = style_of(methods.index(function.method))
            axis.plot(function.curve, color=style["color"], linestyle=style["linestyle"], lw=1)
        case = scan if number is None else f"{scan}, slice {number}"
        axis.set_title(f"{case}\n{sampling}, {coils_in_words(n_coils)}", fontsize=8)
        axis.set_xlabel("frame", fontsize=8)
        axis.set_ylabel("volume [ml]" if members[0].is_volume else "area [mm²]", fontsize=8)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
    _legend(figure, methods, n_columns=7, has_reference=True, marker="")
    return figure
