"""The XML header of an ISMRMRD raw scan.

Many files do not conform to the schema: patient data have been removed, vendors add their own elements, and rarely used
parts are missing. Only elements that are necessary for a reconstruction are required. They must be valid: numbers
finite, sizes at least 1, fields of view positive.
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
"""Largest difference between a decimal number and an integer; some converters write 35.9996 instead of 36."""
TRAJECTORIES = ("cartesian", "epi", "radial", "goldenangle", "spiral", "other")
"""Trajectories defined by the schema."""

VENC_NAME = r"(.*\.)?(venc(cms|0|\[0\])?|velocityencoding(value)?|nvelocity)"
"""Parameter names of the velocity encoding, e.g. VENC, VENC_0 or sFlowArray.asElm[0].nVelocity."""
COUNTERS = (
    *("kspace_encoding_step_1", "kspace_encoding_step_2", "average", "slice", "contrast"),
    *("phase", "repetition", "set", "segment"),
)
"""Elements of the encoding limits."""

PARALLEL_FACTORS = "parallelImaging/accelerationFactor"
NAMESPACE = "http://www.ismrm.org/ISMRMRD"
PERSONAL = (
    *("subjectInformation", "studyInformation", "institutionName", "stationID", "deviceID"),
    *("measurementID", "seriesDate", "seriesTime", "seriesInstanceUIDRoot", "frameOfReferenceUID"),
    *("measurementDependency", "referencedImageSequence"),
)
"""Elements that identify the patient, the time, the site or the operator, or refer to other files."""


def required_number(parent: Element, path: str, where: str, within: str = "") -> float:
    """A required number in the header.

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
    """A required integer in the header, which may be written as a decimal number.

    Raises
    ------
    HeaderError
        If it is missing or not an integer.
    """
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
    """The range of a counter, and its value at the centre of k-space."""

    minimum: int
    maximum: int
    centre: int | None = None

    @property
    def n_values(self) -> int:
        """Number of values in the range."""
        return self.maximum - self.minimum + 1


@dataclass(frozen=True)
class Space:
    """Matrix size and field of view [mm] along x, y and z."""

    matrix: tuple[int, int, int]
    fov_mm: tuple[float, float, float]


@dataclass(frozen=True)
class EncodingSpace:
    """An encoding: the encoded space, the space of the image, and the range of each counter.

    Attributes
    ----------
    encoded, recon
        The encoded space, including readout oversampling, and the space of the scanner's images.
    limits
        Range of each counter in the header, by its name.
    trajectory
        One of `TRAJECTORIES`; empty if it is not in the header.
    acceleration
        Acceleration factor of parallel imaging along ky; 1 if it is not in the header.
    """

    encoded: Space
    recon: Space
    limits: Mapping[str, Limit] = field(default_factory=dict)
    trajectory: str = "cartesian"
    acceleration: float = 1.0

    @property
    def line_limit(self) -> Limit | None:
        """The range of line numbers; None if it is not in the header."""
        return self.limits.get("kspace_encoding_step_1")

    @property
    def centre_line(self) -> int:
        """The line at the centre of k-space; that at half of the matrix size if it is not in the header."""
        limit = self.line_limit
        return self.encoded.matrix[1] // 2 if limit is None or limit.centre is None else limit.centre


@dataclass(frozen=True)
class MrdHeader:
    """The content of the header of a scan. Missing optional values are None or empty.

    Patient, study and frame of reference are hashes, so that two scans can be compared without identifying the patient.
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
        """Whether the data are from a Siemens scanner, so that the sign of the Fourier transform is opposite."""
        return "siemens" in self.vendor.lower()

    @property
    def has_pilot_tone(self) -> bool:
        """Whether a pilot tone was used, which corrupts the first and last samples of every readout."""
        return any(name.replace(" ", "").lower() == "pilottone" and value for name, value in self.parameters.items())


SHORTEST_NAME = 3
"""Smallest number of characters of a word that is removed from free text."""
FREE_TEXTS = ("protocolName", "seriesDescription", "measurementID", "userParameterString/value")
"""Elements with free text, in which operators may have repeated the name of the patient."""
REMOVED = "(removed)"


def read_header(xml: bytes, where: str = "") -> tuple[MrdHeader, str]:
    """Read the XML header of a raw scan; document types and entities are refused.

    Returns
    -------
    tuple
        The header, and its XML without the elements in `PERSONAL`.

    Raises
    ------
    HeaderError
        If the XML is malformed, is not an ISMRMRD header, has no encoding, or contains invalid numbers.
    """
    root = _parse(xml, where)
    return _header(root, where), _without_patient(root)


def parse_header(xml: bytes, where: str = "") -> MrdHeader:
    """Parse the header of a raw scan as `read_header` does, without its XML."""
    return _header(_parse(xml, where), where)


def _header(root: Element, where: str) -> MrdHeader:
    if root.tag != "ismrmrdHeader":
        raise HeaderError(f"the root element of the XML header is '{root.tag}', expected 'ismrmrdHeader'", where=where)
    encodings = tuple(_encoding(element, where) for element in root.findall("encoding"))
    if not encodings:
        hint = "was the header truncated, or removed by anonymisation?"
        raise HeaderError("the XML header has no <encoding>", where=where, hint=hint)
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
    """The header as text after removal of the elements in `PERSONAL`, which also changes ``root``."""
    for parent in list(root.iter()):
        for child in [child for child in parent if child.tag in PERSONAL]:
            parent.remove(child)
    root.set("xmlns", NAMESPACE)
    return '<?xml version="1.0"?>\n' + tostring(root, encoding="unicode") + "\n"


def _parse(xml: bytes, where: str) -> Element:
    """The root element, with tags without namespace and free text without the name of the subject."""
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
    """Remove name, ID and birth date of the subject from the elements in `FREE_TEXTS`."""
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
    """Convert to UTF-8; text that is not UTF-8 is usually Latin-1 that was copied without conversion."""
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
        what = f"trajectory '{trajectory}' is not a valid value, expected one of: {', '.join(TRAJECTORIES)}"
        raise HeaderError(what, where=where)
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
    """An optional number; None if it is missing or invalid."""
    value = parse_number(_text(parent, name))
    return value if value is not None and math.isfinite(value) else None


def _text(parent: Element | None, name: str) -> str:
    return "" if parent is None else (parent.findtext(name) or "").strip()


def _velocity_range(root: Element) -> float | None:
    """VENC of a phase-contrast scan [cm/s], from sequence or user parameters; None if it is missing.

    The schema has no element for it. Converters write it as a user parameter with the name that the scanner uses.
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
    """The integer user parameters by name."""
    parameters = {}
    for parameter in [] if element is None else element.findall("userParameterLong"):
        value = parse_count(_text(parameter, "value"))
        if value is not None:
            parameters[_text(parameter, "name")] = value
    return parameters
