"""The tasks of a preparation: sources are opened in order, and their slices precede further sources."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

from cinerecon.preparation.prepare_slice import SliceJob, Survey
from cinerecon.preparation.sources import Item, Source


class Agenda(Iterator[Source | SliceJob]):
    """Tasks of a preparation; further ones may follow from a result after the iterator has ended.

    A source is opened shortly before its slices are prepared, so that it need not be opened twice, and few opened
    sources are in memory. Surveys lead to jobs in the order of the sources, so that the cases do not depend on the
    processes.

    Parameters
    ----------
    sources
        The sources, in order.
    find
        The recorded scans of a source; None if it is to be opened.
    plan
        The jobs of a survey, in the order of the sources.
    n_ahead
        Largest number of sources that are opened before the jobs of an earlier source are known.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        find: Callable[[Source], list[Item] | None],
        plan: Callable[[Survey], Iterable[SliceJob]],
        n_ahead: int,
    ) -> None:
        self._sources, self._find, self._plan, self._n_ahead = sources, find, plan, n_ahead
        self._numbers = {source.path: number for number, source in enumerate(sources)}
        self._surveys: dict[int, Survey] = {}
        self._jobs = deque[SliceJob]()
        self._n_begun = 0
        self.n_planned = 0

    def __len__(self) -> int:
        """Number of tasks that are known."""
        return len(self._jobs) + len(self._sources) - self._n_begun

    def __next__(self) -> Source | SliceJob:
        """The next task; the iteration stops while all remaining sources have to wait."""
        while not self._jobs:
            if self._n_begun == len(self._sources) or self._n_begun - self.n_planned >= self._n_ahead:
                raise StopIteration
            source = self._sources[self._n_begun]
            self._n_begun += 1
            items = self._find(source)
            if items is None:
                return source
            self.add(Survey(source, tuple(items)))
        return self._jobs.popleft()

    def add(self, survey: Survey) -> None:
        """Add the survey of a source, and plan the jobs of all sources up to the first one without a survey."""
        self._surveys[self._numbers[survey.source.path]] = survey
        while self.n_planned in self._surveys:
            self._jobs += self._plan(self._surveys.pop(self.n_planned))
            self.n_planned += 1
