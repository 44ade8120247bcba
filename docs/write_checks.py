"""Write docs/reference/checks.md from the tables of checks.

python docs/write_checks.py
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cinerecon.acquisition.checks.array_table import ARRAY_CHECKS, LINE_CHECKS
from cinerecon.acquisition.checks.table import FRAME_CHECKS, READOUT_CHECKS, SCAN_CHECKS, Check

TARGET = Path(__file__).parent / "reference/checks.md"
HEAD = """# Checks of the data

Each scan is checked when it is read; this page is generated from the code by `python docs/write_checks.py`. A check
gives a warning, which is shown, written into the images and stops a run with `--strict`, or refuses the scan with an
error if the image would be wrong. Headers that deviate from the standard are corrected or refused before these checks.
"""
SECTIONS: tuple[tuple[str, str, Mapping[str, Check[Any]]], ...] = (
    ("Raw scans", "Headers and samples of a raw scan.", SCAN_CHECKS),
    (
        "Readouts near the centre",
        "The central lines of the middle slice of a raw scan, and of each slice of an array.",
        {name: check for name, check in READOUT_CHECKS.items() if name not in FRAME_CHECKS},
    ),
    (
        "Agreement of the frames",
        "The central lines of each slice are compared between frames. If coils are in another order or lines in the "
        "opposite direction, checks with the same cause are left out.",
        FRAME_CHECKS,
    ),
    ("Arrays", "K-space of CMRxRecon files and plain arrays.", ARRAY_CHECKS | LINE_CHECKS),
)


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, text, checks in SECTIONS:
        rows = (f"| {name} | {check.finds} |" for name, check in checks.items())
        parts.append("\n".join([f"## {title}\n", f"{text}\n", "| check | finds |", "|---|---|", *rows, ""]))
    return "\n".join(parts)


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    print(f"wrote {TARGET}", file=sys.stderr)
