"""Scans and images as streams of MRD version 2: the same as in HDF5, and clear messages for damaged ones."""

import sys

import mrd
import numpy as np
import pytest
import torch
from helpers import formats_folder
from raw_scan import small_scan
from typer.testing import CliRunner

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.cli import app
from cinerecon.errors import CineReconError, ConfigError, DataError, FileError, HeaderError
from cinerecon.io.ismrmrd.hdf5_scan import read_mrd
from cinerecon.io.ismrmrd.raw import has_flag
from cinerecon.io.mrd2.header import header_from_xml
from cinerecon.io.mrd2.scan import COUNTERS, NUMBERS, VECTORS, read_mrd2, write_mrd2_scan

PLAIN = AcquisitionConfig(csm="walsh")


def acquisition(head, samples, trajectory):
    """A readout of version 1 as one of version 2."""
    out = mrd.AcquisitionHeader(flags=mrd.AcquisitionFlags(int(head["flags"])))
    for name in NUMBERS:
        setattr(out, name, int(head[name]))
    for name in VECTORS:
        setattr(out, name, np.array(head[name], np.float32))
    for name in COUNTERS:
        setattr(out.idx, name, int(head["idx"][name]))
    out.acquisition_time_stamp, out.sample_time_us = int(head["acquisition_time_stamp"]), float(head["sample_time_us"])
    out.physiology_time_stamp = head["physiology_time_stamp"].tolist()
    shape = int(head["active_channels"]), int(head["number_of_samples"])
    data = np.ascontiguousarray(samples).view(np.complex64).reshape(shape)
    path = np.ascontiguousarray(trajectory.reshape(shape[1], -1).T) if trajectory.size else np.zeros((0, 0), np.float32)
    return mrd.Acquisition(head=out, data=data, trajectory=path.astype(np.float32))


def write(path, items, header=None):
    with mrd.BinaryMrdWriter(str(path)) as writer:
        writer.write_header(header)
        writer.write_data(items)
    return path


def converted(path, bucket=False):
    """The file of version 1 as a stream of version 2 next to it."""
    raw = read_mrd(path)
    header = header_from_xml(raw.xml.encode(), mrd)
    rows = np.arange(len(raw))
    parts = zip(raw.heads, raw.store.read("data", rows), raw.store.read("traj", rows), strict=True)
    readouts = [acquisition(*part) for part in parts]
    items = [mrd.StreamItem.Acquisition(readout) for readout in readouts]
    if bucket:
        items = [mrd.StreamItem.AcquisitionBucket(mrd.AcquisitionBucket(data=readouts))]
    return write(path.with_suffix(".mrd2"), items, header)


def test_channels_are_sorted_by_their_number(tmp_path):
    scan = small_scan(n_coils=3)
    scan.heads["channel_mask"][:, 0] = 0b10101
    path = scan.write(tmp_path / "scan.h5")
    raw = read_mrd(path)
    write_mrd2_scan(raw, tmp_path / "copy.mrd2")
    assert np.array_equal(read_mrd2(tmp_path / "copy.mrd2").heads["channel_mask"], raw.heads["channel_mask"])
    items = []
    for i, (head, samples) in enumerate(zip(raw.heads, scan.samples, strict=True)):
        order = [0, 1, 2] if i % 2 else [2, 0, 1]
        readout = acquisition(head, samples[order], np.zeros(0))
        readout.head.channel_order = [(0, 2, 4)[coil] for coil in order]
        items.append(mrd.StreamItem.Acquisition(readout))
    found = read_mrd2(write(tmp_path / "scan.mrd2", items, header_from_xml(raw.xml.encode(), mrd)))
    rows = np.arange(len(raw))
    assert np.array_equal(found.samples(rows), raw.samples(rows))
    assert np.array_equal(found.heads["channel_mask"], raw.heads["channel_mask"])


