"""The provenance of reconstructed images, from the request, the method and the scan."""

import hashlib
from dataclasses import replace

from cinerecon.acquisition.source import CineSource
from cinerecon.cine import CineData
from cinerecon.methods.base import Reconstructor, fingerprint
from cinerecon.methods.model_file import hash_weights
from cinerecon.physics.sampling import fingerprint_pattern
from cinerecon.provenance import Provenance
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice
from cinerecon.version import __version__


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
