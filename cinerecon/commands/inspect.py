"""The command ``cinerecon inspect``."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from cinerecon.commands.from_options import app_of
from cinerecon.options import ArrayOptions, Flag, RawScanOptions, SetOptions, with_options, with_preprocessing

if TYPE_CHECKING:
    from cinerecon.acquisition.inspection import CineContent, CineSummary, ScanPlan

PARTIAL_FOURIER_FRACTION = 0.9
"""Fraction of k-space along y below which a scan is reported as partial Fourier."""


class InspectOptions(ArrayOptions, RawScanOptions, SetOptions):
    """Show the contents of a scan and, for a raw scan, which readouts are used or dropped, and why."""

    scan: Annotated[Path, Flag(is_argument=True)] = Field(
        description="raw scan, ISMRMRD (.h5) or Siemens (.dat), CMRxRecon file (.mat), k-space in BART (.cfl) or NumPy "
        "(.npy, .npz) format, or prepared case (.h5); - reads standard input"
    )
    settings: Annotated[tuple[str, ...], Flag(("--set",))] = Field(
        default=(), description="preprocessing setting, e.g. preprocessing.select.contrast=0"
    )
    as_json: Annotated[bool, Flag(("--json",))] = Field(default=False, description="print the report as JSON")


def inspect(options: InspectOptions) -> None:
    """Open and read the scan, and print its content; ``-`` is standard input."""
    from cinerecon.commands.scans import scan_file

    with scan_file(options.scan) as path:
        _inspect(options.model_copy(update={"scan": path}))


def _inspect(options: InspectOptions) -> None:
    from cinerecon.acquisition.config import AcquisitionConfig
    from cinerecon.acquisition.formats import RAW_SCAN, kind_of
    from cinerecon.commands.console import progress_bar

    config = with_preprocessing(AcquisitionConfig(), options.settings).with_arrays(options).with_set(options.set_index)
    config = with_options(config, options, {"gating": "gating"})
    path, part = options.scan, options.model_dump(include={"noise", "dataset", "measurement"})
    content: CineContent
    with progress_bar() as progress:
        if kind_of(path) == RAW_SCAN:
            from cinerecon.acquisition.inspection import inspect_scan

            report = lambda done, total: progress("checking samples", done / total)  # noqa: E731
            plan = inspect_scan(path, config, **part, progress=report)
            content, rows = plan, _rows_of_plan(plan)
        else:
            from cinerecon.acquisition.inspection import summarise
            from cinerecon.acquisition.open import open_scan

            source = open_scan(path, config, **part)
            summary = summarise(source, lambda done, total: progress("reading slices", done / total))
            content, rows = summary, _rows_of_summary(summary)
    if options.as_json:
        print(json.dumps(asdict(content), indent=2))
    else:
        _print_table(rows)


app = app_of(InspectOptions, inspect)


def _print_table(rows: Iterable[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in rows:
        table.add_row(label, text)
    Console(markup=False, highlight=False).print(table)


def _rows_of_plan(plan: "ScanPlan") -> Iterator[tuple[str, str]]:
    field = "" if plan.field_strength_tesla is None else f", {plan.field_strength_tesla:.3g} T"
    part = plan.dataset if plan.dataset.startswith("measurement ") else f"group {plan.dataset or '/'}"
    yield "scan", f"{plan.source}, {part}"
    yield "scanner", (plan.scanner or "unknown") + field + (f", {plan.protocol}" if plan.protocol else "")
    yield "slices", str(plan.n_slices)
    yield "frames", f"{_span(plan.n_frames)}, counted in {plan.time_counter}"
    yield from _gating(plan)
    yield "coils", str(plan.n_coils)
    yield "matrix", f"{_pixels(plan)}, encoded {' x '.join(map(str, plan.encoded_matrix))}"
    echo = "symmetric" if plan.echo_fraction == 1 else f"asymmetric, {plan.echo_fraction:.0%} of the readout measured"
    yield "readout", f"oversampled {plan.oversampling:.3g}x, echo {echo}"
    partial = (
        f", partial Fourier: {plan.phase_fraction:.0%} of k-space"
        if plan.phase_fraction < PARTIAL_FOURIER_FRACTION
        else ""
    )
    yield "lines", f"{_lines_per_frame(plan)} of {plan.n_lines} per frame{partial}"
    yield "acceleration", _acceleration(plan)
    yield "averages", str(plan.n_averages)
    yield "noise scan", plan.noise
    yield from _labelled("signals", plan.signals)
    yield from _labelled("flags", (f"{count:>6} {name}" for name, count in plan.flags.items()))
    yield "image data", f"{plan.n_image_readouts} of {plan.n_readouts} readouts"
    others = (
        (plan.n_noise_readouts, "flag 19: noise, only for whitening"),
        (plan.n_calibration_readouts, "flag 20: only for coil maps"),
    )
    yield from _labelled("other data", [f"{count:>6} {reason}" for count, reason in others if count])
    yield from _labelled("dropped", [f"{part.n_readouts:>6} {part.reason}" for part in plan.dropped])
    yield from _labelled("plan", (f"{number}. {step}" for number, step in enumerate(plan.steps, 1)))
    yield from _labelled("warning", plan.warnings)


def _gating(plan: "ScanPlan") -> Iterator[tuple[str, str]]:
    """The gating mode, the heartbeats, and the coverage of k-t space."""
    gating = plan.gating
    names = {"counter": "by the counters", "retro": "retrospective", "none": "none, real time"}
    yield "gating", names[gating.mode]
    if not gating.n_beats:
        return
    yield "heartbeats", f"{gating.n_beats} from {gating.source}, {gating.n_used_beats} used"
    if gating.histogram:
        mean, low, high = gating.rr_mean_ms, gating.rr_shortest_ms, gating.rr_longest_ms
        yield "R-R", f"{mean:.0f} ms on average, {low:.0f} to {high:.0f} ms, {60_000 / mean:.0f} beats per minute"
        yield from _labelled("", gating.histogram_text())
    if gating.mode == "retro":
        processing = "interpolated in time" if gating.is_interpolated else "averaged within each frame"
        used = f"{gating.n_used_readouts} of {gating.n_readouts} readouts used, {processing}"
        yield "k-t space", f"frames contain {gating.coverage:.1%} of the measured lines; {used}"


def _lines_per_frame(plan: "ScanPlan") -> str:
    """The number of lines of a frame, or its range and mean if frames differ."""
    if plan.fewest_lines == plan.most_lines:
        return str(plan.most_lines)
    return f"{plan.fewest_lines} to {plan.most_lines}, on average {plan.lines_per_frame:.4g},"


def _rows_of_summary(summary: "CineSummary") -> Iterator[tuple[str, str]]:
    yield from _labelled("files", summary.files)
    yield "slices", str(summary.n_slices)
    yield "frames", _span(summary.n_frames)
    yield "coils", str(summary.n_coils)
    yield "matrix", _pixels(summary)
    yield "lines", f"{summary.lines_per_frame:.4g} of {summary.n_lines} per frame"
    yield "acceleration", _acceleration(summary)
    yield "reference", f"{summary.n_references} of {summary.n_slices} slices"
    yield from _labelled("marks", summary.marks)
    yield from _labelled("warning", summary.warnings)


def _span(counts: tuple[int, ...]) -> str:
    """Smallest and largest number, or only one if they are equal."""
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def _pixels(content: "CineContent") -> str:
    (y, x), (dy, dx) = content.matrix, content.pixel_size_mm
    return f"{y} x {x} (y x) pixels of {dy:.3g} x {dx:.3g} mm"


def _acceleration(content: "CineContent") -> str:
    without = f"{content.acceleration_without_acs:.3g} without the {content.n_acs} ACS lines"
    return f"{content.acceleration:.3g}, {without if content.n_acs else 'no ACS lines'}"


def _labelled(label: str, texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Rows for several texts; only the first row has the label."""
    for number, text in enumerate(texts):
        yield label if number == 0 else "", text
