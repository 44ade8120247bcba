"""The results of ``cinerecon recon``, as tables and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from cinerecon.reconstruction.record import Outcome
    from cinerecon.reconstruction.run import ReconReport
    from cinerecon.reconstruction.slices import ReconstructedSlice


REPORT_WIDTH, BATCH_WIDTH = 100, 112
"""Width [characters] of the table of a scan, and of a batch without the name of the scan."""


def print_report(report: "ReconReport") -> None:
    """Print a line for each slice, the files, and PSNR and SSIM if there is a reference."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
    headings = ("slice", "frames", "coils", "matrix", "accel (no ACS)", "read", "maps", "recon", "residual", "verdict")
    for heading in headings:
        table.add_column(heading, justify="right")
    for part in report.slices:
        table.add_row(*_row(part))
    _wide_console(REPORT_WIDTH).print(table)
    writing = sum(report.written.values())
    print(f"\nwriting {writing:.1f} s, peak memory {report.peak_memory_mb:.0f} MB, on {report.request.device}")
    for path in report.written:
        print(f"wrote    {path}")
    for part in report.slices:
        if part.meta.compression:
            print(f"slice {part.meta.slice}  {part.meta.compression}")
        if part.partial_fourier:
            print(f"slice {part.meta.slice}  partial Fourier: {part.partial_fourier}")
    for part in report.slices:
        if part.verdict:
            print(f"slice {part.cine.meta.slice}  {part.verdict.status}: {part.verdict.numbers}")
        elif part.no_verdict:
            print(f"slice {part.cine.meta.slice}  no verdict: {part.no_verdict}")
    for part in report.slices:
        if part.snr:
            print(f"slice {part.cine.meta.slice}  {snr_line(part)}")
        if part.uncertainty:
            print(f"slice {part.cine.meta.slice}  {uncertainty_line(part)}")
    for part in report.slices:
        if part.quality:
            print(f"slice {part.cine.meta.slice}  {quality_line(part)}")


def print_convergence(report: "ReconReport") -> None:
    """Print cost, data residual and change of some iterations of each slice."""
    from rich.console import Console
    from rich.table import Table

    without_record = dict.fromkeys(part.cine.method for part in report.slices if not part.cine.convergence)
    for method in without_record:
        print(f"{method} does not record its convergence")
    for part in report.slices:
        convergence = part.cine.convergence
        if not convergence:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        for heading in (f"slice {part.cine.meta.slice}, iteration", *(name.replace("_", " ") for name in convergence)):
            table.add_column(heading, justify="right")
        for n in some_iterations(len(convergence["cost"])):
            table.add_row(str(n + 1), *(f"{curve[n]:.4e}" for curve in convergence.values()))
        Console().print(table)


