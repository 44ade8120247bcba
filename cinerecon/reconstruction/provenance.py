"""The provenance of reconstructed images, from the request, the method and the scan."""

import hashlib
from dataclasses import replace

from cinerecon.acquisition import CineSource, contents_of
from cinerecon.evaluation.score_slice import fingerprint, fingerprint_pattern
from cinerecon.methods.base import Reconstructor
from cinerecon.methods.model_file import hash_weights
from cinerecon.provenance import Provenance
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.slices import ReconstructedSlice


def provenance_of(request: ReconRequest, method: Reconstructor, scan: CineSource) -> Provenance:
    """What all slices of a run have in common: acceleration and residual are added by `with_provenance`."""
    content = contents_of(scan)[0]
    settings = _settings(request)
    pattern = fingerprint_pattern(request.undersample) if request.undersample else ""
    series = hashlib.sha256(repr((content, request.label, fingerprint(method), settings, pattern)).encode()).hexdigest()
    return Provenance(
        scan_sha256=content,
        study=scan.study or content,
        series=series,
        settings=settings,
        weights_sha256=hash_weights(method.weights) if method.weights else "",
    )


def with_provenance(part: ReconstructedSlice, provenance: Provenance, request: ReconRequest) -> ReconstructedSlice:
    """The slice with its provenance, and the identity of the patient where one was given."""
    provenance = replace(provenance, acceleration=part.acceleration, residual=part.residual)
    return replace(part, cine=replace(part.cine, provenance=provenance, patient=request.patient))


def _settings(request: ReconRequest) -> tuple[str, ...]:
    """What was given and changes the image, as texts."""
    values = {
        "csm": request.csm,
        "dataset": request.dataset,
        "noise": request.noise and request.noise.name,
        "undersample": request.undersample,
        "seed": request.seed if request.undersample else None,
        "frames": request.frames,
        "slices": ",".join(map(str, request.slices)),
    }
    given = (f"{name}={value}" for name, value in values.items() if value not in (None, ""))
    return (*request.settings, *request.intake, *given)
