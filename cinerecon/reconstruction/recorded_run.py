"""Reconstruction of a scan with a record; if an earlier run completed it, only the missing images are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cinerecon.errors import FileError
from cinerecon.machine import pick_device
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.reconstruction.identity import Identity
from cinerecon.reconstruction.record import Outcome, Record, missing_outputs
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, ReconReport, complete_scan, load_request_method
from cinerecon.reconstruction.slice_cache import SliceCache, remove_slices
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.verdict import worst_status

MOST_DIFFERENCES = 3
"""Largest number of different settings that are named in a message."""


@dataclass(frozen=True)
class RecordedRun:
    """A reconstruction with its entry in a record.

    Attributes
    ----------
    request
        Scan, method, outputs and settings, with a resolved device (not ``auto``).
    record, key
        The record, and the key of the reconstruction in it.
    name
        Name of the scan.
    identity
        The identity of the images; empty if the scan cannot be read.
    """

    request: ReconRequest
    record: Record
    key: str
    name: str
    identity: Identity

    def find(self) -> Outcome | None:
        """The outcome of an earlier run to be resumed, whose images may be missing; None if there is none."""
        return self.record.find(self.key, self.identity.of_files) if self.request.resume else None

    def add(self, outcome: Outcome) -> None:
        """Record an outcome."""
        self.record.add(self.key, outcome, self.request.scan, self.identity.of_files, self.identity.settings)

    def run(self, method: Reconstructor, observer: Observer) -> tuple[Outcome, ReconReport | None]:
        """Reconstruct the scan, and write and record the missing images; there is no report if no image is missing.

        Raises
        ------
        CineReconError
            See `reconstruct_scan`.
        """
        earlier = self.find()
        missing = missing_outputs(self.request.outputs, earlier)
        if earlier is not None and not missing:
            for target in self.request.targets:
                remove_slices(target.path, self.identity.checksum)  # left by a run killed just after its end
            return earlier, None
        if earlier is None:
            self._refuse_other_images()
        before = () if earlier is None else earlier.written
        request = self.request.with_values(outputs=missing)
        cache = SliceCache.of(request, self.identity.checksum, before)
        report = complete_scan(request, method, cache, observer)
        outcome = outcome_of(report.slices, self.name, self.request.label, report.written, before)
        self.add(outcome)
        cache.remove()
        return outcome, report

    def _refuse_other_images(self) -> None:
        """Refuse to continue if the record lists images of other settings of which some still exist."""
        entry = self.record.find_other(self.key, self.identity.of_files)
        if entry is None or self.request.force or not self.request.resume:
            return
        written = Outcome.of_entry(entry, self.record.folder)
        remaining = missing_outputs(self.request.outputs, written)
        existing = next((output for output in self.request.outputs if output not in remaining), None)
        if existing is None:
            return
        settings = entry.get("settings")
        texts = list(self.identity.differences(settings)) if settings else ["from another scan or with other settings"]
        what = f"{Path(existing).name} already exists, but was made {'; '.join(texts[:MOST_DIFFERENCES])}"
        hint = "repeat the command with the former settings, choose another folder with -o, or --force overwrites it"
        raise FileError(what, where=existing, hint=hint)


def resume_scan(request: ReconRequest, observer: Observer | None = None) -> ReconReport | Outcome:
    """Continue the reconstruction of a single scan, or return the outcome of the earlier run that completed it.

    The record is written next to the first output and is named after it.

    Raises
    ------
    CineReconError
        See `reconstruct_scan`.
    """
    first = request.check(overwrite=True)[0].path
    outputs = tuple(str(target.path) for target in request.targets) if not request.outputs else request.outputs
    request = request.with_values(device=pick_device(request.device), outputs=outputs)
    method = load_request_method(request)
    identity = Identity.of(request, fingerprint(method), first.parent)
    run = RecordedRun(request, Record(first.parent), first.name, request.scan.stem, identity)
    outcome, report = run.run(method, observer or Observer())
    return outcome if report is None else report


def outcome_of(
    slices: Sequence[ReconstructedSlice],
    name: str,
    method: str,
    written: "Sequence[Path] | dict[Path, float]" = (),
    before: Sequence[str] = (),
) -> Outcome:
    """The outcome of a reconstruction.

    Parameters
    ----------
    slices
        The reconstructed slices.
    name, method
        Names of the scan and the method.
    written, before
        The written files, and those of an earlier run; existing files of the earlier run are listed as well.
    """
    files = dict.fromkeys((*(path for path in before if Path(path).exists()), *map(str, written)))
    warnings = tuple(dict.fromkeys(text for part in slices for text in part.warnings))
    verdict = worst_status([part.verdict for part in slices])
    return Outcome(name, method, figures_of(slices), tuple(files), warnings, verdict=verdict)


def figures_of(slices: Sequence[ReconstructedSlice]) -> dict[str, float]:
    """Figures of a scan, as sums or means over its slices."""
    n = len(slices)
    figures: dict[str, float] = {
        "slices": n,
        "frames": max(part.cine.n_frames for part in slices),
        "acceleration": sum(part.acceleration for part in slices) / n,
        "seconds": sum(sum(part.seconds.values()) for part in slices),
        "residual": sum(part.residual for part in slices) / n,
    }
    medians = [part.snr["median"] for part in slices if part.snr]
    figures |= {"snr": sum(medians) / n} if len(medians) == n else {}
    for measure in ("psnr", "ssim"):
        values = [part.quality[measure] for part in slices if measure in part.quality]
        figures |= {measure: sum(values) / n} if len(values) == n else {}
    return figures
