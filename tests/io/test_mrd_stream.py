"""Raw scans as streams of ISMRMRD messages: the same as in HDF5, and clear messages for damaged ones."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import formats_folder
from raw_scan import small_scan
from typer.testing import CliRunner

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.inspection import inspect_scan
from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.errors import CineReconError, ConfigError, DataError, FileError, HeaderError
from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
from cinerecon.io.ismrmrd.waveforms import Waveform
from cinerecon.io.mrd_stream.messages import CloseMessage, MessageId, TextMessage, message_bytes
from cinerecon.io.mrd_stream.reader import read_mrd_stream, write_raw_stream
from cinerecon.io.raw_file import read_raw_scan
from cinerecon.io.recognise import is_mrd_stream

PLAIN = AcquisitionConfig(csm="walsh")
BAD = formats_folder() / "bad"
MANIFEST = json.loads((BAD / "manifest.json").read_text()) if BAD.exists() else {}


def converted(raw, path):
    with path.open("wb") as file:
        write_raw_stream(raw, file)
    return path


def test_a_scan_is_that_in_hdf5(tmp_path):
    scan = small_scan(matrix=(20, 24), n_slices=2)
    line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
    scan.keep((np.abs(line - 10) < 4) | ((line + frame) % 3 == 0))
    path = scan.write(tmp_path / "scan.h5")
    ecg = Waveform(0, 123, 2500.0, np.arange(10, dtype=np.uint32).reshape(2, 5))
    stream = converted(replace(read_mrd(path), waveforms=(ecg,)), tmp_path / "scan.any")
    raw = read_raw_scan(stream)
    assert (raw.heads == read_mrd(path).heads).all() and len(raw.waveforms) == 1
    assert np.array_equal(raw.waveforms[0].values, ecg.values) and raw.waveforms[0].time_stamp == 123
    expected, found = open_scan(path, PLAIN), open_scan(stream, PLAIN)
    for number in range(2):
        one, other = found.read_slice(number), expected.read_slice(number)
        assert torch.equal(one.kspace, other.kspace) and torch.equal(one.mask, other.mask)
        assert torch.equal(one.csm, other.csm) and one.kspace.abs().max() > 0
        assert one.meta.geometry == other.meta.geometry


def test_the_recorded_stream_of_a_client_is_its_hdf5_file():
    folder = formats_folder() / "stream"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    raw, expected = read_mrd_stream(folder / "invertcontrast/client_to_server.bin"), read_mrd(folder / "input.h5")
    rows = np.arange(len(expected))
    assert len(raw) == len(expected) and len(raw.waveforms) == len(expected.waveforms)
    order = np.argsort(raw.heads["scan_counter"], kind="stable")  # the client interleaves by time
    others = np.argsort(expected.heads["scan_counter"], kind="stable")
    found, stored = raw.store.read("data", rows), expected.store.read("data", rows)
    for i, k in zip(order, others, strict=True):
        assert np.array_equal(found[i], np.asarray(stored[k]).view(np.complex64))
    with pytest.raises(FileError, match="without a close message"):
        read_mrd_stream(folder / "simplefft/client_to_server.bin")


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_files_with_defects_are_judged_as_in_hdf5(tmp_path, name):
    """Defects of the readouts and of the header survive the conversion, those of the container do not."""
    try:
        stream = converted(read_raw_scan(BAD / name), tmp_path / "scan.mrd")
    except CineReconError:
        return
    verdicts = []
    for path in (BAD / name, stream):
        try:
            inspect_scan(path, PLAIN)
            verdicts.append(open_scan(path, PLAIN).read_slice(0))
        except CineReconError as error:
            verdicts.append(error)
    first, second = verdicts
    assert type(first) is type(second), verdicts
    if not isinstance(first, CineReconError):
        assert torch.equal(first.kspace, second.kspace) and torch.equal(first.mask, second.mask)
        assert torch.equal(first.csm, second.csm)


def test_mutated_and_cut_streams_are_read_or_refused(tmp_path):
    source = small_scan(matrix=(8, 8), n_frames=2).write(tmp_path / "scan.h5")
    whole = converted(read_mrd(source), tmp_path / "whole.mrd").read_bytes()
    rng, n_refused, path = np.random.default_rng(3), 0, tmp_path / "mutated.mrd"
    for trial in range(300):
        changed = bytearray(whole)
        for offset in rng.integers(len(whole), size=4):
            changed[offset] = rng.integers(256)
        path.write_bytes(changed if trial % 2 else whole[: rng.integers(len(whole))])
        try:
            open_scan(path, PLAIN).read_slice(0)
            assert trial % 2, "a cut stream was read"
        except CineReconError:
            n_refused += 1
    assert n_refused >= 150


def test_what_is_no_raw_scan(tmp_path):
    raw = read_mrd(small_scan().write(tmp_path / "scan.h5"))
    path, header = tmp_path / "a.mrd", message_bytes(TextMessage(MessageId.HEADER, raw.xml.encode() + b"\0"))
    close = message_bytes(CloseMessage())
    path.write_bytes(close)
    with pytest.raises(HeaderError, match="no header"):
        read_raw_scan(path)
    path.write_bytes(header + header + close)
    with pytest.raises(HeaderError, match="2 headers"):
        read_raw_scan(path)
    path.write_bytes(header + close)
    with pytest.raises(DataError, match="zero acquisitions"):
        read_raw_scan(path)
    stream = converted(raw, path)
    with pytest.raises(ConfigError, match="--dataset applies only to HDF5"):
        read_raw_scan(stream, dataset="dataset")
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(DataError, match="4 bytes follow the close message"):
        read_raw_scan(path)
    assert is_mrd_stream(path) and not is_mrd_stream(tmp_path / "scan.h5")


def test_recon_and_inspect_read_streams(tmp_path):
    path = small_scan(matrix=(20, 24)).write(tmp_path / "scan.h5")
    stream = converted(read_mrd(path), tmp_path / "scan.mrd")
    run = CliRunner()
    images = []
    for scan in (path, stream):
        out = tmp_path / f"{scan.suffix[1:]}.npz"
        assert run.invoke(app, ["recon", str(scan), "-m", "zerofilled", "-o", str(out)]).exit_code == 0
        images.append(np.load(out)["image"])
    assert np.array_equal(*images) and images[0].any()
    assert run.invoke(app, ["inspect", str(stream)]).exit_code == 0


def test_inspect_reads_standard_input(tmp_path):
    stream = converted(read_mrd(small_scan(matrix=(20, 24)).write(tmp_path / "scan.h5")), tmp_path / "scan.mrd")
    run = CliRunner()
    named = json.loads(run.invoke(app, ["inspect", str(stream), "--json"]).stdout)
    piped = run.invoke(app, ["inspect", "-", "--json"], input=stream.read_bytes())
    assert piped.exit_code == 0
    found = json.loads(piped.stdout)
    assert {**found, "source": ""} == {**named, "source": ""}


def test_recon_reads_standard_input(tmp_path):
    stream = converted(read_mrd(small_scan(matrix=(20, 24)).write(tmp_path / "scan.h5")), tmp_path / "scan.mrd")
    run, images = CliRunner(), []
    for scan in (str(stream), "-"):
        out = tmp_path / f"{len(images)}.npz"
        asked = ["recon", scan, "-m", "zerofilled", "-o", str(out)]
        assert run.invoke(app, asked, input=stream.read_bytes()).exit_code == 0
        images.append(np.load(out)["image"])
    assert np.array_equal(*images) and images[0].any()
    refused = run.invoke(app, ["recon", "-", "-m", "zerofilled"], input=stream.read_bytes())
    assert isinstance(refused.exception, ConfigError) or refused.exit_code == 2
