"""Methods are scored alike, stored scores are not computed again, and worker processes give the same scores."""

import csv
import hashlib
import shutil
from collections import Counter
from dataclasses import replace
from importlib.metadata import version

import h5py
import numpy as np
import pytest
from helpers import UNUSED_PID

from cinerecon.acquisition.open import read_slices
from cinerecon.cine import CineData
from cinerecon.errors import ConfigError, DataError, FileError
from cinerecon.evaluation import run as module
from cinerecon.evaluation.images import image_file
from cinerecon.evaluation.jobs import JobList, Listing
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.results import write_results
from cinerecon.evaluation.run import evaluate
from cinerecon.evaluation.score import read_scores
from cinerecon.evaluation.score_tables import tables_of
from cinerecon.io.case import write_case
from cinerecon.io.checksums import hash_file
from cinerecon.methods.base import fingerprint
from cinerecon.methods.classical.linear import ZeroFilled
from cinerecon.methods.table import load_method
from cinerecon.metrics import heart
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

MODELS, PATTERNS = ["zerofilled", "cgsense"], ["gaussian:2", "gaussian:4"]


def results(scores):
    """What two runs must agree on: all but what the machine was busy with."""
    return [replace(s, seconds=0, memory_mb=0, n_threads=0, task="") for s in scores]


def same(some, others):
    return list(map(repr, results(some))) == list(map(repr, results(others)))  # NaN equals itself in print


def test_methods_are_judged_on_the_same_undersampled_scan(full_scan):
    scores = evaluate([full_scan.parent], EvaluationRequest(MODELS, PATTERNS)).scores
    assert [(s.sampling, s.method) for s in scores] == [(p, m) for p in PATTERNS for m in MODELS]
    by_case = {(s.sampling, s.method): s.psnr for s in scores}
    for pattern in PATTERNS:
        assert by_case[pattern, "cgsense"] > by_case[pattern, "zerofilled"] + 1
    assert by_case["gaussian:2", "cgsense"] > by_case["gaussian:4", "cgsense"]
    assert same(evaluate([full_scan], EvaluationRequest(MODELS, PATTERNS)).scores, scores)


def test_a_score_holds_all_settings(full_scan):
    (score,) = evaluate([full_scan], EvaluationRequest(["cgsense"], ["gaussian:2"], profile="paper-slr")).scores
    assert score.mse == pytest.approx(10 ** (-score.psnr / 10), rel=1e-6)  # the truth has the maximum 1
    assert len(score.frame_psnr) == len(score.frame_ssim) == 8
    assert np.mean(10 ** (-np.array(score.frame_psnr) / 10)) == pytest.approx(score.mse, rel=1e-5)
    assert 1.8 < score.acceleration < 2.2
    assert (score.data_range, score.crop) == (pytest.approx(1), "full field, all frames")
    assert 0 < score.hfen < 1
    assert 0.3 < score.xt_ssim <= 1
    assert 0.5 < score.sharpness < 1.5
    assert score.heart_psnr < score.psnr  # what moves is harder
    assert score.seconds > 0
    assert score.memory_mb >= 0
    assert score.marks == "simulated"


def test_an_interrupted_evaluation_continues_where_it_stopped(full_scan, tmp_path):
    whole = evaluate([full_scan], EvaluationRequest(MODELS, PATTERNS)).scores
    seen = []

    def stop_after_three(score):
        seen.append(score)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate([full_scan], EvaluationRequest(MODELS, PATTERNS, output=tmp_path), report=stop_after_three)
    with (tmp_path / "scores.csv").open("a") as file:
        file.write("full,0,3,gauss")  # the power failed here
    for folder in (tmp_path, tmp_path / "images"):
        folder.mkdir(exist_ok=True)
        (folder / f".partial-{UNUSED_PID}-scores.csv").touch()
    assert len(read_scores(tmp_path)) == 3
    again = []
    scores = evaluate([full_scan], EvaluationRequest(MODELS, PATTERNS, output=tmp_path), report=again.append).scores
    assert same(scores, whole)
    assert [(s.sampling, s.method) for s in again] == [("gaussian:4", "cgsense")]
    assert (
        evaluate([full_scan], EvaluationRequest(MODELS, PATTERNS, output=tmp_path), report=again.append).scores
        is not None
    )
    assert len(again) == 1
    assert len(read_scores(tmp_path)) == 4
    assert not list(tmp_path.rglob(".partial-*"))


