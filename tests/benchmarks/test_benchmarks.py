"""All benchmarks can be imported, and their helpers work."""

from importlib import import_module
from pathlib import Path

import ablations
import pages
import pytest
import quality

from cinerecon.evaluation.score import Score

FOLDER = Path(pages.__file__).parent


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_benchmark_can_be_imported(name):
    assert Path(import_module(name).__file__).parent == FOLDER


def test_a_section_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n\n<!-- begin a -->\n\nold\n\n<!-- end a -->\n\nafter\n", encoding="utf-8")
    pages.write_section("a", pages.markdown_table(("x", "y"), [(1, 2)]), page)
    table = "| x | y |\n|---|---|\n| 1 | 2 |"
    expected = f"before\n\n<!-- begin a -->\n\n{table}\n\n<!-- end a -->\n\nafter\n"
    assert page.read_text(encoding="utf-8") == expected
    with pytest.raises(SystemExit, match="no section 'b'"):
        pages.write_section("b", "", page)


def test_ablations_use_the_scans_of_the_quality_benchmark(tmp_path):
    options = quality.ScanOptions(tmp_path, None, None, n_phantoms=1, coils=(1,))
    ((group, paths),) = quality.make_scans(options).items()
    assert (group, [path.name for path in paths]) == (quality.PHANTOMS, ["phantoms-1-1-0.01.h5"])
    scans = [paths[0].stem, "phantoms-2-1-0.01", "volunteer-sax_mid-1-0.01"]
    scores = [
        Score(scan, 0, 1, "gaussian:8", method, psnr, 0.9, 0.01, 1.0)
        for method, gain in (("ktslr", 0.0), ("istanet", 0.5))
        for scan, psnr in zip(scans, (30 + gain, 32 + gain, 35 - gain), strict=True)
    ]
    table = ablations.gain_table(scores)
    assert "| PSNR [dB] | phantoms, gaussian:8 | sax_mid, gaussian:8 |" in table
    assert "| `ktslr` | 31.00 | 35.00 |" in table
    assert "| `istanet` | +0.50 | -0.50 |" in table
