"""The jobs of an evaluation and of its shards, scan by scan.

The contents of a file are recorded, so that each file is opened only once. Shards must share some settings; their
scores are merged.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import ScanOpener, find_cines
from cinerecon.acquisition.source import subject_in_header, subject_in_path
from cinerecon.archives.journal import Journal
from cinerecon.archives.scan_list import labels_of
from cinerecon.archives.scan_names import ScanNames
from cinerecon.archives.shards import Shard, ShardRecord, in_list_order, read_finished_shards
from cinerecon.errors import CineReconError, FileError
from cinerecon.evaluation.failures import Failure, location_of, read_failures, rewrite_failures
from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.score import Score, iterate_scores, rewrite_scores
from cinerecon.evaluation.score_slice import Job
from cinerecon.io.checksums import file_state, hash_unchanged, require_unchanged, state_of
from cinerecon.io.magnitude import NIFTI_ENDINGS
from cinerecon.io.raw_file import holds_images_only
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.methods.model_file import model_label
from cinerecon.physics.sampling import fingerprint_pattern
from cinerecon.version import __version__

SCAN_RECORDS = "scans.jsonl"
"""File in the results folder with an entry for each scan that was opened."""
ENTRY = ("files", "n_slices", "content", "subject")
"""Keys of the entries in this file."""
COMMAND = "evaluate"


@dataclass(frozen=True)
class ScanEntry:
    """The properties of a scan that determine its tasks.

    Attributes
    ----------
    n_slices
        Number of slices.
    content
        Checksums of its files, or its path if there is no results folder.
    subject
        The subject in its header; empty if unknown.
    state
        State of its files, see `io.checksums.state_of`.
    """

    n_slices: int
    content: str
    subject: str
    state: str


class Listing:
    """Entries of the scans opened by this run or an earlier one; they are valid until a file of the scan changes.

    Parameters
    ----------
    folder
        Folder of the records; None if there are none.
    opener
        Opens scans; records of scans that were read with other settings are not used.
    """

    def __init__(self, folder: Path | None, opener: ScanOpener | None = None) -> None:
        self._opener = opener or ScanOpener()
        self._settings_text = _settings_text(self._opener.config)
        self._journal = None if folder is None else Journal(folder / SCAN_RECORDS, ENTRY)

    def find(self, path: Path) -> ScanEntry | None:
        """The entry of a scan; None if there is none, or the size or time of a file has changed."""
        entry = None if self._journal is None else self._journal.get(str(path.absolute()))
        if entry is None or entry.get("reading", "") != self._settings_text:
            return None
        files = [Path(file) for file, *_ in entry["files"]]
        states = [state for _, *state in entry["files"]]
        if any(file_state(file) != state for file, state in zip(files, states, strict=True)):
            return None
        return ScanEntry(entry["n_slices"], entry["content"], entry["subject"], state_of(files))

    def knows(self, path: Path) -> bool:
        """Whether a file was opened before, without a check for changes of the file."""
        return self._journal is not None and str(path.absolute()) in self._journal

    def open(self, path: Path) -> ScanEntry:
        """Open a scan and record its entry.

        Raises
        ------
        CineReconError
            If it cannot be opened.
        """
        source = self._opener.open(path)
        state = state_of(source.files)
        # without a results folder no entries are stored, so that large files need not be read for a checksum
        files = source.files if self._journal is not None else ()
        states = [[str(file.absolute()), *(file_state(file) or ())] for file in files]
        content = ",".join(map(hash_unchanged, files)) if files else str(path)
        require_unchanged(source.files, state)
        scan = ScanEntry(source.n_slices, content, subject_in_header(source), state)
        if self._journal is not None:
            entry = {"files": states, "n_slices": scan.n_slices, "content": content, "subject": scan.subject}
            entry |= {"reading": self._settings_text} if self._settings_text else {}
            self._journal.add(str(path.absolute()), entry)
        return scan


class JobList:
    """The jobs of an evaluation or of a shard of it.

    Parameters
    ----------
    scans
        All scans, including those of other shards.
    request
        Settings of the evaluation.
    methods
        The loaded methods.
    listing
        Entries of scans that were opened before.
    shard
        The part of the scans to be scored.
    """

    def __init__(
        self,
        scans: Sequence[Path],
        request: EvaluationRequest,
        methods: Mapping[str, Reconstructor],
        listing: Listing | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.request, self.methods = request, methods
        self.listing = listing or Listing(None, ScanOpener(request.config))
        self.labels = ScanNames(request.output, COMMAND).keep(labels_of(scans))
        self.scans = (shard or Shard()).part(scans)
        self._order = {path: number for number, path in enumerate(scans)}
        self._fingerprints = {name: fingerprint(method) for name, method in methods.items()}
        self._patterns = {pattern: fingerprint_pattern(pattern) for pattern in request.patterns}
        n = request.n_pictures
        self._picture_positions = [(2 * i + 1) / (2 * n) * len(scans) for i in range(n)]
        self._common_settings: tuple[str, ...] = (str(request.seed), request.profile, request.device, __version__)
        self._common_settings += (_settings_text(request.config),) if _settings_text(request.config) else ()

    @property
    def fingerprints(self) -> Mapping[str, str]:
        """Fingerprints of the methods."""
        return self._fingerprints

    def known_jobs(self, path: Path) -> list[Job]:
        """The jobs of a scan that was opened before; empty for other scans."""
        scan = self.listing.find(path)
        return [] if scan is None else self.jobs(path, scan)

    def read(self, path: Path) -> ScanEntry:
        """The entry of a scan; the scan is opened if there is no entry yet.

        Raises
        ------
        CineReconError
            If the scan cannot be opened.
        """
        return self.listing.find(path) or self.listing.open(path)

    def jobs(self, path: Path, scan: ScanEntry) -> list[Job]:
        """The jobs of a scan, one for each slice, with the hash of each task.

        Raises
        ------
        ConfigError, DataError
            If the pattern of subjects is not a regular expression, or does not match the path.
        """
        label = self.labels[path]
        subject = (subject_in_path(self.request.subject, path) if self.request.subject else scan.subject) or label
        pictured = self._pictured(self._order[path], scan.n_slices)
        return [
            Job(path, label, number, subject, self._tasks(label, scan.content, number), number in pictured, scan.state)
            for number in range(scan.n_slices)
        ]

    def failures(self, path: Path, error: CineReconError) -> Iterator[Failure]:
        """Failures of all tasks of a scan that cannot be opened."""
        reason = (error.what, location_of(error, path, None), _hint_of_images(path) or error.hint)
        for pattern in self.request.patterns:
            yield from (Failure(self.labels[path], None, pattern, model_label(n), *reason) for n in self.methods)

    def _tasks(self, label: str, content: str, number: int) -> dict[tuple[str, str], str]:
        return {
            (pattern, name): _hash(label, content, str(number), fingerprint_, method, *self._common_settings)
            for pattern, fingerprint_ in self._patterns.items()
            for name, method in self._fingerprints.items()
        }

    def _pictured(self, position: int, n_slices: int) -> set[int]:
        """Numbers of the slices of a scan whose images are stored; their number is divided equally among the scans."""
        points = (point for point in self._picture_positions if position <= point < position + 1)
        return {int((point - position) * n_slices) for point in points}


def list_scans(paths: Iterable[Path], listing: Listing | None = None, output: Path | None = None) -> list[Path]:
    """The scans in files and folders: the test cases of folders of prepared cases, and all scans of other folders.

    Images that were written next to their scans and the results folder are ignored.

    Raises
    ------
    FileError
        If there are none.
    """
    is_known = (listing or Listing(None)).knows
    first: dict[str, Path] = {}
    for path in paths:
        files = find_cines(path, "test", without=output, is_known=is_known) if path.is_dir() else [path]
        for file in files:
            first.setdefault(os.path.realpath(file), file)
    if not first:
        raise FileError("there is no scan to evaluate", hint="give scans, prepared cases, or folders that contain them")
    return list(first.values())


def _hint_of_images(path: Path) -> str:
    """A hint on how to evaluate images, for files that appear to contain images instead of a scan; otherwise empty."""
    is_image = path.name.lower().endswith((".npz", ".npy", ".dcm", *NIFTI_ENDINGS)) or holds_images_only(path)
    return f"if these are images: cinerecon evaluate --recon {path} --reference REFERENCE" if is_image else ""


def _settings_text(config: AcquisitionConfig) -> str:
    """The settings for reading scans as text; empty for the defaults, so that earlier scores remain valid."""
    return "" if config == AcquisitionConfig() else config.model_dump_json()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]


def identity_of(request: EvaluationRequest, fingerprints: Mapping[str, str]) -> dict[str, Any]:
    """All settings that determine the scores, with the fingerprints of the methods."""
    values = asdict(request) | {"output": None, "weights": dict(fingerprints), "version": __version__}
    del values["n_pictures"]
    return values


def merge_scores(output: Path) -> tuple[list[Score], list[Failure]]:
    """Merge the scores and failures of all shards in the order of the list of scans, and write them to the folder.

    Repeated merging has the same result. Scores of other methods and patterns in the folder are kept.

    Raises
    ------
    FileError, ConfigError
        If shards are missing, unfinished or from different runs, see `io.shards.read_finished_shards`.
    """
    shards = read_finished_shards(output, COMMAND)
    folders = [Shard(shard.number, shard.n).folder(output, COMMAND) for shard in shards]
    before = {score.task: score for score in iterate_scores(output)}
    stored = [before | {score.task: score for score in iterate_scores(folder)} for folder in folders]
    failures = [failure for folder in folders for failure in read_failures(folder)]
    failed = {(failure.scan, failure.slice, failure.sampling, failure.method) for failure in failures}
    scores: dict[str, Score] = {}
    order = in_list_order(shards)
    for position, scan in enumerate(order):
        k = position % len(shards)
        for task, *case in shards[k].details["tasks"].get(scan, ()):
            if task in stored[k]:
                scores[task] = stored[k][task]
            elif (scan, *case) not in failed:
                raise _missing(shards[k], scan, output)
    ranks = {scan: rank for rank, scan in enumerate(order)}
    ScanNames(output, COMMAND).merge()
    failures.sort(key=lambda failure: ranks.get(failure.scan, len(ranks)))
    rewrite_scores(output, [*(score for task, score in before.items() if task not in scores), *scores.values()])
    rewrite_failures(output, failures)
    return list(scores.values()), failures


def _missing(shard: ShardRecord, scan: str, output: Path) -> FileError:
    hint = f"cinerecon {COMMAND} ... --shard {shard.number}/{shard.n}"
    return FileError(
        f"{shard.name} has neither a score nor a failure for a task on {scan}", where=str(output), hint=hint
    )