def test_what_decides_a_result_is_computed_again(full_scan, tmp_path):
    def n_computed(**changes):
        done = []
        given = {"models": ["cgsense"], "patterns": ["gaussian:2"], "output": tmp_path, **changes}
        evaluate([full_scan], EvaluationRequest(**given), report=done.append)
        return len(done)

    assert [n_computed(), n_computed()] == [1, 0]
    assert n_computed(seed=1) == 1
    assert n_computed(settings=("n_iterations=3",)) == 1
    assert n_computed(profile="fastmri") == 1
    assert n_computed(patterns=["gaussian:3"]) == 1
    assert n_computed() == 0


def test_another_mask_in_the_same_file_is_another_task(full_scan, tmp_path):
    path, done = tmp_path / "mask.npz", []
    for seed in (0, 1, 1):
        lines = np.random.default_rng(seed).random((8, 1, 48, 1)) < 0.5
        lines[:, :, 22:26] = True
        np.savez(path, mask=lines)
        evaluate([full_scan], EvaluationRequest(["zerofilled"], [str(path)], output=tmp_path), report=done.append)
    assert len(done) == 2
    assert done[0].psnr != done[1].psnr


@pytest.mark.slow
def test_other_processes_give_the_same(full_scan, tmp_path):
    paths = [full_scan]
    for seed in (1, 2):
        paths.append(tmp_path / f"scan{seed}.h5")
        simulate_scan(paths[-1], SimulateConfig(n_frames=8, ky=48, kx=40, n_coils=3, seed=seed))
    alone = evaluate(paths, EvaluationRequest(MODELS, PATTERNS)).scores
    reported = []
    together = evaluate(
        paths, EvaluationRequest(MODELS, PATTERNS, output=tmp_path / "out"), workers=2, report=reported.append
    ).scores
    assert same(together, alone)
    assert len(reported) == len(alone) == len(read_scores(tmp_path / "out"))


def test_memory_bounds_the_processes(monkeypatch):
    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], device="cpu")
    monkeypatch.setattr(module, "n_cores", lambda: 64)
    monkeypatch.setattr(module, "process_memory_mb", lambda: 500.0)
    monkeypatch.setattr(module, "free_memory_mb", lambda: 9000.0)
    assert module._n_workers(request, 1000.0) == 4
    assert module._n_workers(request, 100_000.0) == 1
    assert module._n_workers(replace(request, device="cuda"), 1.0) == 1


def test_images_are_kept_of_the_slices_to_picture(full_scan, tmp_path):
    (score,) = evaluate([full_scan], EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path)).scores
    assert not image_file(tmp_path, score.task).exists()
    done = []
    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path, n_pictures=1)
    (score,) = evaluate([full_scan], request, report=done.append).scores
    assert len(done) == 1
    with np.load(image_file(tmp_path, score.task)) as kept:
        assert kept["reference"].max() == pytest.approx(1, abs=1e-3)
        error = kept["image"].astype(float) - kept["reference"]
    assert np.mean(error**2) == pytest.approx(score.mse, rel=0.01)


def test_equal_names_are_distinguished(full_scan, tmp_path):
    """By as many folders as it takes."""
    for folder in ("training/a001", "training/b003", "validation/a001"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "full.h5").write_bytes(full_scan.read_bytes())
    scores = evaluate([tmp_path], EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path / "out")).scores
    assert [score.scan for score in scores] == ["training/a001/full", "b003/full", "validation/a001/full"]
    assert len({score.task for score in scores}) == len({score.subject for score in scores}) == 3


def test_a_scan_has_the_same_mask_alone_and_among_others(full_scan, tmp_path):
    """Subjects of an archive, whose files bear one name, have masks of their own."""
    (data,) = read_slices(full_scan)
    sources = {"a": "P001/cine_sax.mat", "b": "P002/cine_sax.mat", "c": "alone.mat", "d": "other/alone.mat"}
    for name, source in sources.items():
        write_case(tmp_path / f"{name}.h5", replace(data, meta=replace(data.meta, source=source)), {"subject": name})
    together = evaluate([tmp_path], EvaluationRequest(["zerofilled"], ["gaussian:2"])).scores
    alone = [
        evaluate([tmp_path / f"{name}.h5"], EvaluationRequest(["zerofilled"], ["gaussian:2"])).scores[0]
        for name in sources
    ]
    assert [score.psnr for score in together] == [score.psnr for score in alone]
    assert len({score.psnr for score in together}) == 3


def test_an_earlier_score_is_found_again(full_scan, tmp_path):
    """What decides the hash of a scan of a name of its own must not change, or all results are computed again."""
    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], device="cpu", output=tmp_path)
    jobs = JobList([full_scan], request, request.load_methods(), Listing(tmp_path))
    (job,) = jobs.jobs(full_scan, jobs.read(full_scan))
    parts = [hash_file(full_scan), "0", "gaussian:2", fingerprint(load_method("zerofilled")), "0", "cine", "cpu"]
    text = "\n".join(["full", *parts, version("cinerecon")])
    assert list(job.tasks.values()) == [hashlib.sha256(text.encode()).hexdigest()[:20]]


