"""Numbers in the XML header as programs write them: with a decimal point or comma, integers as decimals."""

import math
from xml.etree.ElementTree import Element

from cinerecon.errors import HeaderError

ROUNDING = 0.01
"""Largest distance from an integer of a size that is written as a decimal; converters compute 35.9996 for 36."""


def required_number(parent: Element, path: str, where: str, within: str = "") -> float:
    """A finite number of the header.

    Parameters
    ----------
    parent, path
        The element, and the path below it.
    where
        The file, for messages.
    within
        Name of the enclosing element, for messages.

    Raises
    ------
    HeaderError
        If it is missing, not a number, or not finite.
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
    """An integer of the header, also if it is written as a decimal. Errors as for `required_number`."""
    text = (parent.findtext(path) or "").strip()
    value = parse_count(text)
    if text and value is None:
        label = f"{within}/{path}" if within else path
        raise HeaderError(f"{label} is '{text[:40]}' in the XML header, expected a whole number", where=where)
    return round(required_number(parent, path, where, within)) if value is None else value


def parse_number(text: str) -> float | None:
    """Parse a number with a decimal point or a decimal comma; None if the text is not a number."""
    text = text.strip()
    if text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None


def parse_count(text: str) -> int | None:
    """Parse an integer, also written as a decimal; None if the text is not close to an integer."""
    try:
        return int(text)
    except ValueError:
        value = parse_number(text)
    if value is None or not math.isfinite(value) or abs(value - round(value)) > ROUNDING:
        return None
    return round(value)
