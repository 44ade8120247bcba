"""Draw the figures of the documentation.

layout.svg: the rows of the package with their sizes; data_flow.svg: the path of the data; patterns.svg: lines over time
of sampling patterns; line_orders.svg: the order of the lines of a frame.

python docs/draw_figures.py
"""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np

from cinerecon.physics.sampling import ORDERS, LineOrder, order_readouts, parse_mask

DOCS = Path(__file__).parent
PACKAGE = DOCS.parent / "cinerecon"
WIDTH, MARGIN, GAP = 900, 20, 10
ROWS: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (
    ("terminal", [("cli.py", "names of the commands"), ("commands", "options of each command")]),
    (
        "tasks",
        [
            ("preparation", "training cases"),
            ("reconstruction", "scans to images"),
            ("evaluation", "scores, tables, figures"),
            ("training", "recipes, data, loop"),
        ],
    ),
    ("methods", [("methods", "CineData in, image out"), ("networks", "net(kspace, encoding)")]),
    ("data", [("acquisition", "readouts to CineData"), ("simulation", "phantoms, simulated scans")]),
    ("mathematics", [("physics", "operators, coils, sampling, low rank"), ("metrics", "image quality, statistics")]),
    (
        "files",
        [("archives", "lists of scans, shards, journals"), ("io", "ISMRMRD, cases, masks, DICOM, NIfTI")],
    ),
    ("core", [("cine.py", "CineData"), ("image.py", "CineImage"), ("config.py", "settings"), ("errors.py", "errors")]),
)
STEPS = (
    ("scan.h5", "io/ismrmrd", "read the header and the readouts"),
    ("readouts", "acquisition", "select, whiten and sort readouts, estimate coil maps"),
    ("CineData", "methods", "k-space (frames, coils, ky, kx) to image (frames, y, x)"),
    ("image", "reconstruction", "residual, warnings, verdict, maps"),
    ("files", "io/export", "write ISMRMRD, DICOM, NIfTI, movie, picture"),
)
PATTERNS = ("kt-equispaced", "uniform", "gaussian", "gro", "cava", "vista", "poisson")
PATTERN_SIZE = (24, 96)
"""Frames and ky of the patterns shown."""
ACCELERATION = 6
STYLE = "font-family: sans-serif; font-size: 13px; fill: #1a1a2e"


def n_lines(name: str) -> int:
    """Lines of a file of the package, or of all files in a folder."""
    path = PACKAGE / name
    return sum(file.read_text().count("\n") for file in ([path] if path.is_file() else path.rglob("*.py")))


def box(x: float, y: float, width: float, height: float, texts: Sequence[str], colour: str) -> Iterator[str]:
    """A rectangle with centred lines of text, the first of them bold."""
    yield f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6" fill="{colour}"/>'
    for number, text in enumerate(texts):
        top = y + height / 2 + 5 + 17 * (number - (len(texts) - 1) / 2)
        weight = ' font-weight="bold"' if number == 0 else ""
        yield f'<text x="{x + width / 2:.0f}" y="{top:.0f}" text-anchor="middle"{weight}>{escape(text)}</text>'


