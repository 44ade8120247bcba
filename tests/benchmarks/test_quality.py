"""The tables of `benchmarks/quality.py`, by scores whose means are known."""

import argparse

import numpy as np
import quality
import quality_tables
from pages import PAGE
from pytest import approx, fixture

from cinerecon.evaluation.score import Score

COLUMN = ("gaussian:8", 1)
PAIR = {"dccnn": 32.0, "dccnn-lr": 32.25}


def score(subject, scan, method, psnr, seconds=1.0, coils=1):
    return Score(scan, 0, coils, "gaussian:8", method, psnr, 0.9, 0.01, seconds, subject=subject)


@fixture
def scores():
    """Seven subjects, one of them with two series; the network gains 1 dB, and 3 dB on the second series."""
    baseline = [score(f"s{n}", f"scan{n}", "ktslr", 30.0 + n, 2.0) for n in range(7)]
    network = [score(f"s{n}", f"scan{n}", "slrnet", 31.0 + n, 1.0) for n in range(7)]
    return [
        *baseline,
        *network,
        score("s0", "more", "ktslr", 30.0, 4.0),
        score("s0", "more", "slrnet", 33.0, 2.0),
    ]


def test_series_of_a_subject_count_once(scores):
    assert quality_tables.values_of(scores, "slrnet", COLUMN, "psnr")["s0"] == approx(32.0)
    assert quality_tables.summarise(scores, "ktslr", COLUMN, "psnr") == approx(33.0)
    gain = quality_tables.gains_of(scores, [("slrnet", "ktslr")])[("slrnet", "ktslr"), COLUMN]
    assert (gain.mean, gain.n_units) == (approx(8 / 7), 7)
    assert gain.low == approx(1.0) and gain.high <= 2.0


def test_the_gain_is_in_the_table_and_significant(scores):
    table = quality_tables.gain_table(scores, ["slrnet"], "ktslr")
    assert "| PSNR gain over `ktslr` [dB] | gaussian:8, 1 coil |" in table
    assert "| `slrnet` | +1.14 [+1.00," in table and " *" not in table.partition("\n\n")[0]


def test_losses_are_counted(scores):
    assert quality_tables.gain_table(scores, ["slrnet"], "ktslr").splitlines()[2].endswith("| 0 of 7 |")
    worse = [score("s7", "scan7", "ktslr", 30.0), score("s7", "scan7", "slrnet", 10.0)]
    table = quality_tables.gain_table([*scores, *worse], ["slrnet"], "ktslr")
    assert table.splitlines()[2].endswith("| 1 of 8 (-20.00) |")


def test_networks_with_a_lowrank_module_are_compared_with_those_without(scores):
    pair = [score(f"s{n}", f"scan{n}", name, psnr + n) for n in range(7) for name, psnr in PAIR.items()]
    table = quality_tables.lowrank_table([*scores, *pair], ["ktslr", *PAIR])
    assert "| `dccnn-lr` over `dccnn` | +0.25 [+0.25, +0.25] | 0 of 7 |" in table and "istanet" not in table
    assert quality_tables.lowrank_table(scores, ["ktslr", "slrnet"]) == ""


def test_the_page_explains_brackets_and_stars_once(scores):
    assert "bootstrap" not in quality_tables.gain_table(scores, ["slrnet"], "ktslr")
    section = PAGE.read_text(encoding="utf-8").partition("## Networks and k-t SLR")[2].partition("## Classical")[0]
    assert section.count("bootstrap") == section.count("Wilcoxon") == 1


def test_tables_of_subjects_are_not_folded(scores):
    arguments = argparse.Namespace(coils=[1], model=["ktslr", "slrnet"], baseline="ktslr", noise=0.01, phase="smooth")
    text = quality.describe_group(quality.SUBJECTS, scores, arguments)
    title = "**7 subjects, 8 series; noise of 1.0% of the maximum, smooth phase**"
    assert text.startswith(f"{title}\n\n| PSNR gain over `ktslr` [dB] |") and text.endswith("</details>")
    assert quality.describe_group(quality.PHANTOMS, scores, arguments).startswith("<details markdown")


def test_time_is_relative_to_the_same_case(scores):
    assert "| `slrnet` | 0.50 |" in quality_tables.time_table(scores, ["ktslr", "slrnet"], "ktslr")


def test_series_of_a_stack_are_spread_evenly(tmp_path):
    names = [f"p1_sax{n:02d}" for n in range(11)] + ["q_001", "q_002"]
    for name in names:
        (tmp_path / f"{name}.npz").touch()
    chosen = [path.stem for path in quality.choose_series(tmp_path, 3)]
    assert chosen == ["p1_sax01", "p1_sax05", "p1_sax09", "q_001", "q_002"]


def test_phantoms_are_not_those_of_training():
    trained = {int(np.random.default_rng([0, 0, number]).integers(2**31)) for number in range(1000)}
    assert not {*quality.PHANTOM_SEEDS} & trained
