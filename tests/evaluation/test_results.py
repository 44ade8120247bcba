"""Summaries, tables, the papers' layouts, figures and the page."""

import base64
import html.parser
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cinerecon.errors import ConfigError
from cinerecon.evaluation import charts
from cinerecon.evaluation.failures import Failure
from cinerecon.evaluation.paper_tables import PAPER_TABLES, find_paper_table, lay_out, scores_not_in
from cinerecon.evaluation.request import EvaluationRequest, select_with_tables, why_left_out
from cinerecon.evaluation.results import make_page, write_results
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score_tables import BRIEF, tables_of
from cinerecon.evaluation.summary import summarise
from cinerecon.evaluation.tables import Cell, Table


def column(table, title):
    index = next(i for i, name in enumerate(table.columns) if name.startswith(title))
    return [row[index] for row in table.rows]


def test_a_summary_is_mean_spread_and_test(make_scores):
    first, second = summarise(make_scores(8))
    values = [30 + 0.7 * case for case in range(8)]
    assert first.measures["psnr"].mean == pytest.approx(np.mean(values))
    assert first.measures["psnr"].sd == pytest.approx(np.std(values, ddof=1))
    assert (first.n_slices, first.gains, first.baseline) == (8, {}, "")
    gain = second.gains["psnr"]
    assert gain.mean == pytest.approx(1.035)
    assert gain.p_holm == gain.p == pytest.approx(2 / 2**8)
    assert second.baseline == "ktslr"
    assert math.isnan(second.measures["xt_ssim"].mean)


def test_the_baseline_can_be_chosen(make_scores):
    first, second = summarise(make_scores(8), baseline="slrnet")
    assert first.gains["psnr"].mean == pytest.approx(-1.035)
    assert second.gains == {}
    with pytest.raises(ConfigError, match="not one of the methods") as caught:
        tables_of(make_scores(1), baseline="slrnt")
    assert "did you mean 'slrnet'" in caught.value.hint


def test_a_baseline_that_failed_is_no_wrong_name(make_scores):
    failed = [Failure("scan0", 0, "gaussian:8", "mine", "returned an image with NaN or infinite values")]
    (table,) = tables_of(make_scores(2), "mine", failures=failed)
    assert not any(name.startswith("Δ PSNR") for name in table.columns)
    assert table.notes[0] == "failed, and therefore not included in these means: mine 1"


def test_several_methods_are_corrected_together(make_scores):
    _, second, third = summarise(make_scores(8, methods=("a", "b", "c")))
    assert second.gains["psnr"].p_holm == pytest.approx(2 * second.gains["psnr"].p)
    assert third.gains["psnr"].p_holm == pytest.approx(2 * third.gains["psnr"].p)


def test_slices_of_a_subject_are_one_pair(make_scores):
    assert summarise(make_scores(3, n_slices=4))[1].gains["psnr"].n_units == 3
    assert summarise(make_scores(1, n_slices=7))[1].gains["psnr"].n_units == 7


def test_slices_of_one_subject_are_not_called_subjects(make_scores):
    """Each group for itself: six slices of one subject next to a group of several subjects."""
    alone = [replace(s, sampling="vds:8") for s in make_scores(1, n_slices=6)]
    scores = [*make_scores(5), *alone]
    units = {summary.sampling: summary.unit for summary in summarise(scores)}
    assert units == {"gaussian:8": "subjects", "vds:8": "slices of one subject"}
    of_subjects, of_slices = tables_of(scores)
    assert "interval over subjects]" in " ".join(of_subjects.notes)
    assert "interval over slices of one subject]" in " ".join(of_slices.notes)


