"""Conversion of the protocol of a twix measurement to an ISMRMRD header.

The header is that of siemens_to_ismrmrd (https://github.com/ismrmrd/siemens_to_ismrmrd), except that the central line
of k-space and the range of frames are taken from the readouts, which is also correct for partial Fourier.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cinerecon.errors import UnsupportedError
from cinerecon.io.ismrmrd.header import NAMESPACE
from cinerecon.io.ismrmrd.raw import REVERSE, SIEMENS_NOISE_BANDWIDTH, Heads, has_flag
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.ismrmrd.write_header import elements, limit, space
from cinerecon.io.twix.protocol import Protocol
from cinerecon.io.twix.signals import describe_signals

TRAJECTORIES = {1: "cartesian", 2: "radial", 4: "spiral"}
"""Trajectories by their code in the protocol."""
CALIBRATION = {2: "embedded", 4: "separate", 8: "separate", 16: "interleaved", 32: "interleaved", 64: "interleaved"}
"""Modes of calibration by their code in the protocol."""
THREE_DIMENSIONS = 4
"""Code of the number of dimensions in the protocol of a 3-D scan."""
RETROSPECTIVE = 8
"""Code of retrospective gating in the protocol, with which the number of phases depends on the heart rate."""
SHARED_PHASES = 2
"""Code of view sharing between cardiac phases in the protocol."""


def header_xml(protocol: Protocol, image: Heads, waveforms: tuple[Waveform, ...] = ()) -> tuple[bytes, list[str]]:
    """The ISMRMRD header of a measurement, and warnings.

    Parameters
    ----------
    protocol
        The protocol of the measurement.
    image
        Headers of the readouts with image data.
    waveforms
        Physiological signals, which the header describes.

    Raises
    ------
    HeaderError
        If the protocol lacks the matrix or the field of view.
    UnsupportedError
        If the scan is 3-D, slices were measured simultaneously, or the readouts need regridding.
    """
    _require_supported(protocol, image)
    limits, warnings = _limits(protocol, image)
    warnings += _shared_line_warnings(protocol, image)
    parts = {
        "subjectInformation": {"patientID": protocol.text("PatientID")},
        "studyInformation": {"studyInstanceUID": _study(protocol)},
        "measurementInformation": {
            "patientPosition": protocol.text("tPatientPosition") or protocol.text("sPatPosition"),
            "protocolName": protocol.text("tProtocolName"),
            "frameOfReferenceUID": protocol.text("tFrameOfReference"),
        },
        "acquisitionSystemInformation": _system(protocol, image),
        "experimentalConditions": {"H1resonanceFrequency_Hz": protocol.count("lFrequency")},
        "encoding": {
            **_spaces(protocol),
            "encodingLimits": limits,
            "trajectory": _trajectory(protocol, image),
            "parallelImaging": _parallel_imaging(protocol),
        },
        "sequenceParameters": _sequence(protocol),
        "userParameters": {"userParameterLong": _velocity_range(protocol)},
        "waveformInformation": describe_signals(waveforms),
    }
    xml = f'<ismrmrdHeader xmlns="{NAMESPACE}">{elements(parts)}</ismrmrdHeader>'
    return f"<?xml version='1.0' encoding='utf-8'?>\n{xml}".encode(), warnings


def _require_supported(protocol: Protocol, image: Heads) -> None:
    if protocol.count("sKSpace.ucDimension", 2) == THREE_DIMENSIONS:
        what = f"a 3-D scan ({protocol.count('sKSpace.lPartitions', 1)} partitions), only 2-D slices are supported"
        raise UnsupportedError(what, where=protocol.where)
    n_bands = protocol.count("sSliceAcceleration.lMultiBandFactor", 1)
    if n_bands > 1:
        what = f"{n_bands} slices were measured simultaneously (multi-band), which is not supported"
        raise UnsupportedError(what, where=protocol.where)
    if protocol.count("alRegridMode[0]", 1) > 1 and not _is_epi(protocol, image):
        what = "readouts were sampled while the gradient changed (alRegridMode), which needs regridding"
        raise UnsupportedError(what, where=protocol.where, hint="only uniformly sampled Cartesian scans are supported")


def _is_epi(protocol: Protocol, image: Heads) -> bool:
    """Whether several lines are measured after each excitation, with alternating readout direction."""
    is_reversed = bool(has_flag(image, REVERSE).any())
    return is_reversed and protocol.count("sFastImaging.lEPIFactor", 1) > 1


def _trajectory(protocol: Protocol, image: Heads) -> str:
    if _is_epi(protocol, image):
        return "epi"
    return TRAJECTORIES.get(protocol.count("sKSpace.ucTrajectory"), "other")


def _study(protocol: Protocol) -> str:
    """An identifier of the study: its number, which is unique for a scanner, and the serial number of the scanner."""
    study, scanner = protocol.text("StudyLOID"), protocol.text("DeviceSerialNumber")
    return f"{scanner}_{study}" if study and scanner.strip("x") else ""


def _system(protocol: Protocol, image: Heads) -> dict[str, Any]:
    names = _coil_names(protocol)
    n_channels = int(image["active_channels"][0])
    return {
        "systemVendor": "SIEMENS",
        "systemModel": protocol.text("ManufacturersModelName"),
        "systemFieldStrength_T": protocol.number("flMagneticFieldStrength") or "",
        "relativeReceiverNoiseBandwidth": SIEMENS_NOISE_BANDWIDTH,
        "receiverChannels": protocol.count("iMaxNoOfRxChannels", n_channels),
        "coilLabel": [{"coilNumber": number, "coilName": name} for number, name in enumerate(names)],
    }


def _coil_names(protocol: Protocol) -> list[str]:
    """Names of the selected receiver coils, in the order of the channels."""
    since_vd = protocol.items("sCoilSelectMeas.aRxCoilSelectData[0].asList")
    coils = []
    for item in since_vd or protocol.items("asCoilSelectMeas[0].asList"):
        name, channel = item.get("sCoilElementID"), item.get("lADCChannelConnected", item.get("lRxChannelConnected"))
        if isinstance(name, Mapping) and item.get("lElementSelected", 1) == 1 and isinstance(channel, int):
            coils.append((channel, f"{name.get('tCoilID', '')}:{name.get('tElement', '')}"))
    return [name for _, name in sorted(coils)]


def _spaces(protocol: Protocol) -> dict[str, Any]:
    """The encoded space, including oversampling, and the space of the scanner's images."""
    base = round(protocol.required("sKSpace.lBaseResolution"))
    fov_x, fov_y = (protocol.required(f"sSliceArray.asSlice[0].d{name}FOV") for name in ("Readout", "Phase"))
    thickness = protocol.required("sSliceArray.asSlice[0].dThickness")
    oversampling = protocol.number("flReadoutOSFactor") or 2.0
    phase_oversampling = protocol.number("phaseOversampling")
    if phase_oversampling is None:
        phase_oversampling = protocol.number("sKSpace.dPhaseOversamplingForDialog") or 0.0
    encoded_y = fov_y * (1 + phase_oversampling)
    is_interpolated = protocol.count("sKSpace.uc2DInterpolation") == 1
    rows = protocol.count("iPEFTLength") // (2 if is_interpolated else 1) or round(base * encoded_y / fov_x)
    columns = max(protocol.count("iNoOfFourierColumns"), round(base * oversampling))
    image = protocol.count("ImageColumns", base), protocol.count("ImageLines", round(base * fov_y / fov_x))
    return {
        "encodedSpace": space((columns, rows), (fov_x * oversampling, encoded_y), thickness),
        "reconSpace": space(image, (fov_x, fov_y), thickness),
    }