def some_iterations(n_iterations: int) -> list[int]:
    """Indices of up to 13 iterations to show: the first, every n-th, and the last."""
    step = -(-n_iterations // 11)
    return sorted({0, *range(step - 1, n_iterations, step), n_iterations - 1})


def quality_line(part: "ReconstructedSlice") -> str:
    """PSNR and SSIM of an image, and the kind of the reference."""
    from cinerecon.cine_meta import REFERENCES

    against = REFERENCES.get(part.cine.meta.reference_is, "the reference in the file")
    return f"PSNR {part.quality['psnr']:.2f} dB, SSIM {part.quality['ssim']:.4f} against {against}"


def snr_line(part: "ReconstructedSlice") -> str:
    """The SNR of a slice, and the origin of the noise."""
    factor = f", g-factor {part.snr['g_factor']:.2f}" if "g_factor" in part.snr else ""
    return f"SNR {part.snr['median']:.1f} (median over the support){factor}, {part.cine.noise_source}"


def uncertainty_line(part: "ReconstructedSlice") -> str:
    """The uncertainty of a slice, and its origin."""
    figures = part.uncertainty
    support, heart = f"{figures['support']:.1%}", f"{figures['heart']:.1%}" if "heart" in figures else ""
    region = f"{heart} around the heart, " if heart else ""
    return f"uncertainty {region}{support} in the support (root mean square), {part.cine.uncertainty_source}"


def _row(part: "ReconstructedSlice") -> list[str]:
    cine = part.cine
    times = [
        f"{part.seconds[stage]:.1f} s" if stage in part.seconds else "" for stage in ("read", "maps", "reconstruct")
    ]
    return [
        str(cine.meta.slice),
        str(cine.n_frames),
        str(part.n_coils),
        f"{cine.matrix[0]} x {cine.matrix[1]}",
        f"{part.acceleration:.2f} ({part.acceleration_without_acs:.2f})",
        *times,
        f"{part.residual:.3f}",
        part.verdict.status if part.verdict else "",
    ]


def report_as_plain(report: "ReconReport") -> dict[str, object]:
    """The results of a scan for JSON."""
    return {
        "slices": [
            {
                "slice": part.cine.meta.slice,
                "frames": part.cine.n_frames,
                "coils": part.n_coils,
                "coil_compression": part.meta.compression,
                "matrix": list(part.cine.matrix),
                "acceleration": part.acceleration,
                "acceleration_without_acs": part.acceleration_without_acs,
                "seconds": part.seconds,
                "residual": part.residual,
                "partial_fourier": part.partial_fourier,
                "snr": part.snr,
                "noise_source": part.cine.noise_source,
                "verdict": None if part.verdict is None else asdict(part.verdict),
                "no_verdict": part.no_verdict,
                "uncertainty": part.uncertainty,
                "uncertainty_source": part.cine.uncertainty_source,
                "quality": part.quality,
                "reference_is": part.cine.meta.reference_is,
                "convergence": {name: curve.tolist() for name, curve in part.cine.convergence.items()},
            }
            for part in report.slices
        ],
        "written": {str(path): seconds for path, seconds in report.written.items()},
        "peak_memory_mb": report.peak_memory_mb,
        "device": report.request.device,
        "warnings": list(report.warnings),
    }


def print_batch(outcomes: Sequence["Outcome"]) -> None:
    """Print a line for each scan and method."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scan", overflow="fold")
    table.add_column("method")
    for heading in ("slices", "frames", "accel", "time", "residual", "PSNR", "SSIM"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    table.add_column("result")
    for outcome in outcomes:
        figures = outcome.figures
        numbers = [
            _number(figures, "slices", "{:.0f}"),
            _number(figures, "frames", "{:.0f}"),
            _number(figures, "acceleration", "{:.2f}"),
            _number(figures, "seconds", "{:.1f} s"),
            _number(figures, "residual", "{:.3f}"),
            _number(figures, "psnr", "{:.2f}"),
            _number(figures, "ssim", "{:.4f}"),
        ]
        result = "failed" if outcome.error else "finished earlier" if outcome.is_earlier else "written"
        table.add_row(outcome.name, outcome.method, *numbers, outcome.verdict, result)
    _wide_console(max((len(o.name) for o in outcomes), default=0) + BATCH_WIDTH).print(table)
    n_failed = sum(outcome.error is not None for outcome in outcomes)
    if n_failed:
        print(f"\n{n_failed} of {len(outcomes)} failed")


def _wide_console(width: int) -> "Console":
    """A console as wide as the terminal, or of the given width if the output is a file or a pipe."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    return console if console.is_terminal else Console(markup=False, highlight=False, width=width)


def batch_as_plain(outcomes: Sequence["Outcome"]) -> list[dict[str, object]]:
    """The results of a batch for JSON."""
    return [
        {
            "scan": outcome.name,
            "method": outcome.method,
            **outcome.figures,
            "written": list(outcome.written),
            "verdict": outcome.verdict or None,
            "warnings": list(outcome.warnings),
            "error": None if outcome.error is None else str(outcome.error),
            "finished_earlier": outcome.is_earlier,
        }
        for outcome in outcomes
    ]


def _number(figures: Mapping[str, float], name: str, form: str) -> str:
    return form.format(figures[name]) if name in figures else ""
