import csv
import json
import math

import pytest

from cinerecon.errors import DataError, FileError
from cinerecon.workflows.evaluate import Score, evaluate, summarise, write_scores
from cinerecon.workflows.simulate import SimulateConfig, simulate_scan

SIZES = {"frames": 8, "ky": 48, "kx": 40, "coils": 3}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scans") / "full.h5"
    simulate_scan(path, SimulateConfig(**SIZES, noise=0.002))
    return path


def test_methods_are_judged_on_the_same_undersampled_scan(scan):
    models, patterns = ["zerofilled", "cgsense"], ["gaussian:2", "gaussian:4"]
    scores = evaluate([scan.parent], models, patterns)
    assert [(s.sampling, s.method) for s in scores] == [(p, m) for p in patterns for m in models]
    by_case = {(s.sampling, s.method): s.psnr for s in scores}
    for pattern in patterns:
        assert by_case[pattern, "cgsense"] > by_case[pattern, "zerofilled"] + 1
    assert by_case["gaussian:2", "cgsense"] > by_case["gaussian:4", "cgsense"]
    again = evaluate([scan], models, patterns)
    assert [s.psnr for s in again] == [s.psnr for s in scores]


def test_an_undersampled_scan_is_refused(tmp_path):
    path = tmp_path / "fast.h5"
    simulate_scan(path, SimulateConfig(**SIZES, undersample="gaussian:4"))
    with pytest.raises(DataError, match="undersampled already"):
        evaluate([path], ["zerofilled"], ["gaussian:4"])


def test_an_empty_folder_is_said(tmp_path):
    with pytest.raises(FileError, match="no scan"):
        evaluate([tmp_path], ["zerofilled"], ["gaussian:4"])


def test_summary_and_files_hold_mean_and_spread(tmp_path):
    scores = [Score("a", n, 1, "gaussian:8", "m", psnr, 0.9, 0.1, 2.0) for n, psnr in enumerate((30.0, 34.0))]
    (summary,) = summarise(scores)
    assert (summary.n_slices, summary.psnr) == (2, 32)
    assert summary.psnr_sd == pytest.approx(math.sqrt(8))
    table, report = write_scores(scores, tmp_path / "results")
    assert [float(row["psnr"]) for row in csv.DictReader(table.open())] == [30, 34]
    assert json.loads(report.read_text())[0]["psnr"] == 32