@pytest.mark.parametrize("bucket", [False, True])
def test_a_scan_is_that_in_hdf5(tmp_path, bucket):
    scan = small_scan(matrix=(20, 24), n_slices=2)
    line, frame = (scan.heads["idx"][name].astype(int) for name in ("kspace_encode_step_1", "phase"))
    scan.keep((np.abs(line - 10) < 4) | ((line + frame) % 3 == 0))
    noise = np.random.default_rng(0).standard_normal((3, 64, 2)).astype(np.float32).view(np.complex64)[..., 0]
    scan.append(0, noise)
    scan.flag(len(scan.heads) - 1, 19)
    scan.heads["position"] += np.float32(1 / 3)
    path = scan.write(tmp_path / "scan.h5")
    expected, found = open_scan(path, PLAIN), open_scan(converted(path, bucket), PLAIN)
    assert has_flag(read_mrd2(tmp_path / "scan.mrd2").heads, 19).sum() == 1
    for number in range(2):
        one, other = found.read_slice(number), expected.read_slice(number)
        assert torch.equal(one.kspace, other.kspace) and torch.equal(one.mask, other.mask)
        assert torch.equal(one.csm, other.csm)
        assert np.allclose(one.meta.geometry.position_mm, other.meta.geometry.position_mm, atol=0.01)
        assert one.meta.geometry == other.meta.geometry
        assert one.meta.pixel_size_mm == pytest.approx(other.meta.pixel_size_mm, abs=1e-4)
        assert one.meta.warnings == other.meta.warnings


def test_waveforms_in_a_bucket_are_read(tmp_path):
    path = small_scan(n_frames=1).write(tmp_path / "scan.h5")
    with mrd.BinaryMrdReader(str(converted(path, bucket=True))) as reader:
        header, (item,) = reader.read_header(), list(reader.read_data())
    values = np.arange(8, dtype=np.uint32).reshape(2, 4)
    item.value.waveforms = [mrd.Waveform(data=values, waveform_id=2, time_stamp=9, sample_time_us=2500.0)]
    raw = read_mrd2(write(tmp_path / "bucket.mrd2", [item], header))
    (block,) = raw.waveforms
    assert np.array_equal(block.values, values) and (block.number, block.time_stamp) == (2, 9)
    assert len(raw) == 12


@pytest.mark.parametrize("folder", ["ocmr_like", "shepp"])
def test_files_of_other_programs_are_the_same_in_both(tmp_path, folder):
    paths = sorted((formats_folder() / folder).glob("*.h5"))
    n_compared = 0
    for path in paths[:4]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
        try:
            expected = open_scan(tmp_path / path.name, PLAIN)
        except CineReconError:
            continue
        found = open_scan(converted(tmp_path / path.name), PLAIN)
        assert torch.equal(found.read_slice(0).kspace, expected.read_slice(0).kspace), path.name
        n_compared += 1
    assert n_compared


def test_recon_and_inspect_read_and_write_streams(tmp_path):
    path = small_scan(matrix=(20, 24)).write(tmp_path / "scan.h5")
    stream = converted(path)
    run = CliRunner()
    images = ["-o", str(tmp_path / "image.npz"), "-o", str(tmp_path / "image.mrd2")]
    assert run.invoke(app, ["recon", str(stream), "-m", "zerofilled", *images]).exit_code == 0
    assert run.invoke(app, ["recon", str(path), "-m", "zerofilled", "-o", str(tmp_path / "h5.npz")]).exit_code == 0
    expected, found = np.load(tmp_path / "h5.npz"), np.load(tmp_path / "image.npz")
    assert np.abs(found["image"] - expected["image"]).max() < 1e-6 * np.abs(expected["image"]).max()
    assert np.allclose(found["affine_ras"], expected["affine_ras"], atol=0.01)
    with mrd.BinaryMrdReader(str(tmp_path / "image.mrd2")) as reader:
        header, items = reader.read_header(), list(reader.read_data())
    assert header.encoding[0].recon_space.matrix_size.x == 24
    assert [item.tag for item in items] == ["ImageFloat"] * 3 + ["ImageComplexFloat"] * 3
    for frame in range(3):
        magnitude, image = items[frame].value, items[3 + frame].value
        assert np.array_equal(image.data[0, 0], expected["image"][0, frame])
        assert np.allclose(magnitude.data[0, 0], np.abs(expected["image"][0, frame]))
        assert (image.head.phase, image.head.image_index, image.head.image_series_index) == (frame, frame + 1, 1)
        assert np.allclose(image.head.position, expected["position_mm"][0], atol=0.01)
        assert np.allclose(image.head.col_dir, expected["read_dir"][0], atol=1e-6)
        assert np.allclose(image.head.field_of_view, (320, 240, 8), atol=0.01)
        assert any("not for diagnostic use" in text.value for text in image.meta["ImageComments"])
    assert "pixels" in run.invoke(app, ["inspect", str(stream)]).stdout