def test_errors_of_both_signs_do_not_cancel(make_scores):
    """The method with the smaller error is the best, not the one whose errors have the smaller mean."""
    areas = {"ktslr": (-10.0, 10.0, -8.0, 8.0), "slrnet": (2.0, 1.0, 3.0, math.nan)}
    scores = [replace(s, area_change=areas[s.method][int(s.scan[-1])]) for s in make_scores(4)]
    first, _ = summarise(scores)
    assert first.agreement["area_change"].absolute_error == 9
    assert first.agreement["area_change"].high == pytest.approx(1.96 * first.measures["area_change"].sd)
    assert "psnr" not in first.agreement
    (table,) = tables_of(scores)
    cells = column(table, "area change")
    assert [cell.is_best for cell in cells] == [False, True]
    assert cells[0].text == "0.0 ± 10.5, |error| 9.0"
    assert cells[1].text == "2.0 ± 1.0, |error| 2.0 (n 3)"
    assert any(note.startswith("|error|") for note in table.notes)
    (of_one_slice,) = tables_of(scores[:2])
    assert not any("|error|" in note for note in of_one_slice.notes)


def test_methods_with_the_same_numbers_are_equally_good(make_scores):
    """In shown digits: a difference of rounding is no rank; where all are equal, none is the best."""
    psnr = {"a": 30.0, "b": 31.001, "c": 31.002}
    scores = [replace(s, psnr=psnr[s.method], ssim=0.9, mse=4e-5) for s in make_scores(1, methods=tuple(psnr))]
    (table,) = tables_of(scores)
    assert [cell.is_best for cell in column(table, "PSNR")] == [False, True, True]
    assert [cell.is_best for cell in column(table, "SSIM")] == [False] * 3


def test_means_over_fewer_slices_are_seen(make_scores):
    scores = [s for s in make_scores(4) if (s.method, s.scan) != ("ktslr", "scan3")]
    (table,) = tables_of(scores)
    assert [cell.text for cell in column(table, "slices")] == ["3", "4"]
    assert "4 slices" in table.caption
    (laid_out,) = lay_out(find_paper_table("slr-1"), scores)
    assert laid_out.notes[0] == "means over fewer slices: ktslr 3"
    gains = {row[0].text: cell.text for row, cell in zip(laid_out.rows, column(laid_out, "gain"), strict=True)}
    assert gains["slrnet"] == "+1.01"  # 1.00, 1.01 and 1.02 on the slices of both


def test_only_common_slices_are_compared(make_scores):
    scores = make_scores(8)
    without_one = [s for s in scores if (s.method, s.scan) != ("ktslr", "scan7")]
    assert summarise(without_one)[1].gains["psnr"].n_units == 7


def test_a_table_states_everything_once(make_scores):
    (table,) = tables_of(make_scores(8), measures=BRIEF)
    assert table.caption == "gaussian:8 (net acceleration 7.5), single-coil, 8 slices"
    assert [cell.text for cell in column(table, "method")] == ["ktslr", "slrnet"]
    assert [cell.is_best for cell in column(table, "SSIM")] == [False, True]
    assert re.fullmatch(r"32\.45 ± 1\.71 \[3\d\.\d\d, 3\d\.\d\d\]", column(table, "PSNR")[0].text)
    assert column(table, "Δ PSNR over ktslr")[1].text.startswith("+1.04")
    assert [cell.text for cell in column(table, "p (Holm)")] == ["–", "0.008"]
    assert not any("x-t SSIM" in name for name in table.columns)
    notes = " ".join(table.notes)
    assert "data range: maximum of the reference" in notes
    assert "crop: full field, all frames" in notes
    assert "over subjects" in notes


def test_each_sampling_has_a_table(make_scores):
    tables = tables_of(make_scores(2, samplings=("gaussian:8", "vds:10")))
    assert [table.caption.split()[0] for table in tables] == ["gaussian:8", "vds:10"]


def test_text_of_tables_is_escaped():
    rows = ((Cell("<m>"), Cell("1 ± 2", True)), (Cell("n"), Cell("3", False, True)))
    page = Table("a_b & 5 %", ("method", "x"), rows).as_html()
    assert '<td>&lt;m&gt;</td><td class="best">1 ± 2</td>' in page
    assert '<td class="foreign">3</td>' in page


@pytest.mark.parametrize("name", PAPER_TABLES)
def test_every_paper_table_can_be_built_without_scores(name):
    (table,) = lay_out(PAPER_TABLES[name], [])
    assert [row[0].text for row in table.rows] == list(PAPER_TABLES[name].methods)
    assert all(len(row) == len(table.columns) for row in table.rows)
    for row in table.rows:
        assert all(cell.is_foreign or not cell.text for cell in row[1:]), "a number of ours out of nothing"
    assert "values cannot be compared directly" in table.notes[0]