def svg(height: float, parts: Sequence[str]) -> str:
    """A drawing of the common width."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" style="{STYLE}">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>', *parts, "</svg>\n"])


def draw_layout() -> str:
    """Rows of the package; imports go from top to bottom. Widths increase with the number of lines of code."""
    parts, y, height = list[str](), float(MARGIN), 62
    for title, boxes in ROWS:
        parts.append(f'<text x="{MARGIN}" y="{y + height / 2 + 5:.0f}" fill="#666">{title}</text>')
        sizes = [max(n_lines(name), 0.0) + 1800 for name, _ in boxes]
        room = WIDTH - 3 * MARGIN - 100 - GAP * (len(boxes) - 1)
        x = float(MARGIN + 110)
        for (name, text), size in zip(boxes, sizes, strict=True):
            width = room * size / sum(sizes)
            shown = name if name.endswith(".py") else f"{name}/"
            parts += box(x, y, width, height, [shown, text, f"{n_lines(name):,} lines"], "#dbe7f6")
            x += width + GAP
        y += height + GAP
    return svg(y + MARGIN - GAP, parts)


def draw_data_flow() -> str:
    """The path of the data from a raw scan to files."""
    parts, height = list[str](), 58
    for number, (data, folder, text) in enumerate(STEPS):
        y = MARGIN + number * (height + 26)
        parts += box(MARGIN + 40, y, 180, height, [data], "#f6e8d0")
        parts += box(MARGIN + 250, y, 560, height, [folder, text], "#dbe7f6")
        if number:
            x = MARGIN + 130
            parts.append(f'<path d="M{x} {y - 24}v16m-5 -6l5 6l5 -6" stroke="#444" fill="none" stroke-width="1.5"/>')
    return svg(MARGIN * 2 + len(STEPS) * (height + 26) - 26, parts)


def draw_patterns() -> str:
    """Lines over time of each pattern."""
    n_frames, ky = PATTERN_SIZE
    gap, below, scale = 22, 34, 3.2
    point = (WIDTH - 2 * MARGIN + gap) / len(PATTERNS) - gap
    parts, top = list[str](), MARGIN
    for number, name in enumerate(PATTERNS):
        left = MARGIN + number * (point + gap)
        options = ",acs=0" if name in ("uniform", "gaussian") else ""
        mask = parse_mask(f"{name}:{ACCELERATION}{options}").draw(n_frames, ky, 1)[:, 0, :, 0]
        cells = "".join(f"M{frame} {line}h1v1h-1z" for frame, line in np.argwhere(mask))
        parts.append(f'<g transform="translate({left:.0f} {top}) scale({point / n_frames:.3f} {scale})">')
        parts.append(f'<rect width="{n_frames}" height="{ky}" fill="#1a1a2e"/><path d="{cells}" fill="#f6e8d0"/></g>')
        y = top + ky * scale + 20
        parts.append(f'<text x="{left + point / 2:.0f}" y="{y:.0f}" text-anchor="middle">{name}</text>')
    return svg(top + ky * scale + below, parts)


def draw_line_orders() -> str:
    """Lines over time in the two heartbeats of a segmented scan, for each order."""
    n_frames, ky = 4, 48
    gap, height, point = 18, 200.0, (WIDTH - 2 * MARGIN + 18) / len(ORDERS) - 18
    parts, top = list[str](), MARGIN
    for number, name in enumerate(ORDERS):
        spec = parse_mask("cava:3" if name == "pattern" else "vista:3,acs=4")
        order = LineOrder(name, ky, n_segments=2, tr_ms=3.0, rr_ms=None, acs_first=False)
        readouts = order_readouts(spec.draw(n_frames, ky, 1), order, spec.line_order(n_frames, ky))
        left, end = MARGIN + number * (point + gap), readouts.time_ms[-1] + 3
        parts.append(f'<rect x="{left:.0f}" y="{top}" width="{point:.0f}" height="{height:.0f}" fill="#eef3fa"/>')
        for time, frame, line in zip(readouts.time_ms, readouts.frame, readouts.ky, strict=True):
            x, y = left + 3 + time / end * (point - 4), top + (line + 0.5) / ky * height
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.8" fill="{("#1f4e8c", "#c8553d")[frame % 2]}"/>')
        middle = left + point / 2
        parts.append(f'<path d="M{middle:.1f} {top}v{height:.0f}" stroke="#888" stroke-dasharray="3 3"/>')
        parts.append(f'<text x="{middle:.0f}" y="{top + height + 20:.0f}" text-anchor="middle">{name}</text>')
    return svg(top + height + 34, parts)


if __name__ == "__main__":
    (DOCS / "layout.svg").write_text(draw_layout())
    (DOCS / "data_flow.svg").write_text(draw_data_flow())
    (DOCS / "patterns.svg").write_text(draw_patterns())
    (DOCS / "line_orders.svg").write_text(draw_line_orders())
