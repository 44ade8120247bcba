"""The tables of the two papers: their rows and columns with results of this package, next to published values.

Ke et al., Learned low-rank priors in dynamic MR imaging (2021), doi:10.1109/TMI.2021.3096218, tables I to V: ``slr-1``
to ``slr-5``. Position-aware singular value shrinkage for dynamic MRI (PASSNet),
https://openreview.net/forum?id=JwJiDLvJWm, tables 1 to 3: ``pass-1`` to ``pass-3``.

Departs from the papers in: the data, which are not public in the form that the papers used; published numbers therefore
show which results can be expected, but are not a test of the programs. Rows and columns are the methods and samplings
compared in the papers; their order, and the assignment of comparisons to tables II to IV, is our interpretation.
Published cells are empty if the number was not available; no number was read from a plot or derived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cinerecon.errors import ConfigError, nearest_name
from cinerecon.evaluation.score import Score, coils_in_words, grouped
from cinerecon.evaluation.score_tables import marks_of
from cinerecon.evaluation.summary import MEASURES, Summary, gain_over, summarise
from cinerecon.evaluation.tables import Cell, Table, bold_best, show_count
from cinerecon.metrics import find_profile
from cinerecon.words import counted

SLR_SOURCE = "grey: Ke et al. 2021, on their own single-coil data"
PASS_SOURCE = "grey: PASSNet submission and its public reviews, on OCMR and CMRxRecon"


@dataclass(frozen=True)
class Published:
    """Published values of a method; unavailable values are empty.

    Attributes
    ----------
    seconds, parameters
        As printed in the paper.
    gain
        Gain in PSNR over another method [dB], by the name of that method and the sampling.
    """

    seconds: str = ""
    parameters: str = ""
    gain: Mapping[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class PaperTable:
    """The layout of one published table.

    Attributes
    ----------
    name
        Name on the command line.
    caption
        Caption: the comparison that the table shows.
    methods
        The method of each row; for ablations, the name of a run folder.
    samplings
        The sampling of each block of columns.
    measures
        The columns of a block.
    profile
        Measurement rules.
    source
        Source of the published numbers.
    published
        Published values by method.
    """

    name: str
    caption: str
    methods: tuple[str, ...]
    samplings: tuple[str, ...]
    measures: tuple[str, ...]
    profile: str
    source: str
    published: Mapping[str, Published] = field(default_factory=dict)

    def has_cell_for(self, score: Score) -> bool:
        """Whether the table has a cell for a score."""
        return score.method in self.methods and score.sampling in self.samplings


def _slr_table(
    number: int,
    title: str,
    methods: tuple[str, ...],
    published: Mapping[str, Published],
    samplings: tuple[str, ...] = ("gaussian:8",),
) -> PaperTable:
    """A table of the paper on SLR-Net."""
    measures = ("mse", "psnr", "ssim")
    return PaperTable(f"slr-{number}", title, methods, samplings, measures, "paper-slr", SLR_SOURCE, published)


def _pass_table(
    number: int,
    title: str,
    samplings: tuple[str, ...],
    published: Mapping[str, Published],
    methods: tuple[str, ...] = ("istanet", "dccnn", "lsnet", "slrnet", "t2lrnet", "jotlasnet", "passnet"),
) -> PaperTable:
    """A table of the paper on PASSNet, with the methods compared in its main tables by default."""
    measures = ("psnr", "ssim")
    return PaperTable(f"pass-{number}", title, methods, samplings, measures, "paper-pass", PASS_SOURCE, published)


_KTSLR = Published(seconds="197")
_TIMES = {"istanet": Published(seconds="0.16"), "jotlasnet": Published(seconds="0.87")}

PAPER_TABLES = {
    table.name: table
    for table in (
        _slr_table(
            1,
            "Table I: SLR-Net against classical and deep methods, 8x",
            ("ktslr", "dccnn", "crnn", "slrnet"),
            {"ktslr": _KTSLR, "slrnet": Published(gain={("ktslr", "gaussian:8"): "+3.5"})},
        ),
        _slr_table(
            2,
            "Table II: higher accelerations",
            ("ktslr", "dccnn", "crnn", "slrnet"),
            {"ktslr": _KTSLR},
            ("gaussian:10", "gaussian:12"),
        ),
        _slr_table(
            3,
            "Table III: the plug-and-play low-rank module, 8x",
            ("dccnn", "dccnn-lr", "crnn", "crnn-lr"),
            {
                "dccnn-lr": Published(gain={("dccnn", "gaussian:8"): "+1.4"}),
                "crnn-lr": Published(gain={("crnn", "gaussian:8"): "+2.1"}),
            },
        ),
        _slr_table(
            4,
            "Table IV: the position of the low-rank module, 8x",
            ("dccnn", "dccnn-lr-L1", "dccnn-lr", "dccnn-lr-L3"),
            {},
        ),
        _slr_table(
            5,
            "Table V: sparse against low-rank and sparse, 8x",
            ("ktslr", "istanet", "istanet-lr", "slrnet"),
            {"ktslr": _KTSLR, "istanet-lr": Published(gain={("istanet", "gaussian:8"): "+1.0"})},
        ),
        _pass_table(
            1,
            "Table 1: single coil, radial and random points",
            ("radial:8", "radial:16", "radial:30", "vds:8", "vds:10"),
            {**_TIMES, "passnet": Published("0.95", "1.25 M", {("jotlasnet", "vds:10"): "+0.9"})},
        ),
        _pass_table(
            2,
            "Table 2: several coils, equispaced lines",
            ("equispaced:4,fixed", "equispaced:8,fixed", "equispaced:10,fixed"),
            {**_TIMES, "passnet": Published("0.95", "1.25 M")},
        ),
        _pass_table(
            3,
            "Table 3: ablations of PASSNet",
            ("vds:10",),
            {
                "passnet-9": Published(parameters="0.75 M"),
                "passnet-13": Published(parameters="1.09 M"),
                "passnet-15": Published(parameters="1.25 M"),
                "passnet-17": Published(parameters="1.42 M"),
            },
            (
                *("passnet", "passnet-relative", "passnet-addition", "passnet-fixed-patches"),
                *("passnet-9", "passnet-13", "passnet-15", "passnet-17"),
            ),
        ),
    )
}


def find_paper_table(name: str) -> PaperTable:
    """The layout of the table with a name.

    Raises
    ------
    ConfigError
        If there is none, with the nearest name as a hint.
    """
    if name not in PAPER_TABLES:
        raise ConfigError(f"unknown table '{name}'", where="--table", hint=nearest_name(name, list(PAPER_TABLES)))
    return PAPER_TABLES[name]


def lay_out(table: PaperTable, scores: Sequence[Score], also: Sequence[str] = ()) -> list[Table]:
    """Results in the layout of a paper, one table for each number of coils; published numbers are marked as foreign.

    Parameters
    ----------
    table
        The layout.
    scores
        Scores; other methods and samplings are omitted, and rows without scores remain empty.
    also
        Methods that are not in the paper, which are added in separate rows below.
    """
    table = with_rows(table, also)
    matching = [score for score in scores if table.has_cell_for(score)]
    by_coils: dict[int | None, dict[tuple[str, str], Summary]] = {}
    for summary in summarise(matching):
        by_coils.setdefault(summary.n_coils, {})[summary.method, summary.sampling] = summary
    return [_lay_out(table, n_coils, summaries, matching) for n_coils, summaries in by_coils.items()] or [
        _lay_out(table, None, {}, [])
    ]


def with_rows(table: PaperTable, also: Sequence[str]) -> PaperTable:
    """The layout with additional methods below those of the paper."""
    return replace(table, methods=tuple(dict.fromkeys((*table.methods, *also))))


def scores_not_in(tables: Sequence[PaperTable], scores: Sequence[Score], also: Sequence[str] = ()) -> list[Score]:
    """The scores, for all sampling patterns, of methods that are in none of the layouts."""
    wide = [with_rows(table, also) for table in tables]
    samplings = {score.sampling for score in scores if not any(table.has_cell_for(score) for table in wide)}
    return [score for score in scores if score.sampling in samplings]


def _lay_out(
    table: PaperTable, n_coils: int | None, by_column: Mapping[tuple[str, str], Summary], scores: Sequence[Score]
) -> Table:
    titles, rows = ["method"], [[Cell(method)] for method in table.methods]
    by_cell = grouped((s for s in scores if s.n_coils == n_coils), lambda score: (score.method, score.sampling))
    for sampling in table.samplings:
        prefix = f"{sampling}: " if len(table.samplings) > 1 else ""
        for name in table.measures:
            titles.append(prefix + MEASURES[name].title)
            summaries = [by_column.get((method, sampling)) for method in table.methods]
            for row, summary in zip(rows, summaries, strict=True):
                row.append(Cell(summary.show(name) if summary else ""))
            distances = [s.distance(name) if s else float("nan") for s in summaries]
            bold_best(rows, len(titles) - 1, distances)
    titles += ["gain [dB]", "published gain", "time [s]", "published time", "parameters", "published number"]
    for row, method in zip(rows, table.methods, strict=True):
        published = table.published.get(method, Published())
        own = [by_column[method, s] for s in table.samplings if (method, s) in by_column]
        gains = [f"{value} over {rival}, {sampling}" for (rival, sampling), value in published.gain.items()]
        row += [
            Cell(", ".join(_measured_gain(by_cell, method, *pair) for pair in published.gain)),
            Cell(", ".join(gains), is_foreign=True),
            Cell(f"{sum(s.seconds for s in own) / len(own):.2f}" if own else ""),
            Cell(published.seconds, is_foreign=True),
            Cell(show_count(own[0].n_parameters) if own else ""),
            Cell(published.parameters, is_foreign=True),
        ]
    n = max((summary.n_slices for summary in by_column.values()), default=0)
    extent = "no results yet" if n_coils is None else f"{coils_in_words(n_coils)}, {counted(n, 'slice')}"
    uneven = sorted({f"{s.method} {s.n_slices}" for s in by_column.values() if s.n_slices < n})
    fewer = [f"means over fewer slices: {', '.join(uneven)}"] if uneven else []
    notes = (*fewer, *_notes(table, scores))
    return Table(f"{table.name}. {table.caption} ({extent})", tuple(titles), tuple(map(tuple, rows)), notes)


def _measured_gain(by_cell: Mapping[tuple[str, str], list[Score]], method: str, rival: str, sampling: str) -> str:
    """Mean gain in PSNR over another method, on the slices that both reconstructed."""
    gain = gain_over(by_cell.get((rival, sampling), []), by_cell.get((method, sampling), []), "psnr")
    return f"{gain.mean:+.2f}" if gain.n_units else ""


def _notes(table: PaperTable, scores: Sequence[Score]) -> tuple[str, ...]:
    profiles = dict.fromkeys(score.profile for score in scores)
    measured = sorted({*profiles} - {table.profile})
    other = [f"measured by profile {', '.join(measured)}; the paper's is {table.profile}"] if measured else []
    other += [*(find_profile(name).description for name in profiles), *marks_of(scores)]
    empty = "empty: not evaluated here, or not given in the paper"
    return (f"{table.source}; measured on other data, so values cannot be compared directly", empty, *other)
