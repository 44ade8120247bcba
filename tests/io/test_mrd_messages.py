"""Messages of the ISMRMRD streaming protocol, in recorded traffic and against the package ismrmrd."""

import ast
import io
import struct
from collections import Counter

import numpy as np
import pytest
from helpers import formats_folder
from ismrmrd.serialization import ProtocolDeserializer, ProtocolSerializer

from cinerecon.errors import FileError
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd_stream.messages import (
    AcquisitionMessage,
    ArrayMessage,
    CloseMessage,
    ImageMessage,
    MessageId,
    TextMessage,
    message_bytes,
    read_messages,
)
from cinerecon.io.recognise import starts_stream

RECORDED = ("invertcontrast/client_to_server", "invertcontrast/server_to_client", "simplefft/server_to_client")
IDS = {
    AcquisitionMessage: MessageId.ACQUISITION,
    ImageMessage: MessageId.IMAGE,
    Waveform: MessageId.WAVEFORM,
    ArrayMessage: MessageId.ARRAY,
    CloseMessage: MessageId.CLOSE,
}


def recorded(name):
    path = formats_folder() / "stream" / f"{name}.bin"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return path


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_messages_are_read_and_written(name):
    path = recorded(name)
    content = path.read_bytes()
    messages = list(read_messages(io.BytesIO(content), name))
    counts = Counter(IDS.get(type(message)) or message.id for message in messages)
    lines = (path.parent / "messages.txt").read_text().split(path.stem)[1].splitlines()
    expected = ast.literal_eval(next(line for line in lines if "counts" in line).split("counts")[1].strip())
    assert {kind.name: count for kind, count in counts.items()} == expected
    written = b"".join(map(message_bytes, messages))
    n_closing = sum(isinstance(m, TextMessage) and m.id is not MessageId.CONFIG_FILE for m in messages)
    assert len(written) == len(content) - n_closing  # each recorded text has a closing NUL
    again = list(read_messages(io.BytesIO(written), name))
    assert b"".join(map(message_bytes, again)) == written
    assert starts_stream(content[:1028]) and starts_stream(written[:1028])


def test_the_package_ismrmrd_reads_the_written_messages():
    messages = list(read_messages(recorded(RECORDED[0]).open("rb"), "a"))
    written = b"".join(map(message_bytes, messages))
    others = list(ProtocolDeserializer(io.BytesIO(written)).deserialize())
    assert len(others) == len(messages) - 1
    for message, other in zip(messages, others, strict=False):
        if isinstance(message, AcquisitionMessage):
            assert np.array_equal(message.samples, other.data.ravel())
            assert message.head["acquisition_time_stamp"] == other.acquisition_time_stamp
            assert message.head["idx"]["kspace_encode_step_1"] == other.idx.kspace_encode_step_1
        if isinstance(message, Waveform):
            assert np.array_equal(message.values, other.data)


def test_arrays_in_a_stream_are_those_of_the_package():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    stream = io.BytesIO()
    with ProtocolSerializer(stream) as writer:
        writer.serialize(values)
    array, _ = read_messages(io.BytesIO(stream.getvalue()), "a")
    assert isinstance(array, ArrayMessage) and np.array_equal(array.values, values)
    assert message_bytes(array) + b"\x04\0" == stream.getvalue()


def test_recorded_images_are_those_of_the_package():
    content = recorded(RECORDED[1]).read_bytes()
    images = [m for m in read_messages(io.BytesIO(content), "a") if isinstance(m, ImageMessage)]
    assert [image.head["image_index"] for image in images] and images[0].values.shape == (1, 1, 12, 16)
    assert "<ismrmrdMeta>" in images[0].attributes
    others = [o for o in ProtocolDeserializer(io.BytesIO(content)).deserialize() if hasattr(o, "image_index")]
    for image, other in zip(images, others, strict=True):
        assert np.array_equal(image.values, other.data) and image.values.any()


def test_a_cut_or_damaged_stream_names_the_message():
    content = recorded("simplefft/client_to_server").read_bytes()
    with pytest.raises(FileError, match=r"ends at message 31, without a close message"):
        list(read_messages(io.BytesIO(content), "a"))
    with pytest.raises(FileError, match=r"ends at message 1, header, without"):
        list(read_messages(io.BytesIO(content[:2000]), "a"))
    with pytest.raises(FileError, match=r"message 0: its type is 1031"):
        list(read_messages(io.BytesIO(struct.pack("<H", 1031)), "a"))
    with pytest.raises(FileError, match=r"message 0, header: its text claims 4294967295 bytes"):
        list(read_messages(io.BytesIO(struct.pack("<HI", 3, 2**32 - 1)), "a"))


@pytest.mark.parametrize("start", [b"\x89HDF\r\n\x1a\n", b"yardl", b"PK\x03\x04", b"\x01\0\0\0\x02\0\0\0", b"\0" * 64])
def test_other_files_are_no_streams(start):
    assert not starts_stream(start.ljust(1028, b"\0"))
