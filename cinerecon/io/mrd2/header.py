"""Headers of MRD version 2 as the XML of version 1, and back: both have the same elements under other names."""

from dataclasses import fields, is_dataclass
from enum import Enum
from types import ModuleType, NoneType
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import numpy as np
from defusedxml.ElementTree import fromstring

from cinerecon.io.ismrmrd.header import NAMESPACE


def header_as_xml(header: Any) -> bytes:
    """The XML header of version 1 with the elements that both versions have."""
    from ismrmrd.xsd import ismrmrdHeader

    content = _children(header, ismrmrdHeader)
    return f'<?xml version="1.0"?><ismrmrdHeader xmlns="{NAMESPACE}">{content}</ismrmrdHeader>'.encode()


def _children(part: Any, kind: type) -> str:
    """The elements of a part of the header, in the order of the schema.

    Parameters
    ----------
    part
        A part of version 2.
    kind
        The class of the package ``ismrmrd`` for the same part, whose fields have the names and the order of the schema.
    """
    values = {_plain_name(name): value for name, value in vars(part).items()}
    hints, texts = get_type_hints(kind), []
    for field in fields(kind):
        value = values.get(_plain_name(field.name))
        items = value if isinstance(value, list) else [] if value is None else [value]
        texts += [f"<{field.name}>{_content(item, _plain_type(hints[field.name]))}</{field.name}>" for item in items]
    return "".join(texts)


def _content(value: Any, kind: Any) -> str:
    """A part as elements, or a value as text, numbers with the digits of single precision."""
    if is_dataclass(kind):
        return _children(value, cast("type", kind))
    if isinstance(value, Enum):
        return next((str(item.value) for item in kind if _plain_name(str(item.value)) == _plain_name(value.name)), "")
    return escape(str(np.float32(value)) if isinstance(value, float | np.floating) else str(value))


def _plain_type(hint: Any) -> Any:
    """The type of the values of a field that may be missing or repeated."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    return _plain_type(parts[0]) if parts and get_origin(hint) is not Annotated else hint


def header_from_xml(xml: bytes, mrd: ModuleType) -> Any:
    """An ``mrd.Header`` from an XML header of version 1, with the elements that both versions have.

    Names differ only in capital letters and underscores. Version 2 requires the patient position: without one, the
    part that also holds the name of the protocol is left out.
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
    """A part of the header from the elements that are arguments of its constructor."""
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