def _limits(protocol: Protocol, image: Heads) -> tuple[dict[str, Any], list[str]]:
    """The range of each counter, and warnings if there are fewer frames than specified in the protocol."""
    idx = image["idx"]
    n_lines = protocol.count("iNoOfFourierLines", int(idx["kspace_encode_step_1"].max()) + 1)
    counts = {
        "kspace_encoding_step_1": n_lines,
        "kspace_encoding_step_2": int(idx["kspace_encode_step_2"].max()) + 1,
        "average": protocol.count("lAverages", 1),
        "slice": protocol.count("sSliceArray.lSize", 1),
        "contrast": protocol.count("lContrasts", 1),
        "phase": int(idx["phase"].max()) + 1,
        "repetition": int(idx["repetition"].max()) + 1,
        "set": protocol.count("iNSet", 1),
        "segment": int(idx["segment"].max()) + 1,
    }
    planned = {"phase": protocol.count("sPhysioImaging.lPhases", 1), "repetition": protocol.count("lRepetitions") + 1}
    is_retrospective = protocol.count("sPhysioImaging.lMethod1") == RETROSPECTIVE
    first = {name: int(idx[name].min()) for name in planned}
    n_values = {name: counts[name] - first[name] for name in planned}
    warnings = [
        f"the protocol specifies {n} values of {name}, but the data contain {n_values[name]}: the scan may have "
        "been stopped early"
        for name, n in planned.items()
        if n_values[name] < n and not (name == "phase" and is_retrospective)
    ]
    limits = {name: limit(max(count, 1) - 1, first.get(name, 0)) for name, count in counts.items()}
    centre = _centre_line(protocol, image)
    limits["kspace_encoding_step_1"] = limit(max(n_lines - 1, centre), centre=centre)
    return limits, warnings


