"""Unique names of files in results, for files in any folders."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def labels_of(paths: Iterable[Path]) -> dict[Path, str]:
    """The stem of each file; where several share it, with as many of their folders as it takes: ``P001/cine_sax``."""
    paths = list(dict.fromkeys(paths))
    in_folder = Counter((path.parent, path.stem) for path in paths)
    parts = {}
    for path in paths:
        own = path.stem if in_folder[path.parent, path.stem] == 1 else path.name
        parts[path] = (*(part for part in path.parent.parts if part != path.anchor), own)
    taken = dict.fromkeys(paths, 1)
    while True:
        labels = {path: "/".join(parts[path][-n:]) for path, n in taken.items()}
        count = Counter(labels.values())
        longer = [path for path in paths if count[labels[path]] > 1 and taken[path] < len(parts[path])]
        if not longer:
            return labels
        for path in longer:
            taken[path] += 1
