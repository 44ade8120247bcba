"""The XML header of an ISMRMRD raw scan, read tolerantly into plain values.

Files in circulation do not follow the schema strictly: patient data are removed, vendors add elements of their own, and
parts that are rarely used are missing. Only elements that a reconstruction needs are required, all others are optional.
Elements that are present must be valid: numbers finite, sizes at least 1, fields of view positive.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from cinerecon.errors import HeaderError
from cinerecon.provenance import hashed_identifier, hashed_subject

ROUNDING = 0.01
"""Largest difference of a decimal number from an integer; some converters write 35.9996 for 36."""
TRAJECTORIES = ("cartesian", "epi", "radial", "goldenangle", "spiral", "other")
"""The values of the schema."""

VENC_NAME = r"(.*\.)?(venc(cms|0|\[0\])?|velocityencoding(value)?|nvelocity)"
"""Names of the velocity range, without spaces and underscores: VENC, VENC_0, sFlowArray.asElm[0].nVelocity."""
COUNTERS = (
    "kspace_encoding_step_1",
    "kspace_encoding_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)

PARALLEL_FACTORS = "parallelImaging/accelerationFactor"
NAMESPACE = "http://www.ismrm.org/ISMRMRD"
PERSONAL = (
    *("subjectInformation", "studyInformation", "institutionName", "stationID", "deviceID"),
    *("measurementID", "seriesDate", "seriesTime", "seriesInstanceUIDRoot", "frameOfReferenceUID"),
    *("measurementDependency", "referencedImageSequence"),
)
"""Elements of the header that identify the patient, time, site or operator, or that refer to other files."""


def required_number(parent: Element, path: str, where: str, within: str = "") -> float:
    """A finite number of the header.

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
    """An integer of the header, which may be written as a decimal. Errors as for `required_number`."""
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
    """Parse an integer, which may be written as a decimal; None if the text is not close to an integer."""
    try:
        return int(text)
    except ValueError:
        value = parse_number(text)
    if value is None or not math.isfinite(value) or abs(value - round(value)) > ROUNDING:
        return None
    return round(value)


@dataclass(frozen=True)
class Limit:
    """The range of one counter in the header, and the value at the centre of k-space."""

    minimum: int
    maximum: int
    centre: int | None = None

    @property
    def n_values(self) -> int:
        """Number of values in the range."""
        return self.maximum - self.minimum + 1


@dataclass(frozen=True)
class Space:
    """A grid: number of points and field of view [mm] along x, y and z."""

    matrix: tuple[int, int, int]
    fov_mm: tuple[float, float, float]


@dataclass(frozen=True)
class EncodingSpace:
    """One encoding: the grid that was measured, the grid of the image, and the range of each counter.

    Attributes
    ----------
    encoded, recon
        The measured grid, readout oversampling included, and the scanner's image grid.
    limits
        By the name of the counter; counters that are missing in the header are absent.
    trajectory
        One of the schema's values, in lower case; empty if the header has none.
    acceleration
        Factor of parallel imaging along ky; 1 if the header has none.
    """

    encoded: Space
    recon: Space
    limits: Mapping[str, Limit] = field(default_factory=dict)
    trajectory: str = "cartesian"
    acceleration: float = 1.0

    @property
    def line_limit(self) -> Limit | None:
        """The range of the line numbers; None if the header does not give it."""
        return self.limits.get("kspace_encoding_step_1")

    @property
    def centre_line(self) -> int:
        """The line at the centre of k-space; the middle of the grid if the header does not give it."""
        limit = self.line_limit
        return self.encoded.matrix[1] // 2 if limit is None or limit.centre is None else limit.centre


@dataclass(frozen=True)
class MrdHeader:
    """The content of the header of a scan. Missing optional values are None or empty.

    Patient, study and frame of reference are hashes, by which those of two scans can be compared.
    """

    encodings: tuple[EncodingSpace, ...]
    vendor: str = ""
    model: str = ""
    field_strength_tesla: float | None = None
    receiver_channels: int | None = None
    noise_bandwidth: float | None = None
    protocol: str = ""
    patient_position: str = ""
    tr_ms: float | None = None
    te_ms: float | None = None
    echo_spacing_ms: float | None = None
    flip_degrees: float | None = None
    sequence: str = ""
    parameters: Mapping[str, int] = field(default_factory=dict)
    venc_cm_s: float | None = None
    subject: str = ""
    study: str = ""
    frame_of_reference: str = ""

    @property
    def encoding(self) -> EncodingSpace:
        """The first encoding."""
        return self.encodings[0]

    @property
    def is_siemens(self) -> bool:
        """Whether a Siemens scanner wrote the data: they have the opposite sign of the Fourier transform."""
        return "siemens" in self.vendor.lower()

    @property
    def has_pilot_tone(self) -> bool:
        """Whether the pilot tone was on; it corrupts the first and last samples of every readout."""
        return any(name.replace(" ", "").lower() == "pilottone" and value for name, value in self.parameters.items())