def _shared_line_warnings(protocol: Protocol, image: Heads) -> list[str]:
    """A warning if the scanner shares lines between cardiac phases, so that not every phase has all lines."""
    if protocol.count("sKSpace.ucViewSharing") != SHARED_PHASES:
        return []
    names = ("slice", "set", "phase", "kspace_encode_step_1")
    keys = np.unique(np.stack([image["idx"][name] for name in names], 1), axis=0)
    n_frames, n_lines = len(np.unique(keys[:, :-1], axis=0)), len(np.unique(keys[:, -1]))
    if len(keys) == n_frames * n_lines:
        return []
    what = f"a frame has {len(keys) / n_frames:.3g} of {n_lines} lines on average"
    return [
        f"{what}: the scanner shares the others between adjacent phases (ucViewSharing); here they are treated as not "
        "measured"
    ]


def _centre_line(protocol: Protocol, image: Heads) -> int:
    """The line at the centre of k-space, from the readouts, or from the protocol if they are inconsistent."""
    stored = np.unique(image["idx"]["user"][:, 5])
    if len(stored) == 1 and (stored[0] > 0 or image["idx"]["kspace_encode_step_1"].max() == 0):
        return int(stored[0])
    n_lines = protocol.count("sKSpace.lPhaseEncodingLines")
    begins_late = protocol.number("lFirstFourierLine") is not None
    missing = n_lines - protocol.count("iNoOfFourierLines", n_lines) if begins_late else 0
    return max(n_lines // 2 - missing, 0)


def _parallel_imaging(protocol: Protocol) -> dict[str, Any]:
    factors = {
        "kspace_encoding_step_1": max(protocol.count("sPat.lAccelFactPE", 1), 1),
        "kspace_encoding_step_2": max(protocol.count("sPat.lAccelFact3D", 1), 1),
    }
    mode = CALIBRATION.get(protocol.count("sPat.ucRefScanMode"), "other")
    return {"accelerationFactor": factors, "calibrationMode": mode}


def _sequence(protocol: Protocol) -> dict[str, Any]:
    times = {"TR": "alTR[0]", "TE": "alTE[0]", "TI": "alTI[0]"}
    milliseconds = ((name, (protocol.number(path) or 0) / 1000) for name, path in times.items())
    spacing = protocol.number("sFastImaging.lEchoSpacing") or 0
    return {
        **{name: time for name, time in milliseconds if time > 0},
        "flipAngle_deg": protocol.number("adFlipAngleDegree[0]") or "",
        "sequence_type": protocol.text("tSequenceFileName").rpartition("\\")[2],
        "echo_spacing": spacing / 1000 if spacing > 0 else "",
    }


def _velocity_range(protocol: Protocol) -> dict[str, Any]:
    """VENC of a phase-contrast scan [cm/s] as a user parameter; empty for other scans."""
    velocity = protocol.number("sAngio.sFlowArray.asElm[0].nVelocity")
    if not velocity or protocol.count("sAngio.sFlowArray.lSize") < 1:
        return {}
    return {"name": "VENC_0", "value": f"{velocity:g}"}
