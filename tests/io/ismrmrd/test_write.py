"""A raw scan that is written reads back the same, with ismrmrd-python and with plain HDF5."""

import h5py
import ismrmrd
import numpy as np
import pytest
import torch

from cinerecon.acquisition.open import open_scan
from cinerecon.cine_meta import Geometry
from cinerecon.errors import FileError
from cinerecon.io.ismrmrd.header import parse_header
from cinerecon.io.ismrmrd.write import ReferenceArray, SimulatedScan, SliceReadouts, write_simulated_scan
from cinerecon.io.ismrmrd.write_header import Protocol, header_xml
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

PROTOCOL = Protocol(
    matrix=(6, 5),
    oversampling=2,
    pixel_size_mm=(1.5, 1.25),
    slice_thickness_mm=7.0,
    n_coils=2,
    n_frames=3,
    n_slices=2,
    notes={"what": "a < b & c"},
)
PLACE = Geometry((1.0, 2.0, 3.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def complex_numbers(*shape, seed=0):
    real, imaginary = np.random.default_rng(seed).standard_normal((2, *shape))
    return (real + 1j * imaginary).astype(np.complex64)


def readouts(seed):
    frame, line = (index.ravel() for index in np.indices((3, 6)))
    samples = complex_numbers(18, 2, 10, seed=seed)
    time = 3.0 * np.arange(18) + 1000 * seed
    return SliceReadouts(samples, line, frame, 0 * line, time, time % 60, PLACE)


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.h5"
    references = {"reference": ReferenceArray(complex_numbers(2, 3, 6, 5), "slices, frames, y, x", "the reference")}
    write_simulated_scan(
        path, SimulatedScan(PROTOCOL, complex_numbers(4, 2, 16), [readouts(1), readouts(2)], references)
    )
    return path


def test_ismrmrd_reads_every_readout(scan):
    dataset = ismrmrd.Dataset(str(scan), create_if_needed=False)
    acquisitions = [dataset.read_acquisition(n) for n in range(dataset.number_of_acquisitions())]
    dataset.close()
    assert len(acquisitions) == 4 + 2 * 18
    assert [a.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) for a in acquisitions] == [True] * 4 + [False] * 36
    for number, expected in enumerate((readouts(1), readouts(2))):
        found = acquisitions[4 + 18 * number : 22 + 18 * number]
        np.testing.assert_array_equal(np.stack([a.data for a in found]), expected.samples)
        assert [a.idx.kspace_encode_step_1 for a in found] == expected.line.tolist()
        assert [a.idx.phase for a in found] == expected.frame.tolist()
        assert {a.idx.slice for a in found} == {number}
        assert {a.center_sample for a in found} == {5}
        assert tuple(found[0].position) == PLACE.position_mm
    stamps = [a.acquisition_time_stamp for a in acquisitions]
    assert stamps == sorted(stamps)


def test_flags_mark_the_ends_of_frames_and_of_the_scan(scan):
    with h5py.File(scan) as file:
        flags = file["dataset/data"]["head"]["flags"][4:]
    assert np.flatnonzero(flags & (1 << 6)).tolist() == [0, 6, 12, 18, 24, 30]
    assert np.flatnonzero(flags & (1 << 7)).tolist() == [5, 11, 17, 23, 29, 35]
    assert np.flatnonzero(flags & (1 << 24)).tolist() == [35]


def test_header_is_understood_by_ismrmrd_and_by_us():
    xml = header_xml(PROTOCOL)
    theirs = ismrmrd.xsd.CreateFromDocument(xml)
    ours = parse_header(xml.encode())
    encoding = theirs.encoding[0]
    assert (encoding.encodedSpace.matrixSize.x, encoding.reconSpace.matrixSize.x) == (10, 5)
    assert encoding.encodedSpace.fieldOfView_mm.x == pytest.approx(2 * 5 * 1.25)
    assert encoding.reconSpace.fieldOfView_mm.y == pytest.approx(6 * 1.5)
    assert encoding.encodingLimits.phase.maximum == 2
    assert theirs.userParameters.userParameterString[0].value == "a < b & c"
    assert not ours.is_siemens
    assert ours.noise_bandwidth == pytest.approx(0.793)


def test_truth_is_kept_with_what_it_is(scan):
    with h5py.File(scan) as file:
        np.testing.assert_array_equal(file["truth/reference"][()], complex_numbers(2, 3, 6, 5))
        assert file["truth/reference"].attrs["axes"] == "slices, frames, y, x"
        assert file["truth"].attrs["what"] == "a < b & c"


def test_existing_file_is_not_overwritten(scan):
    before = scan.read_bytes()
    with pytest.raises(FileError, match="already exists"):
        write_simulated_scan(scan, SimulatedScan(PROTOCOL, complex_numbers(4, 2, 16), [], {}))
    assert scan.read_bytes() == before


def test_interrupted_writing_leaves_nothing(tmp_path):
    def breaks():
        yield readouts(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_simulated_scan(tmp_path / "scan.h5", SimulatedScan(PROTOCOL, complex_numbers(4, 2, 16), breaks(), {}))
    assert list(tmp_path.iterdir()) == []


def test_the_truth_is_below_the_readouts_which_are_the_last_group(tmp_path):
    """Clients of scanners read the last group of a file if none is named."""
    path = tmp_path / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=3, ky=16, kx=12, n_coils=2))
    with h5py.File(path) as file:
        assert list(file)[-1] == "dataset"
        assert file["dataset/truth/reference"].shape == (1, 3, 16, 12)
        assert file["truth"] == file["dataset/truth"]  # where earlier versions had it
    expected = open_scan(path).read_slice(0).reference
    with h5py.File(path, "a") as file:
        del file["truth"]
    assert torch.equal(open_scan(path).read_slice(0).reference, expected)
