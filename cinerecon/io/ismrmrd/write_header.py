"""XML headers of scans written by this package."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

from cinerecon.io.ismrmrd.header import NAMESPACE
from cinerecon.io.ismrmrd.raw import SIEMENS_NOISE_BANDWIDTH

HZ_PER_TESLA = 42.58e6
"""Resonance frequency of protons per field strength [Hz/T]."""
REPETITION_MS, ECHO_MS, FLIP_DEGREES = 3.0, 1.5, 50.0
"""TR and TE [ms] and flip angle [degrees] of simulated scans."""


def elements(content: Mapping[str, Any]) -> str:
    """Encode values as XML: mappings become nested elements, lists repeated elements; empty elements are omitted."""
    parts = []
    for name, value in content.items():
        for item in value if isinstance(value, list) else [value]:
            text = elements(item) if isinstance(item, Mapping) else escape("".join(filter(str.isprintable, str(item))))
            parts.append(f"<{name}>{text}</{name}>" if text else "")
    return "".join(parts)


def space(matrix: tuple[int, int], fov_mm: tuple[float, float], thickness_mm: float) -> dict[str, Any]:
    """The elements of a space, from matrix size and field of view along (x, y)."""
    return {
        "matrixSize": dict(zip("xyz", (*matrix, 1), strict=True)),
        "fieldOfView_mm": dict(zip("xyz", (*fov_mm, thickness_mm), strict=True)),
    }


def limit(maximum: int, minimum: int = 0, centre: int = 0) -> dict[str, int]:
    """The elements of the range of a counter."""
    return {"minimum": minimum, "maximum": maximum, "center": centre}


@dataclass(frozen=True)
class Protocol:
    """Content of the header of a scan.

    Attributes
    ----------
    matrix
        Image size (y, x).
    oversampling
        Readout oversampling.
    pixel_size_mm
        Distance of adjacent pixels along (y, x) [mm].
    slice_thickness_mm
        Thickness of a slice [mm].
    n_coils, n_frames, n_slices
        Number of coils, frames and slices.
    acceleration
        Acceleration along ky without the ACS lines; above 1, the header contains an integer of at least 2.
    name
        Name of the protocol.
    field_strength_tesla
        Field strength [T]; None if unknown.
    subject
        Pseudonym of the subject; empty if unknown.
    venc_cm_s
        VENC of a phase-contrast scan, which has two sets [cm/s]; None for other scans.
    notes
        Further string parameters by name.
    """

    matrix: tuple[int, int]
    oversampling: int
    pixel_size_mm: tuple[float, float]
    slice_thickness_mm: float
    n_coils: int
    n_frames: int
    n_slices: int = 1
    acceleration: float = 1.0
    name: str = "cine"
    field_strength_tesla: float | None = None
    subject: str = ""
    venc_cm_s: float | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


def header_xml(protocol: Protocol) -> str:
    """The XML header of a scan; the vendor is not Siemens, so that the image is the inverse Fourier transform."""
    tesla, venc = protocol.field_strength_tesla, protocol.venc_cm_s
    parts = {
        "subjectInformation": {"patientID": protocol.subject},
        "measurementInformation": {"patientPosition": "HFS", "protocolName": protocol.name},
        "acquisitionSystemInformation": {
            "systemVendor": "cinerecon",
            "systemModel": "simulated",
            "systemFieldStrength_T": "" if tesla is None else f"{tesla:g}",
            "relativeReceiverNoiseBandwidth": SIEMENS_NOISE_BANDWIDTH,
            "receiverChannels": protocol.n_coils,
            "coilLabel": [{"coilNumber": n, "coilName": f"loop {n}"} for n in range(protocol.n_coils)],
        },
        # required by the schema; 0 if unknown
        "experimentalConditions": {"H1resonanceFrequency_Hz": round(HZ_PER_TESLA * (tesla or 0))},
        "encoding": _encoding(protocol),
        "sequenceParameters": {
            "TR": REPETITION_MS,
            "TE": ECHO_MS,
            "flipAngle_deg": FLIP_DEGREES,
            "sequence_type": "SSFP",
            "echo_spacing": REPETITION_MS,
        },
        "userParameters": {
            "userParameterDouble": [] if venc is None else {"name": "VENC", "value": f"{venc:g}"},
            "userParameterString": [{"name": name, "value": text} for name, text in protocol.notes.items()],
        },
    }
    lines = [elements({name: content}) for name, content in parts.items()]
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<ismrmrdHeader xmlns="{NAMESPACE}">'
    return "\n".join([start, *filter(None, lines), "</ismrmrdHeader>\n"])


def _encoding(protocol: Protocol) -> dict[str, Any]:
    (ky, kx), (dy, dx), thickness = protocol.matrix, protocol.pixel_size_mm, protocol.slice_thickness_mm
    n_columns, fov_y = protocol.oversampling * kx, round(ky * dy, 6)
    return {
        "encodedSpace": space((n_columns, ky), (round(n_columns * dx, 6), fov_y), thickness),
        "reconSpace": space((kx, ky), (round(kx * dx, 6), fov_y), thickness),
        "encodingLimits": {
            "kspace_encoding_step_1": limit(ky - 1, centre=ky // 2),
            "kspace_encoding_step_2": limit(0),
            "average": limit(0),
            "slice": limit(protocol.n_slices - 1),
            "contrast": limit(0),
            "phase": limit(protocol.n_frames - 1),
            "repetition": limit(0),
            "set": limit(0 if protocol.venc_cm_s is None else 1),
        },
        "trajectory": "cartesian",
        "parallelImaging": {
            "accelerationFactor": {
                "kspace_encoding_step_1": max(2, round(protocol.acceleration)) if protocol.acceleration > 1 else 1,
                "kspace_encoding_step_2": 1,
            },
            "calibrationMode": "other",
        },
    }