SHORTEST_NAME = 3
"""Smallest number of characters of a word that is removed from free texts."""
FREE_TEXTS = ("protocolName", "seriesDescription", "measurementID", "userParameterString/value")
REMOVED = "(removed)"


def read_header(xml: bytes, where: str = "") -> tuple[MrdHeader, str]:
    """Read the XML header of a raw scan. Document types and entities are refused, never expanded.

    Returns
    -------
    tuple
        The header, and its XML without the elements in `PERSONAL`.

    Raises
    ------
    HeaderError
        If the XML is malformed, is not an ISMRMRD header, lacks an encoding, or holds impossible numbers.
    """
    root = _parse(xml, where)
    return _header(root, where), _without_patient(root)


def parse_header(xml: bytes, where: str = "") -> MrdHeader:
    """The header of a raw scan alone, see `read_header`."""
    return _header(_parse(xml, where), where)


def _header(root: Element, where: str) -> MrdHeader:
    if root.tag != "ismrmrdHeader":
        raise HeaderError(f"the root element of the XML header is '{root.tag}', expected 'ismrmrdHeader'", where=where)
    encodings = tuple(_encoding(element, where) for element in root.findall("encoding"))
    if not encodings:
        raise HeaderError(
            "the XML header has no <encoding>",
            where=where,
            hint="was the header truncated, or removed by anonymisation?",
        )
    system = root.find("acquisitionSystemInformation")
    measurement = root.find("measurementInformation")
    sequence = root.find("sequenceParameters")
    return MrdHeader(
        encodings=encodings,
        vendor=_text(system, "systemVendor"),
        model=_text(system, "systemModel"),
        field_strength_tesla=_optional_number(system, "systemFieldStrength_T"),
        receiver_channels=parse_count(_text(system, "receiverChannels")),
        noise_bandwidth=_optional_number(system, "relativeReceiverNoiseBandwidth"),
        protocol=_text(measurement, "protocolName"),
        patient_position=_text(measurement, "patientPosition"),
        tr_ms=_optional_number(sequence, "TR"),
        te_ms=_optional_number(sequence, "TE"),
        echo_spacing_ms=_optional_number(sequence, "echo_spacing"),
        flip_degrees=_optional_number(sequence, "flipAngle_deg"),
        sequence=_text(measurement, "sequenceName") or _text(sequence, "sequence_type"),
        parameters=_parameters(root.find("userParameters")),
        venc_cm_s=_velocity_range(root),
        subject=hashed_subject(_text(root.find("subjectInformation"), "patientID")),
        study=hashed_identifier(_text(root.find("studyInformation"), "studyInstanceUID")),
        frame_of_reference=hashed_identifier(_text(measurement, "frameOfReferenceUID")),
    )


def _without_patient(root: Element) -> str:
    """The header as text, without the elements in `PERSONAL`, which are removed."""
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in PERSONAL]:
            parent.remove(child)
    root.set("xmlns", NAMESPACE)
    return '<?xml version="1.0"?>\n' + tostring(root, encoding="unicode") + "\n"


def _parse(xml: bytes, where: str) -> Element:
    if not xml.startswith((b"\xff\xfe", b"\xfe\xff")):  # in UTF-16 every other byte may be a NUL
        xml = xml.strip(b"\0 \t\r\n")
    if not xml:
        raise HeaderError("the XML header is empty", where=where)
    try:
        try:
            root: Element = fromstring(xml, forbid_dtd=True)
        except ParseError:
            root = fromstring(_as_utf8(xml), forbid_dtd=True)
    except ParseError as error:
        raise HeaderError(f"the XML header is not well-formed: {error}", where=where) from None
    except DefusedXmlException:
        message = "the XML header declares a document type (DTD) or entities, which are never resolved"
        raise HeaderError(message, where=where, hint="remove the DOCTYPE from the header") from None
    except (ValueError, LookupError) as error:
        raise HeaderError(f"the XML header has an unknown text encoding: {error}", where=where) from None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2]
    _hide_subject(root)
    return root