def test_failures_are_reported_and_the_rest_continues(full_scan, tmp_path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.h5").write_bytes(full_scan.read_bytes())
    (tmp_path / "scans/b.h5").write_bytes(full_scan.read_bytes()[:5000])
    simulate_scan(
        tmp_path / "scans/c.h5", SimulateConfig(n_frames=4, ky=24, kx=24, n_coils=2, undersample="gaussian:2")
    )
    simulate_scan(tmp_path / "scans/d.h5", SimulateConfig(n_frames=4, ky=24, kx=24, n_coils=2))
    patterns, messages = ["gaussian:2", "gaussian:8"], []
    found = evaluate(
        [tmp_path / "scans"],
        EvaluationRequest(["zerofilled"], patterns, output=tmp_path / "out"),
        report=messages.append,
    )
    assert [(s.scan, s.sampling) for s in found.scores] == [("a", patterns[0]), ("a", patterns[1]), ("d", patterns[0])]
    assert [(f.scan, f.slice, f.sampling) for f in found.failures] == [
        *(("b", None, pattern) for pattern in patterns),
        *(("c", 0, pattern) for pattern in patterns),
        ("d", 0, patterns[1]),
    ]
    assert len(messages) == 8
    with pytest.raises(DataError, match=r"the first of 3 reasons"):
        found.complete()
    assert "d.h5, slice 0" in found.failures[-1].where
    with (tmp_path / "out/failures.csv").open() as file:
        assert [row["scan"] for row in csv.DictReader(file)] == ["b", "b", "c", "c", "d"]
    notes = [table.notes[0] for table in tables_of(found.scores, failures=found.failures)]
    assert "failed, and therefore not included in these means: zerofilled 2" in notes
    page = write_results(found.scores, tmp_path / "out", failures=found.failures)[-1].read_text(encoding="utf-8")
    assert "failed: 5 of 8 reconstructions" in page
    evaluate([full_scan], EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path / "out"))
    assert not (tmp_path / "out/failures.csv").exists()


def test_an_image_that_is_not_finite_stops_no_other(full_scan, monkeypatch):
    class Broken(ZeroFilled):
        def __call__(self, data, progress=None):
            return super().__call__(data, progress) * float("nan")

    methods = {"zerofilled": Broken(), "cgsense": load_method("cgsense")}
    monkeypatch.setattr(EvaluationRequest, "load_methods", lambda _: methods)
    found = evaluate([full_scan], EvaluationRequest(["zerofilled", "cgsense"], ["gaussian:2"]))
    assert [score.method for score in found.scores] == ["cgsense"]
    assert "zerofilled returned an image with NaN or infinite values" in found.failures[0].what


def test_stored_scores_are_counted_before_the_work(full_scan, tmp_path):
    counts = []
    for patterns in (["gaussian:2"], ["gaussian:2", "gaussian:3"]):
        evaluate(
            [full_scan], EvaluationRequest(["zerofilled"], patterns, output=tmp_path), report_existing=counts.append
        )
    assert counts == [0, 1]


def test_an_undersampled_scan_is_refused(tmp_path):
    path = tmp_path / "fast.h5"
    simulate_scan(path, SimulateConfig(n_frames=8, ky=48, kx=40, n_coils=3, undersample="gaussian:4"))
    with pytest.raises(DataError, match="already undersampled"):
        evaluate([path], EvaluationRequest(["zerofilled"], ["gaussian:4"]))


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(FileError, match="no scan"):
        evaluate([tmp_path], EvaluationRequest(["zerofilled"], ["gaussian:4"]))


def test_wrong_names_are_errors_before_any_work(full_scan):
    with pytest.raises(ConfigError, match="unknown profile"):
        evaluate([full_scan], EvaluationRequest(["zerofilled"], ["gaussian:4"], profile="cin"))
    with pytest.raises(ConfigError, match="unknown sampling pattern"):
        evaluate([full_scan], EvaluationRequest(["zerofilled"], ["gauss:4"]))
    with pytest.raises(FileError, match="no such mask"):
        evaluate([full_scan], EvaluationRequest(["zerofilled"], ["gaussian:4", "missing.npz"]))


