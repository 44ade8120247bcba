"""K-space of other programs: measured samples, axes and reference are determined from the data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import relative_error
from matlab_file import write_v5, write_v73
from raw_scan import small_scan

from cinerecon.acquisition.checks.measured import find_measured
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan
from cinerecon.errors import DataError, UnsupportedError
from cinerecon.io.case import write_case
from cinerecon.physics.fourier import fft2c, ifft2c
from cinerecon.physics.sampling import acceleration_of, parse_mask
from cinerecon.simulation.scan import SimulateConfig, simulate_cine

PLAIN = AcquisitionConfig(csm="walsh")
N_FRAMES, N_COILS, KY, KX = 5, 3, 40, 36
FULL = "TrainingSet/FullSample/P001/cine_sax.mat"
ACCELERATED = "TrainingSet/AccFactor04/P001/cine_sax.mat"


@pytest.fixture(scope="module")
def kspace():
    """``(slices, frames, coils, ky, kx)`` with noise, of a beating heart."""
    slices = simulate_cine(SimulateConfig(n_frames=N_FRAMES, ky=KY, kx=KX, n_coils=N_COILS, n_slices=3, noise=0.002))
    return torch.stack([data.kspace for data in slices])


def full_file(tmp_path, kspace, **kwargs):
    """A fully sampled file of ``(slices, frames, coils, ky, kx)``."""
    return write_v73(tmp_path / FULL, kspace_full=kspace.transpose(0, 1).numpy(), **kwargs)


def lines(distance, offset=0):
    mask = torch.zeros(N_FRAMES, 1, KY, 1, dtype=torch.bool)
    mask[:, :, offset::distance] = True
    mask[:, :, KY // 2 - 3 : KY // 2 + 3] = True
    return mask


def kt_lines():
    return torch.cat([lines(4, frame % 4)[:1] for frame in range(N_FRAMES)])


def radial():
    return torch.from_numpy(parse_mask("radial:4").draw(N_FRAMES, KY, KX, seed=0))


def warned(data, words):
    return any(words in text for text in data.meta.warnings)


@pytest.mark.parametrize("make_mask", [lambda: lines(4), kt_lines, radial], ids=["lines", "kt lines", "radial"])
def test_a_full_file_of_zeros(tmp_path, kspace, make_mask):
    mask = make_mask()
    data = open_scan(full_file(tmp_path, kspace * mask), PLAIN).read_slice(1)
    assert torch.equal(data.mask, mask)
    assert torch.equal(data.kspace, kspace[1] * mask)
    assert acceleration_of(data) == acceleration_of(data.__class__(data.kspace, mask, data.csm))
    assert data.reference is None
    assert warned(
        data,
        "contain only zeros, although the file is supposed to be fully sampled: they are treated as not measured",
    )


def test_a_full_file_is_its_own_truth(tmp_path, kspace):
    data = open_scan(full_file(tmp_path, kspace), PLAIN).read_slice(1)
    assert data.mask.all()
    assert data.meta.reference_is == "all samples"
    assert data.meta.warnings == (
        "the parameter table (..._info.csv) with field of view and oversampling is missing: a pixel size of 1 mm is "
        "assumed, and readouts are not cropped",
        "the times of the frames are unknown: the speed of movies is arbitrary",
        "the file has no slice thickness: 1 mm is assumed",
    )


def undersampled_file(tmp_path, kspace, mask, claimed):
    stored = claimed[0, 0].expand(KY, KX).double().numpy()
    write_v73(tmp_path / ACCELERATED.replace(".mat", "_mask.mat"), mask04=stored)
    return write_v73(tmp_path / ACCELERATED, kspace_sub04=(kspace * mask).transpose(0, 1).numpy())


def test_a_mask_that_claims_more_than_was_measured(tmp_path, kspace):
    full_file(tmp_path, kspace)
    data = open_scan(undersampled_file(tmp_path, kspace, lines(8), lines(4)), PLAIN).read_slice(1)
    assert torch.equal(data.mask, lines(8))
    assert warned(data, "of 75 lines contain only zeros, although its mask marks them as measured")
    assert data.meta.reference_is == "twin"
    truth = open_scan(tmp_path / FULL, PLAIN).read_slice(1).kspace
    assert relative_error(data.kspace, truth * lines(8)) < 1e-6


def test_a_mask_that_claims_less_is_refused(tmp_path, kspace):
    source = open_scan(undersampled_file(tmp_path, kspace, lines(4), lines(8)), PLAIN)
    with pytest.raises(DataError, match="contains samples where its mask marks nothing as measured"):
        source.read_slice(1)


@pytest.mark.parametrize(
    ("bend", "reason"),
    [
        (
            lambda twin: twin * kt_lines(),
            "the corresponding file in the folder of fully sampled files is not fully sampled",
        ),
        (lambda twin: twin.flip(-1), "the corresponding fully sampled file belongs to another scan"),
        (lambda twin: twin * torch.tensor([1.0, 1, 1, 1, 0])[:, None, None, None], "is not fully sampled"),
    ],
)
def test_a_twin_that_is_no_truth(tmp_path, kspace, bend, reason):
    full_file(tmp_path, bend(kspace))
    data = open_scan(undersampled_file(tmp_path, kspace, lines(4), lines(4)), PLAIN).read_slice(1)
    assert (data.reference, data.meta.reference_is) == (None, "")
    assert warned(data, reason)
    assert warned(data, "it is not used as reference")


def test_empty_frames_at_the_end(tmp_path, kspace):
    padded = torch.cat([kspace, torch.zeros_like(kspace[:, :2])], 1)
    data = open_scan(full_file(tmp_path, padded), PLAIN).read_slice(2)
    assert torch.equal(data.kspace, kspace[2])
    assert len(data.reference) == N_FRAMES
    assert warned(data, "frames 5, 6 of 7 left out: empty")
    padded[:, 2] = 0
    with pytest.raises(DataError, match="frame 2 of 7: empty"):
        open_scan(full_file(tmp_path, padded), PLAIN).read_slice(2)


def test_a_frame_measured_in_part_is_named(tmp_path, kspace):
    kspace = kspace.clone()
    kspace[:, -1, :, 10:] = 0
    data = open_scan(full_file(tmp_path, kspace), PLAIN).read_slice(0)
    assert warned(data, "incompletely measured frames: frame 4 has 10 of 40 lines, none of them at the centre")
    assert data.reference is None
    assert int(data.mask[-1].sum()) == 10


def test_repeated_frames(tmp_path, kspace):
    repeated = torch.cat([kspace, kspace[:, :2]], 1)
    data = open_scan(full_file(tmp_path, repeated), PLAIN).read_slice(0)
    assert torch.equal(data.kspace, kspace[0])
    assert warned(data, "frames 5, 6 of 7 left out: copies of other lines")


def test_symmetric_motion_without_noise_is_measured(kspace):
    frames = kspace[0][[0, 1, 2, 3, 2, 1]]
    found = find_measured(frames, None, "x")
    assert found.frames == list(range(6))
    assert found.mask.all()
    assert not found.warnings


def test_interpolated_frames(tmp_path, kspace):
    """Twice the frames, every second one the mean of the adjacent frames."""
    n = 2 * N_FRAMES - 1
    dense = torch.zeros(len(kspace), n, *kspace.shape[2:], dtype=kspace.dtype)
    dense[:, ::2] = kspace
    dense[:, 1::2] = (kspace[:, 1:] + kspace[:, :-1]) / 2
    data = open_scan(full_file(tmp_path, dense), PLAIN).read_slice(0)
    assert torch.equal(data.kspace, kspace[0])
    assert warned(data, "frames 1, 3, 5, 7 of 9 left out: averages of adjacent lines")


def test_shared_lines_are_measured_once(tmp_path, kspace):
    """View sharing: even lines are measured in even frames, odd lines in odd ones, the others are copied."""
    shared, mask = kspace.clone(), torch.ones(N_FRAMES, 1, KY, 1, dtype=torch.bool)
    for frame in range(1, N_FRAMES):
        copied = slice(1 - frame % 2, None, 2)
        shared[:, frame, :, copied] = shared[:, frame - 1, :, copied]
        mask[frame, :, copied] = False
    data = open_scan(full_file(tmp_path, shared), PLAIN).read_slice(0)
    assert torch.equal(data.mask, mask)
    assert data.reference is None
    assert acceleration_of(data)[0] == pytest.approx(N_FRAMES / (1 + (N_FRAMES - 1) / 2))
    assert warned(data, "80 of 200 lines are copies of other lines: they are treated as not measured")


@pytest.mark.parametrize("fill", ["copied", "mean"])
def test_lines_filled_from_neighbouring_lines(tmp_path, kspace, fill):
    filled, mask = kspace.clone(), torch.ones(N_FRAMES, 1, KY, 1, dtype=torch.bool)
    mask[:, :, 1:-1:2] = False
    before, after = filled[..., 0:-2:2, :], filled[..., 2::2, :]
    filled[..., 1:-1:2, :] = before if fill == "copied" else (before + after) / 2
    data = open_scan(full_file(tmp_path, filled), PLAIN).read_slice(0)
    assert torch.equal(data.mask, mask)
    assert acceleration_of(data)[0] == pytest.approx(40 / 21)


@pytest.mark.parametrize("sizes", [(KY, KX), (KY - 1, KX - 1)])
def test_partial_fourier_filled_with_conjugates(kspace, sizes):
    ky, kx = sizes
    filled, centre = kspace[0, ..., :ky, :kx].clone(), ky // 2
    columns = slice(1 - kx % 2, None)
    for line in range(centre + 5, ky):
        filled[..., line, columns] = filled[..., 2 * centre - line, columns].flip(-1).conj()
    found = find_measured(filled, None, "x")
    assert found.mask[0, 0, :, 0].tolist() == [line < centre + 5 for line in range(ky)]
    n = N_FRAMES * (ky - centre - 5)
    assert found.warnings == (
        f"{n} of {N_FRAMES * ky} lines are complex conjugates of other lines: they are treated as not measured",
    )


def test_k_space_of_real_images_is_measured(kspace):
    real = fft2c(torch.complex(ifft2c(kspace[0]).abs(), torch.zeros(kspace[0].shape)))
    found = find_measured(real, None, "x")
    assert found.mask.all()
    assert not found.warnings


def test_integers_with_zeros_by_rounding_are_measured(kspace):
    coarse = kspace[0] / kspace[0, :, 0, :4, :4].abs().median()
    coarse = torch.complex(coarse.real.round(), coarse.imag.round())[:, :1]
    assert float((coarse == 0).float().mean()) > 0.03
    found = find_measured(coarse, None, "x")
    assert found.mask.all()
    assert not found.warnings


def test_a_prepared_case_that_claims_more_than_was_measured(tmp_path, kspace):
    """Cases of other programs, and those of earlier versions, are checked when they are read."""
    case, mask = simulate_cine(SimulateConfig(n_frames=N_FRAMES, ky=KY, kx=KX, n_coils=N_COILS))[0], lines(4)
    for reference_is, is_kept in (("all samples", False), ("truth", True)):
        meta = replace(case.meta, reference_is=reference_is)
        write_case(tmp_path / "case.h5", replace(case, kspace=case.kspace * mask, meta=meta))
        data = open_scan(tmp_path / "case.h5", PLAIN).read_slice(0)
        assert torch.equal(data.mask, mask)
        assert (data.reference is not None) == is_kept
        assert warned(data, "lines contain only zeros, although its mask marks them as measured")
    padded = replace(case, kspace=case.kspace.clone())
    padded.kspace[3:] = 0
    write_case(tmp_path / "case.h5", padded)
    data = open_scan(tmp_path / "case.h5", PLAIN).read_slice(0)
    assert torch.equal(data.kspace, case.kspace[:3])
    assert torch.equal(data.reference, case.reference[:3])
    assert len(data.meta.frame_times_ms) == 3


@pytest.mark.parametrize("write", [write_v5, write_v73])
def test_axes_in_the_opposite_order(tmp_path, kspace, write):
    standard = kspace.transpose(0, 1).numpy()
    path = write(tmp_path / "cine_sax.mat", kspace_full=np.ascontiguousarray(standard.T))
    source = open_scan(path, PLAIN)
    assert source.n_slices == 3
    for number in range(3):
        data = source.read_slice(number)
        assert torch.equal(data.kspace, kspace[number])
        assert warned(data, "the axes are stored in the opposite order: read as 5 frames, 3 slices, 3 coils, 40 x 36")


def test_mask_and_k_space_in_the_opposite_order(tmp_path, kspace):
    mask = kt_lines()
    stored = mask[:, 0].expand(N_FRAMES, KY, KX).double().numpy()
    write_v73(tmp_path / ACCELERATED.replace(".mat", "_mask.mat"), mask04=stored.T)
    standard = (kspace * mask).transpose(0, 1).numpy()
    data = open_scan(write_v73(tmp_path / ACCELERATED, kspace_sub04=standard.T), PLAIN).read_slice(2)
    assert torch.equal(data.mask, mask)
    assert torch.equal(data.kspace, kspace[2] * mask)


def test_axes_in_an_unknown_order(tmp_path, kspace):
    stored = kspace.permute(3, 0, 4, 1, 2).numpy()
    with pytest.raises(DataError, match="the axes of 'kspace_full' are in an unknown order: 40 x 3 x 36 x 5 x 3"):
        open_scan(write_v73(tmp_path / "cine_sax.mat", kspace_full=stored), PLAIN)
    with pytest.raises(UnsupportedError, match="MATLAB size"):
        open_scan(write_v73(tmp_path / "cine_sax.mat", kspace_full=stored[0]), PLAIN)


def test_exchanged_frames_and_slices_are_refused(tmp_path, kspace):
    source = open_scan(write_v73(tmp_path / FULL, kspace_full=kspace.numpy()), PLAIN)
    with pytest.raises(DataError, match="adjacent slices are more similar than adjacent frames") as caught:
        source.read_slice(0)
    assert "the order in MATLAB is (kx, ky, coils, slices, frames)" in caught.value.hint


@pytest.fixture
def raw_scan():
    """A scan whose lines carry noise; its samples of a frame and a line by their numbers."""
    scan = small_scan(n_frames=4)
    rng = np.random.default_rng(0)
    scan.samples = [samples + 0.01 * rng.standard_normal(samples.shape).astype(np.float32) for samples in scan.samples]
    index = scan.heads["idx"]
    return scan, {(int(i["phase"]), int(i["kspace_encode_step_1"])): row for row, i in enumerate(index)}


def test_shared_lines_of_a_raw_scan(raw_scan, tmp_path):
    scan, row = raw_scan
    before = open_scan(scan.write(tmp_path / "a.h5"), PLAIN).read_slice(0)
    for line in range(0, 12, 2):
        scan.samples[row[2, line]] = scan.samples[row[1, line]]
    data = open_scan(scan.write(tmp_path / "b.h5"), PLAIN).read_slice(0)
    is_lost = ~data.mask[:, 0, :, 0]
    assert is_lost.sum(1).tolist() == [0, 0, 6, 0]
    assert torch.equal(data.kspace, before.kspace * data.mask)
    assert (before.meta.reference_is, data.reference) == ("all samples", None)
    assert acceleration_of(data)[0] == pytest.approx(48 / 42)
    assert warned(data, "6 of 48 lines are copies of other lines: they are treated as not measured")


def test_repeated_frames_of_a_raw_scan_are_named(raw_scan, tmp_path):
    scan, row = raw_scan
    for line in range(12):
        scan.samples[row[3, line]] = scan.samples[row[2, line]]
    data = open_scan(scan.write(tmp_path / "a.h5"), PLAIN).read_slice(0)
    assert data.mask.all()
    assert warned(data, "frame 3 of 4 not measured: copies of other lines; --frames 0:3 excludes them")


def test_maps_of_a_case_are_scaled_to_unit_norm(make_cine, tmp_path):
    cine = make_cine()
    write_case(tmp_path / "case.h5", cine)
    intact = open_scan(tmp_path / "case.h5", PLAIN).read_slice(0)
    assert torch.equal(intact.csm, cine.csm)
    assert not any("scaled" in text for text in intact.meta.warnings)
    ramp = torch.linspace(0.5, 2, cine.csm.shape[-1])
    write_case(tmp_path / "other.h5", replace(cine, csm=cine.csm * ramp))
    other = open_scan(tmp_path / "other.h5", PLAIN).read_slice(0)
    torch.testing.assert_close(other.csm, cine.csm)
    assert any("squared coil maps was not 1" in text for text in other.meta.warnings)