def test_cut_streams_say_where(tmp_path):
    whole = converted(small_scan().write(tmp_path / "scan.h5")).read_bytes()
    for part in (5, 8, 100, len(whole) // 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.mrd2").write_bytes(whole[:part])
        with pytest.raises(FileError, match="the stream is truncated"):
            open_scan(tmp_path / "cut.mrd2", PLAIN)
    (tmp_path / "cut.mrd2").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"ends within item \d+,"):
        read_mrd2(tmp_path / "cut.mrd2")


@pytest.mark.parametrize("added", [b"\0", None], ids=["a byte", "a second scan"])
def test_bytes_after_the_end_are_refused(tmp_path, added):
    """Two streams in one file would be read as the first alone."""
    whole = converted(small_scan().write(tmp_path / "scan.h5")).read_bytes()
    (tmp_path / "two.mrd2").write_bytes(whole + (whole if added is None else added))
    with pytest.raises(DataError, match="bytes follow the end mark"):
        open_scan(tmp_path / "two.mrd2", PLAIN)


def test_mutated_streams_are_read_or_refused(tmp_path):
    whole = converted(small_scan(matrix=(8, 8), n_frames=2).write(tmp_path / "scan.h5")).read_bytes()
    rng, n_refused = np.random.default_rng(3), 0
    start = whole.index(b"}]}") + 3  # the schema itself is compared as a whole
    for _ in range(150):
        mutated = bytearray(whole)
        for place in rng.integers(start, len(whole), 4):
            mutated[place] = rng.integers(256)
        (tmp_path / "mutated.mrd2").write_bytes(mutated)
        try:
            open_scan(tmp_path / "mutated.mrd2", PLAIN).read_slice(0)
        except CineReconError:
            n_refused += 1
    assert n_refused


def test_what_is_no_raw_scan(tmp_path):
    header = header_from_xml(read_mrd(small_scan().write(tmp_path / "scan.h5")).xml.encode(), mrd)
    with pytest.raises(HeaderError, match="no header"):
        read_mrd2(write(tmp_path / "a.mrd2", []))
    with pytest.raises(DataError, match="zero acquisitions"):
        read_mrd2(write(tmp_path / "a.mrd2", [], header))
    image = mrd.Image(head=mrd.ImageHeader(image_type=mrd.ImageType.MAGNITUDE), data=np.zeros((1, 1, 4, 4), np.float32))
    with pytest.raises(DataError, match="1 images and no acquisitions"):
        read_mrd2(write(tmp_path / "a.mrd2", [mrd.StreamItem.ImageFloat(image)], header))
    readout = mrd.Acquisition(data=np.ones((2, 8), np.complex64))
    readout.head.idx.phase = 70000
    with pytest.raises(DataError, match="phase is 70000"):
        read_mrd2(write(tmp_path / "a.mrd2", [mrd.StreamItem.Acquisition(readout)], header))


def test_a_stream_has_no_groups(tmp_path):
    stream = converted(small_scan().write(tmp_path / "scan.h5"))
    with pytest.raises(ConfigError, match="--dataset applies only to HDF5"):
        open_scan(stream, PLAIN, dataset="dataset")


def test_another_version_of_the_schema_is_named(tmp_path):
    stream = converted(small_scan().write(tmp_path / "scan.h5"))
    stream.write_bytes(stream.read_bytes().replace(b"centerSample", b"centreSample", 1))
    with pytest.raises(FileError, match="schema") as info:
        read_mrd2(stream)
    assert "another version" in info.value.hint


def test_without_the_package_the_message_names_the_extra(tmp_path, monkeypatch):
    stream = converted(small_scan().write(tmp_path / "scan.h5"))
    monkeypatch.setitem(sys.modules, "mrd", None)
    with pytest.raises(FileError, match="needs the package mrd-python") as info:
        open_scan(stream)
    assert "cinerecon[mrd2]" in info.value.hint
