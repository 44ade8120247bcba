"""Numbers in the XML header, as programs write them: decimals with a point or a comma, whole numbers as decimals."""

import math
from xml.etree.ElementTree import Element

from cinerecon.errors import HeaderError

ROUNDING = 0.01
"""How far a size that is written as a decimal may be from a whole number; converters compute 35.9996 for 36."""


def required_number(parent: Element, path: str, where: str, within: str = "") -> float:
    """A finite number of the header.

    Parameters
    ----------
    parent, path
        The element, and the path below it.
    where
        The file, for messages.
    within
        What the element is, where the path alone does not say it.

    Raises
    ------
    HeaderError
        If it is missing, no number, or not finite.
    """
    text = (parent.findtext(path) or "").strip()
    label = f"{within}/{path}" if within else path
    if not text:
        raise HeaderError(f"the XML header lacks {label}", where=where)
    value = parse_number(text)
    if value is None:
        raise HeaderError(f"{label} is '{text[:40]}' in the XML header, expected a number", where=where)
    if not math.isfinite(value):
        raise HeaderError(f"{label} is {text[:40]} in the XML header, expected a finite number", where=where)
    return value


def required_count(parent: Element, path: str, where: str, within: str = "") -> int:
    """A whole number of the header, also where it is written as a decimal. Errors as for `required_number`."""
    text = (parent.findtext(path) or "").strip()
    value = parse_count(text)
    if text and value is None:
        label = f"{within}/{path}" if within else path
        raise HeaderError(f"{label} is '{text[:40]}' in the XML header, expected a whole number", where=where)
    return round(required_number(parent, path, where, within)) if value is None else value


def parse_number(text: str) -> float | None:
    """The number that a text says, with a decimal point or a decimal comma; None if it says none."""
    text = text.strip()
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def parse_count(text: str) -> int | None:
    """The whole number that a text says; None if it says none, or one that is not near a whole number."""
    try:
        return int(text)
    except ValueError:
        value = parse_number(text)
    if value is None or not math.isfinite(value) or abs(value - round(value)) > ROUNDING:
        return None
    return round(value)
