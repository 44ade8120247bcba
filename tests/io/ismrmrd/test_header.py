import pytest
from raw_scan import header_xml

from cinerecon.errors import HeaderError
from cinerecon.io.ismrmrd.header import parse_header, read_header

GOOD = {
    "matrix": (64, 30),
    "fov": (640.0, 300.0),
    "recon": (32, 30),
    "recon_fov": (320.0, 300.0),
    "limits": {"kspace_encoding_step_1": (29, 15), "phase": (4, 0)},
}
TEXT = header_xml(**GOOD)


def test_values():
    extra = (
        "<sequenceParameters><TR>28.5</TR></sequenceParameters><userParameters><userParameterLong>"
        "<name>PilotTone</name><value>1</value></userParameterLong></userParameters>"
    )
    header = parse_header(header_xml(**GOOD, extra=extra).encode())
    encoding = header.encodings[0]
    assert encoding.encoded.matrix == (64, 30, 1)
    assert encoding.recon.fov_mm == (320.0, 300.0, 8.0)
    assert (encoding.limits["phase"].maximum, encoding.limits["kspace_encoding_step_1"].centre) == (4, 15)
    assert header.tr_ms == 28.5
    assert header.is_siemens
    assert header.has_pilot_tone


@pytest.mark.parametrize(
    "xml",
    [
        TEXT.encode() + b"\0\0\0",
        TEXT.replace(' xmlns="http://www.ismrm.org/ISMRMRD"', "").encode(),
        TEXT.replace("<encoding>", "<novelty><deep>1</deep></novelty><encoding>").encode(),
        TEXT.replace("SIEMENS", "Siemens Gerät").encode("utf-8"),
        TEXT.replace("SIEMENS", "Siemens Gerät").encode("latin-1"),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace('<?xml version="1.0"?>', '<?xml version="1.0" encoding="utf-16"?>').encode("utf-16"),
    ],
    ids=["nul", "no namespace", "unknown element", "utf-8", "latin-1", "byte order mark", "utf-16"],
)
def test_tolerated(xml):
    header = parse_header(xml)
    assert header.encodings[0].encoded.matrix == (64, 30, 1)
    assert header.is_siemens


def test_optional_parts_may_be_missing():
    xml = TEXT.replace("<systemVendor>SIEMENS</systemVendor>", "")
    xml = xml[: xml.index("<encodingLimits>")] + xml[xml.index("</encodingLimits>") + len("</encodingLimits>") :]
    header = parse_header(xml.encode())
    assert header.vendor == ""
    assert header.encodings[0].limits == {}
    assert header.tr_ms is header.receiver_channels is None


PERSONAL = (
    "<subjectInformation><patientName>Doe</patientName></subjectInformation><studyInformation><accessionNumber>777"
    "</accessionNumber><referringPhysicianName>Who</referringPhysicianName></studyInformation><measurementInformation>"
    "<measurementID>0_281</measurementID><seriesDate>2020-01-01</seriesDate><patientPosition>HFS</patientPosition>"
    "<protocolName>sax</protocolName></measurementInformation>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_data_of_the_patient_are_left_out(encoding):
    declared = TEXT.replace('<?xml version="1.0"?>', f'<?xml version="1.0" encoding="{encoding}"?>')
    _, kept = read_header(declared.replace("<encoding>", f"{PERSONAL}<encoding>").encode(encoding))
    assert not any(text in kept for text in ("Doe", "777", "Who", "0_281", "2020", "subject", "study"))
    header, before = parse_header(kept.encode()), parse_header(TEXT.encode())
    assert (header.protocol, header.patient_position) == ("sax", "HFS")
    assert header.encodings == before.encodings
    assert 'xmlns="http://www.ismrm.org/ISMRMRD"' in kept


def test_a_centre_that_is_not_given_is_not_zero():
    xml = TEXT.replace("<center>15</center>", "")
    assert parse_header(xml.encode()).encodings[0].limits["kspace_encoding_step_1"].centre is None


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("</encoding>", "", "not well-formed"),
        (
            "ismrmrdHeader",
            "siemensHeader",
            "root element is 'siemensHeader'|root element of the XML header is 'siemens",
        ),
        ("<x>64</x>", "<x>0</x>", "matrixSize x is 0, expected at least 1"),
        ("<x>64</x>", "<x>-64</x>", "matrixSize x is -64"),
        ("<x>64</x>", "<x>many</x>", "'many' in the XML header, expected a whole number"),
        ("<x>64</x>", "<x/>", "lacks encodedSpace/matrixSize/x"),
        ("<x>640.0</x>", "<x>nan</x>", "fieldOfView_mm/x is nan"),
        ("<x>640.0</x>", "<x>inf</x>", "expected a finite number"),
        ("<x>640.0</x>", "<x>-1</x>", "fieldOfView_mm x is -1"),
        ("<maximum>4</maximum>", "<maximum>four</maximum>", "phase/maximum is 'four'"),
        ("<trajectory>cartesian", "<trajectory>propellor", "'propellor' is not a valid value"),
        ("<ismrmrdHeader", BOMB + "<ismrmrdHeader", "DTD"),
        ("<ismrmrdHeader", '<!DOCTYPE x SYSTEM "file:///etc/passwd"><ismrmrdHeader', "DTD"),
    ],
)
def test_refused(old, new, words):
    assert old in TEXT
    with pytest.raises(HeaderError, match=words) as caught:
        parse_header(TEXT.replace(old, new).encode(), "scan.h5")
    assert caught.value.where == "scan.h5"


def test_no_encoding_and_no_text():
    xml = TEXT[: TEXT.index("<encoding>")] + "</ismrmrdHeader>"
    with pytest.raises(HeaderError, match="no <encoding>"):
        parse_header(xml.encode())
    with pytest.raises(HeaderError, match="empty"):
        parse_header(b"\0\0")


def test_the_subject_is_removed_from_free_texts():
    """Operators repeat the name in the protocol, which goes into images and file names."""
    subject = (
        "<subjectInformation><patientName>Doe^Jane</patientName><patientID>4711</patientID>"
        "<patientBirthdate>1970-03-01</patientBirthdate></subjectInformation>"
    )
    measurement = (
        "<measurementInformation><patientPosition>HFS</patientPosition><protocolName>cine_DOE_jane_19700301 sax"
        "</protocolName></measurementInformation>"
    )
    xml = TEXT.replace("<acquisitionSystem", f"{subject}{measurement}<acquisitionSystem", 1).encode()
    header, text = read_header(xml)
    assert header.protocol == "cine_(removed)_(removed)_(removed) sax"
    assert (
        header.subject
        == parse_header(TEXT.replace("<acquisitionSystem", f"{subject}<acquisitionSystem", 1).encode()).subject
    )
    assert not any(word in text.lower() for word in ("doe", "jane", "4711", "1970"))
    assert parse_header(xml.replace(subject.encode(), b"")).protocol == "cine_DOE_jane_19700301 sax"
