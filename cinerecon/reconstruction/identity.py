"""What determines the images of a reconstruction: their identity, by which they are found again, and their provenance.

Both describe the scan, the method, and all settings that affect the images.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cinerecon.acquisition.source import CineSource
from cinerecon.cine import CineData
from cinerecon.io.mask import files_of
from cinerecon.io.paths import relative
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.methods.model_file import hash_weights
from cinerecon.physics.sampling import fingerprint_pattern
from cinerecon.provenance import Provenance
from cinerecon.reconstruction.request import FILE_SETTINGS, ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.version import __version__

SCAN, METHOD, VERSION, PATIENT = "scan", "method", "version", "patient"
"""Entries in addition to those of the settings."""


@dataclass(frozen=True)
class Identity:
    """The identity of the images of a reconstruction.

    Attributes
    ----------
    checksum
        Checksum of scan, method and all settings that affect the image of a slice, 8 hexadecimal digits; empty for a
        scan that cannot be read.
    settings
        The same information as plain values, without settings that have their defaults; used to describe differences.
    """

    checksum: str = ""
    settings: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, request: ReconRequest, method: str, folder: Path) -> "Identity":
        """The identity of the images of a request.

        The identity depends on the path of the scan relative to the output folder, not on the working directory. Mask
        files of options such as ``--undersample`` are identified by their content, not by their name.

        Parameters
        ----------
        request
            Settings of the reconstruction.
        method
            Fingerprint of the method, see `methods.base.fingerprint`.
        folder
            The output folder.
        """
        content: dict[str, list[Any]] = {
            SCAN: _states(request.scan_files, folder),
            "noise": _states([request.noise] if request.noise else [], folder),
            "undersample": [fingerprint_pattern(request.undersample)] if request.undersample else [],
            **{name: _states(files_of(getattr(request, name)), folder) for name in ("maps", "pattern")},
        }
        files = {name: [Path(getattr(request, name)).name, *content[name]] for name in FILE_SETTINGS if content[name]}
        fixed = {SCAN: content[SCAN], METHOD: method[:16], VERSION: __version__}
        values = json.dumps([request.slice_settings(), files, fixed, method])
        patient = hashlib.sha256(repr(request.patient).encode()).hexdigest()[:8]
        settings = {**request.changed_slice_settings(), **files, **fixed, PATIENT: patient}
        return cls(hashlib.sha256(values.encode()).hexdigest()[:8], settings)

    @property
    def of_files(self) -> str:
        """Identifier of the written images: the checksum, combined with that of the patient written with them."""
        return f"{self.checksum}-{self.settings[PATIENT]}" if self.settings else self.checksum

    def differences(self, before: Mapping[str, Any]) -> Iterator[str]:
        """Descriptions of the differences between the settings of earlier images and these settings."""
        now = self.settings or {}
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if SCAN in changed:
            old, new = ([name for name, *_ in values.get(SCAN, ())] for values in (before, now))
            yield "from an earlier version of the scan" if old == new else f"from {', '.join(old) or 'another scan'}"
        for name in changed:
            if name not in (SCAN, METHOD, VERSION, PATIENT):
                shown, requested = (_shown(name, values) for values in (before, now))
                same = f"with other content of {shown}"
                yield f"with {shown}, not {requested}" if shown != requested else same
        if METHOD in changed and "settings" not in changed:
            yield "with other weights, code or settings of the method"
        if VERSION in changed:
            yield f"by version {before.get(VERSION)}"
        if PATIENT in changed:
            yield "for another patient"


def _shown(name: str, values: Mapping[str, Any]) -> str:
    """A setting as written on the command line."""
    value, option = values.get(name), ReconRequest.option_of(name)
    if value in (None, []):
        return f"the default of {option.partition('/')[0]}"
    if isinstance(value, bool):
        return option.split("/")[0 if value else -1]
    texts = value[:1] if name in FILE_SETTINGS else value if isinstance(value, list) else [value]
    return " ".join((option, *map(str, texts)))


def _states(paths: Iterable[Path], folder: Path) -> list[list[str | int]]:
    """Existing files by their paths relative to a folder, with their sizes and modification times."""
    states = ((path, path.stat()) for path in paths if path.exists())
    return [[relative(path.resolve(), folder.resolve()), s.st_size, s.st_mtime_ns] for path, s in states]


def provenance_of(
    scan: CineSource | CineData, method: Reconstructor, request: ReconRequest, content: str = ""
) -> Provenance:
    """The provenance that all slices of a run share; `with_provenance` adds acceleration and residual.

    Parameters
    ----------
    scan
        The scan, or its data.
    method, request
        The method, and the request to reconstruct with it.
    content
        Checksum that identifies the scan; if empty, that of its files or data.
    """
    content = content or (_hash_data(scan) if isinstance(scan, CineData) else scan.checksums[0])
    study, frame_of_reference = ("", "") if isinstance(scan, CineData) else (scan.study, scan.frame_of_reference)
    settings = request.image_settings()
    pattern = fingerprint_pattern(request.undersample) if request.undersample else ""
    values = (__version__, content, request.label, fingerprint(method), settings, pattern)
    return Provenance(
        scan_sha256=content,
        study=study or content,
        frame_of_reference=frame_of_reference or content,
        series=hashlib.sha256(repr(values).encode()).hexdigest(),
        settings=settings,
        weights_sha256=hash_weights(method.weights) if method.weights else "",
        code_sha256=method.code_sha256,
    )


def with_provenance(part: ReconstructedSlice, provenance: Provenance) -> ReconstructedSlice:
    """The slice with its provenance."""
    provenance = replace(
        provenance,
        acceleration=part.acceleration,
        residual=part.residual,
        partial_fourier=part.partial_fourier,
        coil_compression=part.meta.compression,
    )
    return replace(part, cine=replace(part.cine, provenance=provenance))


def _hash_data(data: CineData) -> str:
    """Checksum of k-space and mask."""
    digest = hashlib.sha256()
    for array in (data.kspace, data.mask):
        digest.update(repr(tuple(array.shape)).encode() + array.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
