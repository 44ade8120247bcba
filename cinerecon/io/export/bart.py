"""Write images as an array of BART, so that its tools can go on with them."""

from pathlib import Path

import numpy as np

from cinerecon.image import CineImage, collect_warnings
from cinerecon.io.bart import PHASE_1, READ, SLICE, TIME, cfl_files, write_cfl
from cinerecon.provenance import series_texts


def write_bart(path: Path, stack: list[CineImage]) -> None:
    """Write one stack of slices as complex64: x in dimension 0, y in 1, frames in 10, slices in 13.

    The header is written next to the samples. Warnings and provenance are comments in it, which BART ignores.
    """
    values = np.stack([cine.image for cine in stack])  # (slices, frames, y, x)
    lines = ["cinerecon", stack[0].title, "not for diagnostic use"]
    lines += [f"warning: {text}" for text in collect_warnings(stack)]
    lines += [f"{name}: {text}" for name, text in series_texts([cine.provenance for cine in stack]).items()]
    header, _ = cfl_files(path)
    write_cfl(path, header, values, (SLICE, TIME, PHASE_1, READ), "\n".join(" ".join(line.split()) for line in lines))
