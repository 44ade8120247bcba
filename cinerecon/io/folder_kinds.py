"""Kinds of output folders, so that no command writes its results among those of another kind by mistake.

Files of several kinds in one folder would be read together, e.g. the images of an evaluation as training data. Images
and scores may share a folder, since neither is searched for data.
"""

from enum import Enum
from pathlib import Path

from cinerecon.errors import FileError


class FolderKind(Enum):
    """The contents of an output folder, with the files by which they are recognised."""

    CASES = "prepared cases", ("index.csv", "settings.yaml")
    MODEL = "a model or a training run", ("model.yaml", "run.json")
    SCORES = "results of evaluate", ("scores.csv", "scans.jsonl")
    IMAGES = "images of recon", ("recon.jsonl",)

    def found_in(self, folder: Path) -> str:
        """The first of the files in a folder; empty if there is none."""
        return next((name for name in self.value[1] if (folder / name).is_file()), "")


SHARED = {FolderKind.SCORES, FolderKind.IMAGES}


def require_folder_of(kind: FolderKind, folder: Path) -> None:
    """Check that a folder, which need not exist, does not contain results of another kind alone.

    Raises
    ------
    FileError
        If it does.
    """
    if kind.found_in(folder):
        return
    for other in FolderKind:
        name = other.found_in(folder)
        if name and not {kind, other} <= SHARED:
            what = f"the folder contains {other.value[0]} ({name}), with which other files should not be mixed"
            raise FileError(what, where=str(folder), hint="choose another folder with -o")