def test_a_paper_table_has_our_numbers_next_to_the_published_ones(make_scores):
    (table,) = lay_out(find_paper_table("slr-1"), make_scores(8))
    by_method = {row[0].text: dict(zip(table.columns, row, strict=False)) for row in table.rows}
    assert by_method["slrnet"]["gain [dB]"].text == "+1.04"
    assert by_method["slrnet"]["published gain"] == Cell("+3.5 over ktslr, gaussian:8", is_foreign=True)
    assert by_method["slrnet"]["MSE [1e-5]"].text == "4.00 ± 0.00"
    assert by_method["dccnn"]["PSNR [dB]"].text == ""
    assert by_method["slrnet"]["PSNR [dB]"].is_best
    assert any("profile cine; the paper's is paper-slr" in note for note in table.notes)


def test_what_a_paper_lacks_is_not_dropped(make_scores):
    scores = make_scores(2, methods=("ktslr", "mine"), samplings=("gaussian:8", "gaussian:4"))
    layout = find_paper_table("slr-1")
    (table,) = lay_out(layout, scores, ["mine", "ktslr"])
    assert [row[0].text for row in table.rows] == [*layout.methods, "mine"]
    assert table.rows[-1][1].text
    assert {s.sampling for s in scores_not_in([layout], scores, ["mine"])} == {"gaussian:4"}
    assert {s.sampling for s in scores_not_in([layout], scores)} == {"gaussian:8", "gaussian:4"}
    assert scores_not_in([layout], [s for s in scores if s.sampling == "gaussian:8"], ["mine"]) == []


def test_a_table_states_the_commands():
    selected = select_with_tables([], [], None, [find_paper_table("slr-1")])
    assert selected.patterns == ("gaussian:8",)
    assert selected.profile == "paper-slr"
    assert set(selected.models) | set(selected.left_out) == {"ktslr", "dccnn", "crnn", "slrnet"}
    assert "ktslr" in selected.models
    assert selected.named == ()
    ablations = select_with_tables(["zerofilled"], ["vds:4"], "cine", [find_paper_table("pass-3")])
    assert (ablations.models, ablations.patterns, ablations.profile) == (("zerofilled",), ("vds:4",), "cine")
    assert ablations.named == ("zerofilled",)
    assert "models/train.py --ablations" in why_left_out("passnet-relative")
    assert why_left_out("crnn") == "no weights yet"
    with pytest.raises(ConfigError, match="different definitions"):
        select_with_tables([], [], None, [find_paper_table("slr-1"), find_paper_table("pass-1")])
    with pytest.raises(ConfigError, match="no method"):
        select_with_tables([], ["gaussian:8"], None, [])
    with pytest.raises(ConfigError, match="no sampling pattern"):
        select_with_tables(["ktslr"], [], None, [])


def test_files_hold_mean_and_spread(make_scores, tmp_path):
    tmp_path.joinpath("results").mkdir()
    _, frames, summary, *_ = write_results(make_scores(2), tmp_path / "results")
    assert frames.read_text().count("\n") == 9
    content = json.loads(summary.read_text())
    assert content["profiles"]["cine"]["data_range"] == "maximum of the reference in the series"
    assert content["profiles"]["cine"]["crop"] == "full field, all frames"
    first, second = content["results"]
    assert first["measures"]["psnr"]["mean"] == pytest.approx(30.35)
    assert first["measures"]["xt_ssim"]["mean"] is None
    assert second["gains"]["psnr"]["mean"] == pytest.approx(1.005)


def test_the_page_has_no_empty_columns_and_sections(make_scores):
    """Two subjects are too few for a test, and without stored images there are no figures."""
    (few,), (many,) = tables_of(make_scores(2)), tables_of(make_scores(8))
    assert "p (Holm)" in many.columns
    assert "p (Holm)" not in few.columns
    for table in (few, many):
        assert len({len(table.columns), *map(len, table.rows)}) == 1
    assert "<h2>Figures</h2>" not in make_page(make_scores(2), [few], [])


