"""The scans of a preparation that become cases: each content once, and each subject in one split."""

import hashlib
from collections.abc import Iterable, Sequence

from cinerecon.archives.case_index import SPLITS
from cinerecon.io.paths import absolute
from cinerecon.preparation.folder import ExistingCases
from cinerecon.preparation.report import Rejection
from cinerecon.preparation.sources import Item


class Selection:
    """Scans that are prepared, of which each is compared with existing cases and with the scans before it.

    Parameters
    ----------
    existing
        The cases before the run.
    shares
        Shares of the splits.
    """

    def __init__(self, existing: ExistingCases, shares: Sequence[float]) -> None:
        self.existing, self.shares = existing, shares
        self.n_copies = 0
        self._contents: set[tuple[str, str]] = set()

    def select(self, items: Iterable[Item]) -> tuple[list[Item], list[Rejection]]:
        """The scans of a source that are prepared, under their former names if they have any; and the rejections."""
        accepted: list[Item] = []
        refused: list[Rejection] = []
        for item in sorted(self.existing.with_former_names(items), key=lambda item: item.name):
            refusal = self._clash(item) or self._other_split(item)
            if refusal is not None:
                refused.append(refusal)
            elif self._is_copy(item):
                self.n_copies += 1
            else:
                accepted.append(item)
        return accepted, refused

    def split(self, subject: str) -> str:
        """The split of a subject, which remains that of the index even if the shares have changed."""
        return self.existing.splits.get(subject) or split_of(subject, self.shares)

    def _clash(self, item: Item) -> Rejection | None:
        """The rejection of a scan whose cases would overwrite those of another one."""
        path = item.source.path
        rows = (row for number in range(item.n_slices) for row in self.existing.find(item, number))
        changed = (row for row in rows if row.source_sha256 != item.sha256)
        other = next((row for row in changed if absolute(row.source) != absolute(path)), None)
        if other is None:
            return None
        what = f"its cases would overwrite those of another scan, {other.source}"
        hint = "prepare a folder that contains both, or choose another folder for the cases"
        return Rejection(path, what, str(path), hint)

    def _other_split(self, item: Item) -> Rejection | None:
        """The rejection of a scan whose subject is in another split than the only one that is requested.

        A subject in two splits would be trained and tested on, and one that silently stays in its split be expected
        in the other. With shares of several splits, the split of the index is kept.
        """
        requested = [name for name, share in zip(SPLITS, self.shares, strict=True) if share > 0]
        split = self.existing.splits.get(item.subject)
        if split is None or len(requested) > 1 or split == requested[0]:
            return None
        what = f"the subject {item.subject} is already in {split}, not in {requested[0]}"
        hint = f"--split {split}; or another folder for the cases of {requested[0]}"
        return Rejection(item.source.path, what, f"--split, {item.source.path}", hint)

    def _is_copy(self, item: Item) -> bool:
        """Whether the same content is prepared under another name: copies could put one subject into two splits."""
        if self.existing.subjects.get((item.sha256, 0), item.subject) != item.subject:
            return True
        content = (item.sha256, item.series)
        is_known = content in self._contents
        self._contents.add(content)
        return is_known


def split_of(subject: str, shares: Sequence[float]) -> str:
    """The split of a subject, determined by a hash of its name, so that it does not depend on other subjects."""
    remainder = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8]) / 2**64 * sum(shares)
    for split, share in zip(SPLITS, shares, strict=True):
        remainder -= share
        if remainder < 0:
            return split
    return next(split for split, share in zip(SPLITS, shares, strict=True) if share > 0)