def _hide_subject(root: Element) -> None:
    """Remove name, ID and birth date of the subject from the free texts of the header, where operators repeat them."""
    subject = root.find("subjectInformation")
    words = re.split(r"[\s^=,;]+", _text(subject, "patientName"))
    birth = _text(subject, "patientBirthdate")
    words += [_text(subject, "patientID"), birth, birth.replace("-", ""), birth[:4]]
    known = sorted((re.escape(word) for word in words if len(word) >= SHORTEST_NAME), key=len, reverse=True)
    if not known:
        return
    pattern = re.compile("|".join(known), re.IGNORECASE)
    for tag in FREE_TEXTS:
        for element in root.iterfind(f".//{tag}"):
            element.text = pattern.sub(REMOVED, element.text or "")


def _as_utf8(xml: bytes) -> bytes:
    """Convert to UTF-8; text in another encoding is most often Latin-1, from programs that copy bytes."""
    try:
        xml.decode("utf-8")
    except UnicodeDecodeError:
        return xml.decode("latin-1").encode("utf-8")
    return xml


def _encoding(element: Element, where: str) -> EncodingSpace:
    limits = {}
    for counter in COUNTERS:
        limit = element.find(f"encodingLimits/{counter}")
        if limit is not None:
            limits[counter] = _limit(limit, counter, where)
    trajectory = _text(element, "trajectory").lower()
    if trajectory not in (*TRAJECTORIES, ""):
        raise HeaderError(
            f"trajectory '{trajectory}' is not a valid value, expected one of: {', '.join(TRAJECTORIES)}",
            where=where,
        )
    return EncodingSpace(
        encoded=_space(element, "encodedSpace", where),
        recon=_space(element, "reconSpace", where),
        limits=limits,
        trajectory=trajectory,
        acceleration=_optional_number(element.find(PARALLEL_FACTORS), "kspace_encoding_step_1") or 1.0,
    )


def _space(encoding: Element, name: str, where: str) -> Space:
    x, y, z = (required_count(encoding, f"{name}/matrixSize/{axis}", where) for axis in "xyz")
    width, height, depth = (required_number(encoding, f"{name}/fieldOfView_mm/{axis}", where) for axis in "xyz")
    for axis, size in zip("xyz", (x, y, z), strict=True):
        if size < 1:
            raise HeaderError(f"{name} matrixSize {axis} is {size}, expected at least 1", where=where)
    for axis, length in (("x", width), ("y", height)):
        if length <= 0:
            raise HeaderError(f"{name} fieldOfView_mm {axis} is {length:g}, expected a positive length", where=where)
    return Space((x, y, z), (width, height, depth))


def _limit(element: Element, counter: str, where: str) -> Limit:
    maximum = required_count(element, "maximum", where, counter)
    minimum = required_count(element, "minimum", where, counter) if element.find("minimum") is not None else 0
    centre = required_count(element, "center", where, counter) if element.find("center") is not None else None
    if not 0 <= minimum <= maximum:
        raise HeaderError(f"{counter} runs from {minimum} to {maximum} in the encoding limits", where=where)
    return Limit(minimum, maximum, centre)


def _optional_number(parent: Element | None, name: str) -> float | None:
    """A number on which no image depends; None if it is missing or invalid."""
    value = parse_number(_text(parent, name))
    return value if value is not None and math.isfinite(value) else None


def _text(parent: Element | None, name: str) -> str:
    return "" if parent is None else (parent.findtext(name) or "").strip()


def _velocity_range(root: Element) -> float | None:
    """VENC of a phase-contrast scan [cm/s], from the user parameters or sequence parameters; None without one.

    The schema has no element for it: converters copy it to a user parameter of the scanner's own name.
    """
    fields = [(element.tag, element.text or "") for element in root.iterfind("sequenceParameters/*")]
    for kind in ("Double", "Long", "String"):
        parameters = root.iterfind(f"userParameters/userParameter{kind}")
        fields += [(_text(parameter, "name"), _text(parameter, "value")) for parameter in parameters]
    for name, text in fields:
        value = parse_number(text.strip())
        is_venc = re.fullmatch(VENC_NAME, name.replace("_", "").replace(" ", ""), re.IGNORECASE) is not None
        if is_venc and value is not None and math.isfinite(value) and value > 0:
            return value
    return None


def _parameters(element: Element | None) -> dict[str, int]:
    parameters = {}
    for parameter in [] if element is None else element.findall("userParameterLong"):
        value = parse_count(_text(parameter, "value"))
        if value is not None:
            parameters[_text(parameter, "name")] = value
    return parameters
