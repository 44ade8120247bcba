"""Conversion between headers of MRD version 2 and XML headers of version 1, whose elements have different names."""

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
    """Convert a header to the XML of version 1; elements that exist only in version 2 are omitted."""
    from ismrmrd.xsd import ismrmrdHeader

    content = _children(header, ismrmrdHeader)
    return f'<?xml version="1.0"?><ismrmrdHeader xmlns="{NAMESPACE}">{content}</ismrmrdHeader>'.encode()


def _children(part: Any, kind: type) -> str:
    """XML elements of a part of the header, in the order of the schema.

    Parameters
    ----------
    part
        The part in version 2.
    kind
        The class of the package ``ismrmrd`` for this part, whose fields have the names and the order of the schema.
    """
    values = {_plain_name(name): value for name, value in vars(part).items()}
    hints, texts = get_type_hints(kind), []
    for field in fields(kind):
        value = values.get(_plain_name(field.name))
        items = value if isinstance(value, list) else [] if value is None else [value]
        texts += [f"<{field.name}>{_content(item, _plain_type(hints[field.name]))}</{field.name}>" for item in items]
    return "".join(texts)


def _content(value: Any, kind: Any) -> str:
    """A part as elements, or a value as text; numbers have the digits of single precision."""
    if is_dataclass(kind):
        return _children(value, cast("type", kind))
    if isinstance(value, Enum):
        return next((str(item.value) for item in kind if _plain_name(str(item.value)) == _plain_name(value.name)), "")
    return escape(str(np.float32(value)) if isinstance(value, float | np.floating) else str(value))


def _plain_type(hint: Any) -> Any:
    """The type of the values of a field, without None and `list`."""
    parts = [part for part in get_args(hint) if part is not NoneType]
    return _plain_type(parts[0]) if parts and get_origin(hint) is not Annotated else hint


def header_from_xml(xml: bytes, mrd: ModuleType) -> Any:
    """Convert an XML header of version 1 to an ``mrd.Header``; elements that exist only in version 1 are omitted.

    Names differ only in capital letters and underscores. Version 2 requires the patient position: if it is missing, the
    measurement information, which also contains the protocol name, is omitted.
    """
    root = fromstring(xml)
    header, position = _object(root, mrd.Header), root.findtext("{*}measurementInformation/{*}patientPosition", "")
    if _plain_name(position.strip()) not in map(_plain_name, mrd.PatientPosition.__members__):
        header.measurement_information = None
    return header


def _plain_name(name: str) -> str:
    """A name in lower case, without namespace and underscores."""
    return name.rpartition("}")[2].replace("_", "").lower()


def _object(element: Element, kind: type) -> Any:
    """Create a part of the header from the elements that are arguments of its constructor."""
    hints = get_type_hints(vars(kind)["__init__"])
    names = {_plain_name(name): name for name in hints}
    children: dict[str, list[Element]] = {}
    for child in element:
        if _plain_name(child.tag) in names:
            children.setdefault(names[_plain_name(child.tag)], []).append(child)
    values = {name: _values(elements, hints[name]) for name, elements in children.items()}
    return kind(**{name: value for name, value in values.items() if value is not None})


def _values(elements: list[Element], hint: Any) -> Any:
    """The value of an argument: that of the first element, or a list of all; None if it is not valid."""
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
    is_time = not any(_plain_name(child.tag) for child in element)  # the classes of date and time have no elements
    return None if is_time else _object(element, kind)