class Links(html.parser.HTMLParser):
    """What a page refers to, and whether its tags match."""

    def __init__(self):
        super().__init__()
        self.targets, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.targets += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.slow
def test_the_page_is_complete_and_self_contained(full_scan, tmp_path):
    models, patterns = ["zerofilled", "cgsense"], ["gaussian:2", "gaussian:4"]
    scores = evaluate([full_scan], EvaluationRequest(models, patterns, output=tmp_path, n_pictures=1)).scores
    extra = lay_out(find_paper_table("slr-1"), scores)
    *paths, page = write_results(scores, tmp_path, baseline="cgsense", extra_tables=extra)
    assert all(path.exists() for path in paths)
    figures = [path for path in paths if path.suffix == ".png"]
    images = [f"{kind}_full_0_3_gaussian_{r}.png" for kind in ("candidates", "images") for r in (2, 4)]
    assert sorted(path.name for path in figures) == [*images, "psnr_against_acceleration.png"]
    for path in figures:
        with Image.open(path) as image:
            assert min(image.size) > 300
            assert np.asarray(image.convert("L")).std() > 10
    found = Links()
    found.feed(page.read_text(encoding="utf-8"))
    assert not found.open
    movies = [path for path in paths if path.suffix == ".mp4"]
    assert [path.name for path in movies] == ["movie_full_0_3_gaussian_2.mp4", "movie_full_0_3_gaussian_4.mp4"]
    for target, path in zip(found.targets, [*movies, *figures], strict=True):
        kind = "video/mp4" if path in movies else "image/png"
        assert base64.b64decode(target.removeprefix(f"data:{kind};base64,")) == path.read_bytes()
    text = page.read_text(encoding="utf-8")
    assert text.index("slr-1. Table I") < text.index("gaussian:2 (net acceleration")
    assert (tmp_path / "tables.tex").read_text().count(r"\begin{table}") == len(extra) + 2


def test_no_two_of_many_methods_are_drawn_alike():
    assert len({tuple(charts.style_of(index).values()) for index in range(32)}) == 32


def test_a_curve_is_of_slices_that_have_all_its_points(make_scores):
    """A scan that only one acceleration has would make its point look better than the others."""
    scores = make_scores(3)
    rest = [replace(score, sampling="gaussian:4") for score in scores if score.scan != scores[0].scan]
    kept = charts.at_every_acceleration([*scores, *rest])
    assert {score.scan for score in kept} == {score.scan for score in rest}
    assert len(kept) == 2 * len(rest)


def test_a_curve_does_not_contain_a_slice_on_which_its_method_failed_once(make_scores):
    scores = make_scores(3, samplings=("gaussian:8", "gaussian:4"))
    failed = ("slrnet", "scan1", "gaussian:8")
    kept = charts.at_every_acceleration([s for s in scores if (s.method, s.scan, s.sampling) != failed])
    assert [s.scan for s in kept if s.method == "slrnet"] == ["scan0", "scan0", "scan2", "scan2"]
    assert len([s for s in kept if s.method == "ktslr"]) == 6


def test_two_subjects_are_two_units(make_scores):
    assert summarise(make_scores(2, n_slices=4))[1].gains["psnr"].n_units == 2


def test_unknown_subjects_are_noted(make_scores):
    """Two series of one volunteer without a patient number would otherwise count as two subjects without a word."""
    known = make_scores(n=3)
    unknown = [replace(score, subject=score.scan) for score in known]
    notes = [" ".join(table.notes) for scores in (known, unknown, unknown[:2]) for table in tables_of(scores)]
    assert ["the subjects of 3 scans are unknown" in note for note in notes] == [False, True, False]


def test_intervals_are_announced_only_where_there_are_any(make_scores):
    notes = {n: next(t for t in tables_of(make_scores(n))[0].notes if t.startswith("mean ±")) for n in (1, 2, 4, 5)}
    assert notes[1] == "mean ± standard deviation over slices"
    assert notes[4].endswith("; no intervals, since 4 subjects are too few (at least 5)")
    assert notes[5].endswith(" [95% bootstrap interval over subjects]")
