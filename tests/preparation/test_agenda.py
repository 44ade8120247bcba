"""The order of the tasks of a preparation, and sources that are opened once."""

import random
from pathlib import Path

import pytest
from helpers import counted

from cinerecon.io.case import read_case
from cinerecon.preparation import sources
from cinerecon.preparation.agenda import Agenda
from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.prepare_slice import MAX_SENT_BYTES, PreparationWorker, SliceJob, Survey
from cinerecon.preparation.sources import Source


def make_agenda(n_sources, n_ahead, known=()):
    """An agenda whose sources have as many jobs as their number, and the list of planned sources."""
    planned = []

    def plan(survey):
        planned.append(survey.source.name)
        return [f"{survey.source.name}:{number}" for number in range(int(survey.source.name))]

    numbered = [Source(Path(str(number)), str(number)) for number in range(n_sources)]
    return Agenda(numbered, lambda source: [] if source.name in known else None, plan, n_ahead), planned


def test_one_process_opens_a_source_and_prepares_its_slices():
    agenda, _ = make_agenda(4, n_ahead=4)
    tasks = []
    for task in iter(lambda: next(agenda, None), None):
        tasks.append(task if isinstance(task, str) else task.name)
        if isinstance(task, Source):
            agenda.add(Survey(task, ()))
    assert tasks == ["0", "1", "1:0", "2", "2:0", "2:1", "3", "3:0", "3:1", "3:2"]
    assert len(agenda) == 0


@pytest.mark.parametrize("seed", range(5))
def test_surveys_in_any_order_are_planned_in_the_order_of_the_sources(seed):
    agenda, planned = make_agenda(20, n_ahead=6, known=("3", "4", "17"))
    generator, open_sources, jobs = random.Random(seed), [], []
    while True:
        while isinstance(task := next(agenda, None), Source):
            open_sources.append(task)
            assert int(task.name) - agenda.n_planned < 6, "few sources are open"
        if task is not None:
            jobs.append(task)
        elif open_sources:
            agenda.add(Survey(open_sources.pop(generator.randrange(len(open_sources))), ()))
        else:
            break
    assert planned == [str(number) for number in range(20)]
    assert sorted(jobs) == sorted(f"{source}:{number}" for source in range(20) for number in range(source))


def test_a_small_source_is_not_opened_again_by_another_process(archive, tmp_path, monkeypatch):
    config = PrepareConfig()
    source = Source(archive / "a001/cine.h5", "a001/cine")
    first, second = (PreparationWorker(config, is_alone=False) for _ in range(2))
    with counted((sources, "open_scan")) as counts:
        survey = first(source)
        (item,) = survey.found
        jobs = [SliceJob(item, n, "test", tmp_path, config, draws=False, opened=survey.opened) for n in range(2)]
        rows = [worker(job).rows[0] for worker, job in zip((first, second), jobs, strict=True)]
        assert counts == {"open_scan": 1}
        assert [read_case(tmp_path / row.case).meta.slice for row in rows] == [0, 1]
        assert source.path.stat().st_size < MAX_SENT_BYTES
        monkeypatch.setattr("cinerecon.preparation.prepare_slice.MAX_SENT_BYTES", 1000)
        assert first(source).opened is None, "the headers of a large scan are not sent with each slice"
        assert PreparationWorker(config, is_alone=True)(source).opened is None
