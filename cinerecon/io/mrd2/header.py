"""Headers of MRD version 2 as the XML of version 1, and back: both have the same elements under other names."""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from cinerecon.io.ismrmrd.header import COUNTERS, NAMESPACE, MrdHeader, Space

SUBJECT = {"patientID": "patient_id"}
STUDY = {"studyInstanceUID": "study_instance_uid"}
MEASUREMENT = {
    "protocolName": "protocol_name",
    "sequenceName": "sequence_name",
    "frameOfReferenceUID": "frame_of_reference_uid",
}
SYSTEM = {
    "systemVendor": "system_vendor",
    "systemModel": "system_model",
    "systemFieldStrength_T": "system_field_strength_t",
    "relativeReceiverNoiseBandwidth": "relative_receiver_noise_bandwidth",
    "receiverChannels": "receiver_channels",
}
SEQUENCE = {
    "TR": "t_r",
    "TE": "t_e",
    "TI": "t_i",
    "flipAngle_deg": "flip_angle_deg",
    "sequence_type": "sequence_type",
    "echo_spacing": "echo_spacing",
}
"""Elements of the XML, each with the attribute of version 2."""


def header_as_xml(header: Any) -> bytes:
    """The XML header of version 1 that describes the same scan.

    Parameters
    ----------
    header
        An ``mrd.Header``.
    """
    measurement = header.measurement_information
    position = (
        [] if measurement is None else [_tag("patientPosition", measurement.patient_position.name.replace("_", ""))]
    )
    parts = [
        _group("subjectInformation", header.subject_information, SUBJECT),
        _group("studyInformation", header.study_information, STUDY),
        _group("measurementInformation", measurement, MEASUREMENT, position),
        _group("acquisitionSystemInformation", header.acquisition_system_information, SYSTEM),
        _tag(
            "experimentalConditions",
            _tag("H1resonanceFrequency_Hz", header.experimental_conditions.h1resonance_frequency_hz),
        ),
        *(_tag("encoding", "".join(_encoding(encoding))) for encoding in header.encoding),
        _group("sequenceParameters", header.sequence_parameters, SEQUENCE),
        _user_parameters(header.user_parameters),
    ]
    return f'<?xml version="1.0"?><ismrmrdHeader xmlns="{NAMESPACE}">{"".join(parts)}</ismrmrdHeader>'.encode()


def _tag(name: str, content: object) -> str:
    return f"<{name}>{content}</{name}>"


def _text(value: Any) -> str:
    """A value as text; numbers of single precision with no more digits than they have."""
    return escape(str(np.float32(value)) if isinstance(value, float | np.floating) else str(value))


def _group(name: str, part: Any, attributes: dict[str, str], more: Iterable[str] = ()) -> str:
    """An element with the attributes that are set; of lists each value."""
    if part is None:
        return ""
    texts = []
    for element, attribute in attributes.items():
        value = getattr(part, attribute)
        values = value if isinstance(value, list) else [] if value is None else [value]
        texts += [_tag(element, _text(one)) for one in values]
    return _tag(name, "".join([*more, *texts]))


def _encoding(encoding: Any) -> Iterator[str]:
    for name, space in (("encodedSpace", encoding.encoded_space), ("reconSpace", encoding.recon_space)):
        size, length = space.matrix_size, space.field_of_view_mm
        matrix = "".join(_tag(axis, _text(getattr(size, axis))) for axis in "xyz")
        fov = "".join(_tag(axis, _text(getattr(length, axis))) for axis in "xyz")
        yield _tag(name, _tag("matrixSize", matrix) + _tag("fieldOfView_mm", fov))
    limits = ((counter, getattr(encoding.encoding_limits, counter)) for counter in COUNTERS)
    texts = {"minimum": "minimum", "maximum": "maximum", "center": "center"}
    yield _tag("encodingLimits", "".join(_group(counter, limit, texts) for counter, limit in limits))
    yield _tag("trajectory", encoding.trajectory.name.lower())


def _user_parameters(parameters: Any) -> str:
    if parameters is None:
        return ""
    texts = []
    for kind in ("long", "double", "string"):
        for parameter in getattr(parameters, f"user_parameter_{kind}"):
            value = _tag("name", escape(parameter.name)) + _tag("value", escape(str(parameter.value)))
            texts.append(_tag(f"userParameter{kind.capitalize()}", value))
    return _tag("userParameters", "".join(texts))


def header_from_plain(header: MrdHeader, mrd: ModuleType) -> Any:
    """An ``mrd.Header`` with the system, protocol and encodings of a header; nothing that identifies a patient."""
    by_name = {name.replace("_", ""): value for name, value in mrd.PatientPosition.__members__.items()}
    position, measurement = by_name.get(header.patient_position), None
    if position is not None:  # version 2 has no unknown position: without it, the whole part is left out
        protocol = header.protocol or None
        measurement = mrd.MeasurementInformationType(patient_position=position, protocol_name=protocol)
    return mrd.Header(
        measurement_information=measurement,
        acquisition_system_information=mrd.AcquisitionSystemInformationType(
            system_vendor=header.vendor or None,
            system_model=header.model or None,
            system_field_strength_t=header.field_strength_tesla,
            receiver_channels=header.receiver_channels,
        ),
        encoding=[
            mrd.EncodingType(
                encoded_space=_space(encoding.encoded, mrd),
                recon_space=_space(encoding.recon, mrd),
                encoding_limits=mrd.EncodingLimitsType(
                    **{
                        name: mrd.LimitType(minimum=limit.minimum, maximum=limit.maximum, center=limit.centre or 0)
                        for name, limit in encoding.limits.items()
                    }
                ),
                trajectory=mrd.Trajectory[(encoding.trajectory or "cartesian").upper()],
            )
            for encoding in header.encodings
        ],
    )


def _space(space: Space, mrd: ModuleType) -> Any:
    (x, y, z), (width, height, depth) = space.matrix, space.fov_mm
    return mrd.EncodingSpaceType(
        matrix_size=mrd.MatrixSizeType(x=x, y=y, z=z), field_of_view_mm=mrd.FieldOfViewMm(x=width, y=height, z=depth)
    )
