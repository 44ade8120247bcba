"""Sentences on gains in PSNR and ratios of time."""

from classical_tables import Row, describe_gains
from converged import describe_converged
from usage import Usage


def row(anatomy, method, psnr, cpu_s, n_coils=1):
    return Row(anatomy, n_coils, "radial:16", method, psnr, 0.9, Usage(2 * cpu_s, cpu_s, 300.0))


ROWS = [
    row("sax", "ktslr", 31.0, 1.0),
    row("sax", "released (fixed penalties)", 30.0, 50.0),
    row("lax", "ktslr", 35.0, 3.0),
    row("lax", "released (fixed penalties)", 35.2, 30.0),
    row("lax", "ktslr", 36.0, 1.0, n_coils=8),
]


def test_gains_and_shares():
    (sentence,) = describe_gains(ROWS, "released (fixed penalties)", "cpu_s")
    assert sentence == (
        "ktslr against released (fixed penalties), one coil, 2 cases: PSNR +0.40 dB on average (lowest -0.20 dB), "
        "CPU time 0.05 times as long (highest 0.1)."
    )


def test_lower_cases_are_listed():
    text = describe_converged(ROWS, "16 frames.")
    assert "| sax | 1 | radial:16 | ktslr | 31.00 | 0.9000 | 0 | 1.00 | 0.0200 | 300 |" in text
    assert text.endswith("by more than 0.05 dB: lax, 1, radial:16 (-0.20 dB).")
    assert describe_converged(ROWS[:2], "16 frames.").endswith("0.05 dB: none.")