def test_each_scan_has_a_mask_of_its_own(tmp_path):
    """The same image, measured with the same noise, under another name: only the mask differs."""
    for name in ("a", "b"):
        simulate_scan(tmp_path / f"{name}.h5", SimulateConfig(n_frames=4, ky=32, kx=24, n_coils=2))
    one, two = evaluate([tmp_path], EvaluationRequest(["zerofilled"], ["gaussian:4"])).scores
    assert one.psnr != two.psnr


def test_images_next_to_a_scan_are_skipped(tmp_path):
    simulate_scan(tmp_path / "a.h5", SimulateConfig(n_frames=3, ky=16, kx=16, n_coils=2))
    reconstruct_scan(ReconRequest(tmp_path / "a.h5", "zerofilled", (str(tmp_path / "a.zerofilled.h5"),)))
    (score,) = evaluate([tmp_path], EvaluationRequest(["zerofilled"], ["gaussian:2"])).scores
    assert score.scan == "a"


def test_a_scan_that_is_named_twice_counts_once(full_scan):
    respelled = full_scan.parent / ".." / full_scan.parent.name / full_scan.name
    assert (
        len(
            evaluate([full_scan.parent, full_scan, respelled], EvaluationRequest(["zerofilled"], ["gaussian:2"])).scores
        )
        == 1
    )


def test_the_card_of_a_network_does_not_change_its_result():
    method = load_method("slrnet")
    before = fingerprint(method)
    card = method.config.card.model_copy(update={"reports": "better than ever"})
    method.config = method.config.model_copy(update={"card": card})
    assert fingerprint(method) == before
    method.config = method.config.model_copy(update={"scale": "max"})
    assert fingerprint(method) != before


def test_a_scan_unlike_the_training_is_marked(full_scan):
    """The networks that come with the program were trained on 96 lines and more; this scan has 48."""
    _, score = evaluate([full_scan], EvaluationRequest(["zerofilled", "dccnn"], ["gaussian:2"])).scores
    assert "dccnn: the scan has 48 lines, the network was trained on" in score.marks


@pytest.mark.parametrize(("n_pictures", "chosen"), [(0, []), (1, [1]), (3, [0, 1, 2])])
def test_pictures_are_of_slices_chosen_evenly(tmp_path, n_pictures, chosen):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2, n_slices=3))
    request = EvaluationRequest(["zerofilled"], ["gaussian:2"], device="cpu", n_pictures=n_pictures)
    jobs = JobList([tmp_path / "scan.h5"], request, request.load_methods())
    jobs = jobs.jobs(tmp_path / "scan.h5", jobs.read(tmp_path / "scan.h5"))
    assert [job.number for job in jobs if job.stores_images] == chosen


@pytest.fixture
def two_series(full_scan, tmp_path):
    """Two scans of equal content in folders of their own, without a patient number."""
    for name in ("P007/sax.h5", "P007b/lax.h5"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(full_scan, tmp_path / name)
    return tmp_path


def test_subjects_are_found_by_path_header_or_study(two_series, tmp_path):
    def subjects(**options):
        scores = evaluate(
            [two_series], EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path / "out", **options)
        ).scores
        assert [row.subject for row in read_scores(tmp_path / "out")][-2:] == [score.subject for score in scores]
        return [score.subject for score in scores]

    assert subjects() == ["sax", "lax"]
    assert subjects(subject=r"P\d+") == ["P007", "P007"]
    assert subjects() == ["sax", "lax"]
    with pytest.raises(DataError, match="does not match the subject pattern"):
        subjects(subject="sax")
    with pytest.raises(ConfigError, match="not a regular expression"):
        subjects(subject="(")
    study = "<studyInformation><studyInstanceUID>1.2.840.113619.2.55.3.1</studyInstanceUID></studyInformation>"
    for path in two_series.glob("P*/*.h5"):
        with h5py.File(path, "r+") as file:
            xml = file["dataset/xml"][0].replace(
                b"<measurementInformation>", study.encode() + b"<measurementInformation>"
            )
            file["dataset/xml"][0] = xml
    first, second = subjects()
    assert first == second
    assert first.startswith("study-")


def test_work_on_a_scan_is_not_repeated(full_scan, tmp_path, monkeypatch):
    """In archives of small scans, nearly all of the time is such overhead."""
    calls = Counter()

    def count(owner, name):
        function = getattr(owner, name)

        def counted(*arguments, **options):
            calls[name] += 1
            return function(*arguments, **options)

        monkeypatch.setattr(owner, name, counted)

    count(heart, "locate_motion")
    count(CineData, "__post_init__")
    evaluate([full_scan], EvaluationRequest(["zerofilled"], ["gaussian:2"], output=tmp_path))
    assert calls["locate_motion"] == 2, "of the heart, and of the ventricle"
    assert calls["__post_init__"] <= 5, "arrays are checked again only if they have changed"
