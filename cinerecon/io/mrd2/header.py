"""Headers of MRD version 2 as the XML of version 1, and back: both have the same elements under other names."""

from collections.abc import Iterable, Iterator
from enum import Enum
from types import ModuleType, NoneType
from typing import Any, get_args, get_origin, get_type_hints
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import numpy as np
from defusedxml.ElementTree import fromstring

from cinerecon.io.ismrmrd.header import COUNTERS, NAMESPACE

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


def header_from_xml(xml: bytes, mrd: ModuleType) -> Any:
    """An ``mrd.Header`` with the elements of a header of version 1 that version 2 has, too.

    Both have the same names, but for capital letters and underscores. Version 2 has no unknown patient position:
    without one, the part with the name of the protocol is left out.
    """
    root = fromstring(xml)
    header, position = _object(root, mrd.Header), root.findtext("{*}measurementInformation/{*}patientPosition", "")
    if _plain_name(position.strip()) not in map(_plain_name, mrd.PatientPosition.__members__):
        header.measurement_information = None
    return header


def _plain_name(name: str) -> str:
    """A name without namespace, underscores and capital letters."""
    return name.rpartition("}")[2].replace("_", "").lower()


def _object(element: Element, kind: type) -> Any:
    """A part of the header, from the elements that its constructor names."""
    hints = get_type_hints(vars(kind)["__init__"])
    names = {_plain_name(name): name for name in hints}
    children: dict[str, list[Element]] = {}
    for child in element:
        if _plain_name(child.tag) in names:
            children.setdefault(names[_plain_name(child.tag)], []).append(child)
    values = {name: _values(elements, hints[name]) for name, elements in children.items()}
    return kind(**{name: value for name, value in values.items() if value is not None})


def _values(elements: list[Element], hint: Any) -> Any:
    """The value of an argument: that of the first element, or a list; None if it is not understood."""
    hint = next((part for part in get_args(hint) if part is not NoneType), hint) if NoneType in get_args(hint) else hint
    if get_origin(hint) is not list:
        return _value(elements[0], hint)
    values = [_value(element, get_args(hint)[0]) for element in elements]
    return [value for value in values if value is not None]


def _value(element: Element, kind: Any) -> Any:
    text = (element.text or "").strip()
    if kind in (int, float, str):
        return kind(text) if text or kind is str else None
    if issubclass(kind, Enum):
        return next((value for name, value in kind.__members__.items() if _plain_name(name) == _plain_name(text)), None)
    is_time = not any(_plain_name(child.tag) for child in element)  # date and time are no parts of their own
    return None if is_time else _object(element, kind)
