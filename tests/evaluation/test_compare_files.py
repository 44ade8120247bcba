"""Images of any program against their reference: the scores do not depend on the file format."""

from dataclasses import replace

import h5py
import nibabel
import numpy as np
import pydicom
import pytest
import torch
from conftest import beating_cine

import cinerecon
from cinerecon.cine_meta import CineMeta, Geometry
from cinerecon.errors import ConfigError, DataError, FileError, NotACineError, ShapeError
from cinerecon.evaluation.compare_files import compare_files
from cinerecon.evaluation.figures import draw_candidates, draw_images, shown_cases
from cinerecon.evaluation.image_files import read_reference, read_series
from cinerecon.evaluation.images import image_file
from cinerecon.evaluation.orientation import match_slices
from cinerecon.evaluation.request import require_files
from cinerecon.evaluation.results import write_results
from cinerecon.evaluation.score import read_scores
from cinerecon.image import CineImage, as_map, locate_first_voxel
from cinerecon.io.bart import write_cfl
from cinerecon.io.export import FOLDER, FORMATS, Target, export
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.nifti import write_nifti
from cinerecon.io.export.npz import write_npz
from cinerecon.io.ismrmrd.images import write_mrd_images
from cinerecon.io.mrd_stream.images import error_image
from cinerecon.io.mrd_stream.messages import message_bytes
from cinerecon.io.raw_file import read_raw_scan, write_raw_scan
from cinerecon.metrics import find_heart, psnr, xt_ssim
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

PLACE = Geometry((0.0, 0.0, 0.0), (0.6, 0.8, 0.0), (-0.8, 0.6, 0.0), (0.0, 0.0, 1.0))
HEIGHTS = (-10.0, 0.0, 10.0)
MOVED = np.eye(4) + np.outer([0, 0, 1, 0], [0, 0, 0, 300])


@pytest.fixture
def truth(tmp_path):
    """Two slices of 4 frames, complex, and the file that holds them."""
    generator = np.random.default_rng(0)
    images = (generator.normal(size=(2, 4, 20, 24)) + 1j * generator.normal(size=(2, 4, 20, 24))).astype(np.complex64)
    np.savez(tmp_path / "truth.npz", reference=images)
    return tmp_path / "truth.npz", images


def cines(images):
    return [CineImage(image, meta=CineMeta(slice=number)) for number, image in enumerate(images)]


def test_every_kind_of_file_gives_the_same(truth, tmp_path):
    path, images = truth
    noisy = images + 0.1 * np.random.default_rng(1).normal(size=images.shape).astype(np.float32)
    write_npz(tmp_path / "ours.npz", cines(noisy))
    write_mrd_images(tmp_path / "images.h5", cines(noisy))
    np.save(tmp_path / "array.npy", np.abs(noisy))
    files = [tmp_path / name for name in ("ours.npz", "images.h5", "array.npy")]
    scores = compare_files(files, path)
    assert [(s.method, s.slice) for s in scores] == [(f.stem, n) for f in files for n in (0, 1)]
    expected = [psnr(torch.from_numpy(abs(a)), torch.from_numpy(abs(b))) for a, b in zip(noisy, images, strict=True)]
    assert [s.psnr for s in scores] == pytest.approx(expected * 3, abs=1e-4)


def placed(images, spacing_mm=8.0):
    """Slices one above the other, of two pixel sizes along y and x."""
    place = Geometry((3.0, -20.0, 5.0), (0.8, 0.6, 0.0), (-0.6, 0.8, 0.0), (0.0, 0.0, 1.0))
    return [
        CineImage(
            image,
            method="cgsense",
            meta=CineMeta(
                slice=number,
                pixel_size_mm=(1.5, 2.0),
                geometry=replace(place, position_mm=(3.0, -20.0, 5.0 + spacing_mm * number)),
            ),
        )
        for number, image in enumerate(images)
    ]


@pytest.mark.parametrize("ending", [*FORMATS, FOLDER])
def test_images_of_every_format_that_recon_writes_are_read(truth, tmp_path, ending):
    """Pixels, positions and pixel sizes; pictures, which contain grey levels, are refused."""
    _, images = truth
    cines = placed(images)
    target = Target.parse(str(tmp_path / (ending if ending == FOLDER else f"ours{ending}")))
    export(cines, target)
    if ending in (".png", ".gif", ".mp4"):
        with pytest.raises(FileError, match="grey levels, which cannot be measured"):
            read_series(target.path)
        return
    series = read_series(target.path)
    is_dicom = ending in (FOLDER, ".dcm")
    scale = np.abs(images).max() / 4095 if is_dicom else 1e-6  # DICOM stores 12 bits
    for own, cine in zip(series, cines, strict=True):
        image = own.image.abs().numpy()
        factor = image.max() / np.abs(cine.image).max() if is_dicom else 1.0
        assert np.abs(image / factor - np.abs(cine.image)).max() <= scale
        if ending != ".cfl":  # BART has no geometry
            assert own.pixel_size_mm == pytest.approx((1.5, 2.0), abs=1e-5)
            for name in ("position_mm", "read_dir", "phase_dir", "slice_dir"):
                assert np.allclose(getattr(own.geometry, name), getattr(cine.meta.geometry, name), atol=1e-4), name


def test_magnitude_archives_have_positions_and_are_sorted_by_time(truth, tmp_path):
    """As in `simulate --from`, whose scans are compared with the same archive."""
    _, images = truth
    order = [2, 3, 0, 1]
    arrays = {
        "magnitude": np.abs(images[0])[order],
        "trigger_time_ms": 40.0 * np.arange(4)[order],
        "pixel_spacing_mm": (1.5, 2.0),
        "slice_thickness_mm": 8.0,
        "image_orientation_patient": (0.8, 0.6, 0, -0.6, 0.8, 0),
        "image_position_patient": (3.0, -20.0, 5.0),
    }
    np.savez(tmp_path / "cine.npz", **arrays)
    for series in (read_series(tmp_path / "cine.npz"), read_reference(tmp_path / "cine.npz")):
        (own,) = series
        np.testing.assert_allclose(own.image, np.abs(images[0]), rtol=1e-6)
        assert own.pixel_size_mm == (1.5, 2.0)
        corner, *_ = locate_first_voxel(own.geometry, own.pixel_size_mm, own.image.shape[1:])
        assert corner == pytest.approx((3, -20, 5))


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".npz", ".npy"])
def test_endings_in_capitals(truth, tmp_path, ending):
    _, images = truth
    path = tmp_path / f"ours{ending}"
    if ending == ".npy":
        np.save(path, images)
    else:
        export(placed(images), Target.parse(str(path)))
    path = path.rename(tmp_path / f"OURS{ending.upper()}")
    for own, image in zip(read_series(path), images, strict=True):
        np.testing.assert_allclose(own.image.abs(), np.abs(image), rtol=1e-6)


@pytest.mark.parametrize("ending", [".h5", ".mrd", ".mrd2"])
def test_slices_of_unlike_size_are_read_from_series_of_their_own(truth, tmp_path, ending):
    _, images = truth
    cines = placed([images[0], images[1, :, :18, :20]])
    target = Target.parse(str(tmp_path / f"ours{ending}"))
    export(cines, target)
    for own, cine in zip(read_series(target.path), cines, strict=True):
        assert np.array_equal(own.image.numpy(), cine.image)


def test_images_of_other_programs_in_a_group_named_by_the_date(truth, tmp_path):
    _, images = truth
    write_mrd_images(tmp_path / "ours.h5", placed(images))
    with h5py.File(tmp_path / "ours.h5", "r+") as file:
        file.move("dataset", "2026-01-01 10:00:00")
    assert np.array_equal(read_series(tmp_path / "ours.h5")[1].image.numpy(), images[1])
    with h5py.File(tmp_path / "ours.h5", "r+") as file:
        file.copy("2026-01-01 10:00:00", "2026-01-02 10:00:00")
    with pytest.raises(DataError, match="images in 2 groups: '2026-01-01 10:00:00', '2026-01-02"):
        read_series(tmp_path / "ours.h5")


def test_damaged_or_foreign_streams_are_refused(truth, tmp_path):
    _, images = truth
    for ending in (".mrd", ".mrd2"):
        path = tmp_path / f"ours{ending}"
        export(placed(images), Target.parse(str(path)))
        path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(FileError, match="the stream is truncated"):
            read_series(path)
    simulate_scan(tmp_path / "scan.mrd2", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2))
    with pytest.raises(DataError, match="the stream contains no images") as error:
        read_series(tmp_path / "scan.mrd2")
    assert "cinerecon recon scan.mrd2" in error.value.hint


def test_streams_without_an_image_of_each_slice_are_refused(truth, tmp_path):
    """Velocities alone; and what a server sends where a slice fails, an image that shows the error."""
    _, images = truth
    velocity = [replace(cine, velocity=np.abs(cine.image), venc_cm_s=150.0) for cine in placed(images)]
    export(velocity, Target.parse(str(tmp_path / "ours.mrd")))
    assert len(read_series(tmp_path / "ours.mrd")) == 2
    with pytest.raises(DataError, match="map of velocity, not a series of images"):
        read_series(tmp_path / "ours.velocity.mrd")
    of_others = (tmp_path / "ours.velocity.mrd").read_bytes().replace(b"velocity in cm/s", b"phase of sets 01")
    (tmp_path / "ours.velocity.mrd").write_bytes(of_others)
    with pytest.raises(DataError, match="there are only phase"):
        read_series(tmp_path / "ours.velocity.mrd")
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2))
    raw = read_raw_scan(tmp_path / "scan.h5")
    failed = message_bytes(error_image(raw.header, raw.heads[-1], 1, "NaN in acquisition 7"))
    content = (tmp_path / "ours.mrd").read_bytes()
    (tmp_path / "answer.mrd").write_bytes(content[:-2] + failed + content[-2:])
    with pytest.raises(DataError, match="slice 1 failed on the server"):
        read_series(tmp_path / "answer.mrd")


def test_arrays_of_bart_with_coils_are_no_images(tmp_path):
    write_cfl(tmp_path / "k.cfl", tmp_path / "k.hdr", [np.ones((3, 8, 8), np.complex64)], (3, 8, 8), (3, 1, 0), "bart")
    with pytest.raises(DataError, match="dimension 3 of the array is 3, but must be 1 for images"):
        read_series(tmp_path / "k.cfl")


def test_results_of_files_make_a_page(truth, tmp_path):
    path, images = truth
    np.save(tmp_path / "half.npy", images / 2)
    scores = compare_files([tmp_path / "half.npy"], path, output=tmp_path / "out", pictures=1)
    compare_files([tmp_path / "half.npy"], path, output=tmp_path / "out", pictures=1)
    assert len(read_scores(tmp_path / "out")) == len(scores) == 2
    assert scores[0].nmse == pytest.approx(0.25, rel=1e-5)
    page = write_results(scores, tmp_path / "out")[-1].read_text(encoding="utf-8")
    assert "as given, coils unknown, 2 slices" in page


def test_images_that_do_not_fit_are_refused(truth, tmp_path):
    path, images = truth
    np.save(tmp_path / "short.npy", images[:, :3])
    with pytest.raises(ShapeError, match=r"\(3, 20, 24\)"):
        compare_files([tmp_path / "short.npy"], path)
    np.save(tmp_path / "flat.npy", images[0, 0])
    with pytest.raises(DataError, match="expected images"):
        compare_files([tmp_path / "flat.npy"], path)
    np.savez(tmp_path / "other.npz", kspace=images)
    with pytest.raises(DataError, match="holds kspace"):
        compare_files([tmp_path / "other.npz"], path)
    np.save(tmp_path / "nan.npy", np.full_like(images, np.nan))
    with pytest.raises(DataError, match="not finite"):
        compare_files([tmp_path / "nan.npy"], path)
    with pytest.raises(FileError):
        compare_files([tmp_path / "missing.npy"], path)
    with pytest.raises(ConfigError, match="--reference is missing"):
        require_files([path], None, [])
    with pytest.raises(ConfigError, match="cannot be given"):
        require_files([path], path, ["scan.h5"])


def test_images_that_are_too_small_are_named(truth, tmp_path):
    _, images = truth
    for name in ("ours", "truth"):
        np.save(tmp_path / f"{name}.npy", images[..., :10])
    with pytest.raises(ShapeError, match="SSIM needs frames") as caught:
        compare_files([tmp_path / "ours.npy"], tmp_path / "truth.npy")
    assert caught.value.where == str(tmp_path / "ours.npy")


def test_files_of_one_name_are_rows_of_their_own(truth, tmp_path):
    path, images = truth
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        np.save(tmp_path / folder / "ok.npy", images * (1 + number))
    files = [tmp_path / folder / "ok.npy" for folder in ("one", "two", "one")]
    scores = compare_files(files, path)
    assert [(s.method, s.slice) for s in scores] == [("one/ok", 0), ("one/ok", 1), ("two/ok", 0), ("two/ok", 1)]
    assert scores[0].nmse == pytest.approx(0, abs=1e-9)
    assert scores[2].nmse == pytest.approx(1, rel=1e-4)
    assert scores[2].marks == "two/ok: brighter by a factor of 2? --fit-scale corrects it"


def test_slices_of_different_sizes_are_all_read(tmp_path):
    generator = np.random.default_rng(0)
    images = [generator.normal(size=(3, y, 16)).astype(np.complex64) for y in (16, 20, 16)]
    truth = [CineImage(one, one, CineMeta(slice=number)) for number, one in enumerate(images)]
    write_npz(tmp_path / "truth.npz", truth)
    write_npz(tmp_path / "ours.npz", cines(images))
    write_mrd_images(tmp_path / "images.h5", cines(images))
    scores = compare_files([tmp_path / "ours.npz", tmp_path / "images.h5"], tmp_path / "truth.npz")
    assert [s.slice for s in scores] == [0, 1, 2] * 2
    assert all(s.nmse == pytest.approx(0, abs=1e-9) for s in scores)


def test_nifti_and_dicom_are_read_in_their_own_units(truth, tmp_path):
    """The factor of DICOM of this package is that of its real world values; that of other programs is unknown."""
    path, images = truth
    write_nifti(tmp_path / "ours.nii.gz", cines(images))
    write_dicom(tmp_path / "dicom", placed(images))
    for name in ("ours.nii.gz", "dicom"):
        scores = compare_files([tmp_path / name], path)
        assert len(scores) == 2
        assert all(s.nmse < 1e-6 and not s.marks for s in scores)
    for file in (tmp_path / "dicom").iterdir():
        image = pydicom.dcmread(file)
        image.Manufacturer = "another"
        image.save_as(file)
    for profile in ("cine", "cmrxrecon24"):  # with the second, only some measures depend on the scale
        scores = compare_files([tmp_path / "dicom"], path, profile=profile)
        assert all("brighter" in s.marks and "flipped" not in s.marks for s in scores)
    fitted = compare_files([tmp_path / "dicom"], path, fit_scale=True)
    assert all(s.nmse < 1e-6 and s.marks.startswith("dicom: multiplied by 0.") for s in fitted)
    with pytest.raises(DataError, match="no DICOM cines"):
        compare_files([tmp_path], path)


def test_the_scale_is_fitted_to_all_slices_together(truth, tmp_path):
    path, images = truth
    np.save(tmp_path / "ours.npy", np.stack([1000 * images[0], 1300 * images[1]]))
    output = tmp_path / "out"
    before, after = (
        compare_files([tmp_path / "ours.npy"], path, fit_scale=fit, output=output) for fit in (False, True)
    )
    a, b = (float(np.square(np.abs(image)).sum()) for image in images)
    factor = (1000 * a + 1300 * b) / (1000**2 * a + 1300**2 * b)
    assert [s.nmse for s in after] == pytest.approx([(1000 * factor - 1) ** 2, (1300 * factor - 1) ** 2], rel=1e-3)
    assert all(f"multiplied by {factor:.4g} (--fit-scale)" in s.marks for s in after)
    assert len(read_scores(output)) == len(before) + len(after) == 4


def test_maps_in_dicom_are_no_images(truth, tmp_path):
    path, images = truth
    maps = [as_map(replace(cine, noise=np.ones(cine.image.shape, np.float32)), "snr") for cine in placed(images)]
    write_dicom(tmp_path / "dicom", maps)
    with pytest.raises(NotACineError, match="image type snr"):
        compare_files([tmp_path / "dicom"], path)


def test_real_images_with_negative_values_are_marked(truth, tmp_path):
    path, images = truth
    np.save(tmp_path / "real.npy", images.real)
    ringing = np.abs(images) - 0.05 * (np.abs(images) < 0.04)
    assert ringing.min() < 0
    np.save(tmp_path / "interpolated.npy", ringing)
    np.save(tmp_path / "complex.npy", images)
    of_real, *others = (compare_files([tmp_path / f"{n}.npy"], path) for n in ("real", "interpolated", "complex"))
    assert all("real: negative values, of which the magnitude is compared" in score.marks for score in of_real)
    assert not any(score.marks for scores in others for score in scores)
    scores = compare_files([tmp_path / "complex.npy"], tmp_path / "real.npy")
    assert all("the reference has negative values" in score.marks for score in scores)


@pytest.mark.filterwarnings("error")
def test_an_empty_truth_is_a_short_error(truth, tmp_path):
    _, images = truth
    np.save(tmp_path / "empty.npy", 0 * images)
    np.save(tmp_path / "ours.npy", images)
    with pytest.raises(DataError, match="frames 0 to 3 of 4: empty"):
        compare_files([tmp_path / "ours.npy"], tmp_path / "empty.npy")


def test_figures_show_slices_evenly_distributed_with_the_shape_of_their_pixels(tmp_path):
    image = beating_cine(4, (40, 48)).numpy().astype(np.complex64)
    meta = CineMeta(pixel_size_mm=(3.0, 1.0))
    whole = [CineImage(image, image, replace(meta, slice=number)) for number in range(3)]
    write_npz(tmp_path / "truth.npz", whole)
    scores = compare_files([tmp_path / "truth.npz"], tmp_path / "truth.npz", output=tmp_path / "results", pictures=1)
    stored = [score for score in scores if image_file(tmp_path / "results", score.task).exists()]
    assert [score.slice for score in stored] == [1]
    (case,) = shown_cases(scores, tmp_path / "results")
    for figure in (draw_images(case), draw_candidates(case)):
        figure.canvas.draw()
        box = figure.axes[0].get_window_extent()
        assert box.height / box.width == pytest.approx(40 * 3 / 48, rel=0.02)


@pytest.mark.filterwarnings("error")
def test_a_dicom_folder_may_hold_one_frame_of_each_slice(truth, tmp_path):
    _, images = truth
    write_dicom(tmp_path / "dicom", placed(images[:, :1]))
    series = read_series(tmp_path / "dicom")
    assert len(series) == 2
    for own, image in zip(series, images, strict=True):
        assert own.image.shape == (1, 20, 24)
        magnitude = np.abs(image[:1])
        assert np.allclose(own.image / own.image.max(), magnitude / magnitude.max(), atol=1e-3)


def test_the_truth_may_be_the_scan_that_carries_it(full_scan, tmp_path):
    request = ReconRequest(full_scan, "zerofilled", (str(tmp_path / "ours.npz"),), undersample="gaussian:2")
    (report,) = reconstruct_scan(request).slices
    (score,) = compare_files([tmp_path / "ours.npz"], full_scan)
    assert score.psnr == pytest.approx(report.quality["psnr"], abs=1e-3)
    simulate_scan(tmp_path / "fast.h5", SimulateConfig(n_frames=4, ky=24, kx=24, n_coils=2, undersample="gaussian:2"))
    assert read_reference(tmp_path / "fast.h5")[0].image.shape == (4, 24, 24), "a simulated scan carries it"


def test_the_ends_of_a_real_time_scan_are_not_adjacent(tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=10, ky=48, kx=48, n_coils=1, beats=3))
    (truth,) = read_reference(tmp_path / "scan.h5")
    assert truth.is_real_time
    image = (truth.image + 0.2 * truth.image.roll(1, 0)) / 1.2
    np.save(tmp_path / "blurred.npy", image.numpy())
    (score,) = compare_files([tmp_path / "blurred.npy"], tmp_path / "scan.h5")
    heart, peak = find_heart(truth.image), float(truth.image.abs().max())
    cropped = heart.crop(image), heart.crop(truth.image), peak
    assert score.xt_ssim == pytest.approx(xt_ssim(*cropped, is_cyclic=False), abs=1e-6)
    assert score.xt_ssim != pytest.approx(xt_ssim(*cropped), abs=1e-5)


def test_a_fully_sampled_scan_of_any_format_is_a_truth(tmp_path):
    simulate_scan(tmp_path / "scan.h5", SimulateConfig(n_frames=3, ky=16, kx=16, n_coils=2))
    with h5py.File(tmp_path / "scan.h5", "r+") as file:
        del file["truth"], file["dataset/truth"]
    (expected,) = read_reference(tmp_path / "scan.h5")
    for name in ("scan.mrd", "scan.mrd2", "named by another program"):
        write_raw_scan(read_raw_scan(tmp_path / "scan.h5"), tmp_path / "scan.mrd", force=True)
        path = tmp_path / name
        if name == "scan.mrd2":
            write_raw_scan(read_raw_scan(tmp_path / "scan.h5"), path)
        elif name != "scan.mrd":
            (tmp_path / "scan.mrd").rename(path)
        (found,) = read_reference(path)
        assert torch.equal(found.image, expected.image) and bool(found.image.any())


def at(height, shift=0.0):
    return replace(PLACE, position_mm=(5.0 + shift, 2.0, height))


def sized_cines(heights=HEIGHTS, noise=0.0):
    """Slices of three sizes of a heart, by their heights; each the same wherever it is in the list."""
    whole = beating_cine(4, (40, 36)).numpy()
    images = {h: np.roll(whole, n * 7, -1) * (1 + n) for n, h in enumerate(HEIGHTS)}
    generator = np.random.default_rng(0)
    return [
        CineImage(
            (images[h] + noise * generator.normal(size=whole.shape)).astype(np.complex64),
            meta=CineMeta(slice=n, geometry=at(h), pixel_size_mm=(2.0, 2.0), slice_thickness_mm=8.0),
        )
        for n, h in enumerate(heights)
    ]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.h5", write_mrd_images),
        ("x.npz", write_npz),
        ("x.nii.gz", write_nifti),
        ("dicom", write_dicom),
    ],
)
def test_slices_are_matched_by_position(tmp_path, name, write):
    write_npz(tmp_path / "truth.npz", sized_cines())
    write(tmp_path / name, sized_cines(HEIGHTS[::-1], noise=0.01))
    scores = compare_files([tmp_path / name], tmp_path / "truth.npz", profile="cmrxrecon23")  # own scale
    assert [score.slice for score in scores] == [0, 1, 2]
    assert min(score.psnr for score in scores) > 30
    assert not any("slice" in score.marks or "flipped" in score.marks for score in scores)


def test_slices_of_several_stacks_are_matched_by_position(tmp_path):
    """Short and long axes may cross in the centre of both; DICOM has a series for each stack."""
    cines = sized_cines()
    axes = ((0.0, 0.0, -1.0), (0.6, 0.8, 0.0), (0.8, -0.6, 0.0))
    cross = Geometry(cines[1].meta.geometry.position_mm, *axes)
    long = CineImage(cines[0].image[:, ::-1].copy(), meta=replace(cines[0].meta, slice=3, geometry=cross))
    write_npz(tmp_path / "truth.npz", [long, *cines])
    write_dicom(tmp_path / "dicom", [*cines, long])
    scores = compare_files([tmp_path / "dicom"], tmp_path / "truth.npz")
    assert [score.slice for score in scores] == [0, 1, 2, 3]
    assert all(score.nmse < 1e-6 and not score.marks for score in scores)
    write_dicom(tmp_path / "again", [replace(cine, image=2 * cine.image) for cine in cines])
    for file in (tmp_path / "again").iterdir():
        file.rename(tmp_path / "dicom" / f"again_{file.name}")
    with pytest.raises(DataError, match="3 DICOM cines are found"):
        compare_files([tmp_path / "dicom"], tmp_path / "truth.npz")


@pytest.mark.parametrize(
    ("name", "write"),
    [("x.h5", write_mrd_images), ("x.npz", write_npz), ("x.nii.gz", write_nifti), ("dicom", write_dicom)],
)
def test_other_pixel_sizes_are_marked(tmp_path, name, write):
    write_npz(tmp_path / "truth.npz", sized_cines())
    wrong = [replace(c, meta=replace(c.meta, pixel_size_mm=(2.0, 1.5))) for c in sized_cines(noise=0.01)]
    write(tmp_path / name, wrong)
    scores = compare_files([tmp_path / name], tmp_path / "truth.npz", profile="cmrxrecon23")
    assert all("pixels (x, y) are 1.5 x 2 mm, those of the reference 2 x 2 mm" in score.marks for score in scores)


def several_slices(n_slices=4, seed=0):
    """Slices of a simulated heart, ``(slices, frames, y, x)`` complex64."""
    config = SimulateConfig(n_slices=n_slices, n_frames=12, ky=64, kx=56, n_coils=1, seed=seed)
    return np.stack([part.reference.numpy() for part in simulate_cine(config)])


@pytest.mark.parametrize("ending", ["npy", "npz", "cfl"])
def test_slices_and_frames_exchanged_in_both_files_are_refused(tmp_path, ending):
    images = several_slices()
    for name, own in (("right", images), ("wrong", images.swapaxes(0, 1))):
        path = tmp_path / f"{name}.{ending}"
        if ending == "npy":
            np.save(path, own)
        elif ending == "npz":
            np.savez(path, reference=own, image=own)
        else:
            export(cines(own), Target.parse(str(path)))
    assert len(compare_files([tmp_path / f"right.{ending}"], tmp_path / f"right.{ending}")) == 4
    with pytest.raises(DataError, match="adjacent slices are more similar than adjacent frames") as error:
        compare_files([tmp_path / f"wrong.{ending}"], tmp_path / f"wrong.{ending}")
    assert error.value.hint == "exchange slices and frames, in the images as well"


def test_inverted_images_are_not_those_of_another_slice(tmp_path):
    images = np.abs(several_slices())
    np.save(tmp_path / "truth.npy", images)
    np.save(tmp_path / "inverted.npy", images.max() - images)
    for score in compare_files([tmp_path / "inverted.npy"], tmp_path / "truth.npy"):
        assert "intensities are not proportional to those of the reference" in score.marks
        assert "looks like slice" not in score.marks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_references_with_slices_in_order_are_accepted(tmp_path, seed, noise):
    images = several_slices(seed=seed)
    generator = np.random.default_rng(seed)
    peak = np.abs(images).max()
    np.save(tmp_path / "truth.npy", images + np.float32(noise * peak) * generator.normal(size=images.shape))
    assert len(read_reference(tmp_path / "truth.npy")) == 4


def test_the_reference_of_repeated_simulations_is_accepted(tmp_path):
    images = several_slices(n_slices=1)
    np.save(tmp_path / "truth.npy", images.repeat(3, 0))
    assert len(read_reference(tmp_path / "truth.npy")) == 3


def test_some_of_the_slices_are_enough(tmp_path):
    write_npz(tmp_path / "truth.npz", sized_cines())
    write_npz(tmp_path / "one.npz", sized_cines(HEIGHTS[2:], noise=0.01))
    (score,) = compare_files([tmp_path / "one.npz"], tmp_path / "truth.npz")
    assert score.slice == 2
    assert score.psnr > 30


@pytest.mark.parametrize("affine", [np.eye(4), np.diag([2.0, 2, 8, 1]), np.diag([-2.0, -2, 8, 1])])
def test_nifti_files_of_programs_without_positions_are_compared_as_they_are(tmp_path, affine):
    """The affine of such files has no translation; its directions are not those of the images."""
    write_npz(tmp_path / "truth.npz", sized_cines())
    pixels = np.stack([np.abs(cine.image) for cine in sized_cines(noise=0.01)]).transpose(3, 2, 0, 1)
    nibabel.save(nibabel.Nifti1Image(pixels.astype(np.float32), affine), tmp_path / "x.nii.gz")
    scores = compare_files([tmp_path / "x.nii.gz"], tmp_path / "truth.npz")
    assert all(score.psnr > 30 and not score.marks for score in scores)
    nibabel.save(nibabel.Nifti1Image(pixels.astype(np.float32), MOVED @ affine), tmp_path / "x.nii.gz")
    with pytest.raises(DataError, match=r"slice 0 is .* mm from the nearest slice"):
        compare_files([tmp_path / "x.nii.gz"], tmp_path / "truth.npz")


def test_a_slice_at_another_position_is_refused(tmp_path):
    write_npz(tmp_path / "truth.npz", sized_cines())
    moved = [replace(c, meta=replace(c.meta, geometry=at(h + 60))) for c, h in zip(sized_cines(), HEIGHTS, strict=True)]
    write_npz(tmp_path / "moved.npz", moved)
    with pytest.raises(DataError, match="slice 0 is 40 mm from the nearest slice of the reference"):
        compare_files([tmp_path / "moved.npz"], tmp_path / "truth.npz")


def test_without_positions_another_order_is_marked(tmp_path):
    write_npz(tmp_path / "truth.npz", sized_cines())
    np.save(tmp_path / "bare.npy", np.stack([cine.image for cine in sized_cines(HEIGHTS[::-1], noise=0.01)]))
    scores = compare_files([tmp_path / "bare.npy"], tmp_path / "truth.npz")
    assert [score.marks for score in scores] == [
        "bare: slice 0 looks like slice 2 of the reference?",
        "",
        "bare: slice 2 looks like slice 0 of the reference?",
    ]
    np.save(tmp_path / "two.npy", np.stack([cine.image for cine in sized_cines()[:2]]))
    with pytest.raises(ShapeError):
        compare_files([tmp_path / "two.npy"], tmp_path / "truth.npz")


def test_positions_that_do_not_distinguish_slices_are_not_used():
    same = [at(0.0)] * 3
    assert match_slices(same, [at(h) for h in HEIGHTS], "") is None
    assert match_slices([None], [at(0.0)], "") is None
    assert match_slices([PLACE], [at(30.0)], "") is None, "a position that the writer left out"
    assert match_slices([at(0.3, shift=3)], [at(0.0)], "") == [0], "a shift in the plane is none of the slice"


def test_slices_that_cross_are_not_the_same():
    long_axis = replace(at(0.0), slice_dir=(0.0, 1.0, 0.0))
    with pytest.raises(DataError, match="not parallel"):
        match_slices([long_axis], [at(0.0)], "x.npz")


@pytest.fixture(scope="module")
def beating_scan(tmp_path_factory):
    """A scan with as many coils as frames, its coil maps ``(coils, y, x)``, and a zero-filled image."""
    path = tmp_path_factory.mktemp("maps") / "scan.h5"
    simulate_scan(path, SimulateConfig(n_frames=8, ky=64, kx=56, n_coils=8))
    (data,) = cinerecon.read_slices(path)
    (part,) = cinerecon.reconstruct(path, method="zerofilled", undersample="gaussian:8,acs=8")
    return path, data.csm.numpy(), part.cine


def test_coil_maps_are_no_images_of_the_scan(beating_scan, tmp_path):
    scan, maps, _ = beating_scan
    cine = CineImage(maps, meta=CineMeta(), method="maps")
    np.save(tmp_path / "maps.npy", maps)
    np.save(tmp_path / "half.npy", np.abs(maps).astype(np.float16))
    for name in ("maps.nii.gz", "maps.cfl", "maps.h5"):
        export([cine], Target.parse(str(tmp_path / name)))
    inside = np.hypot(*np.mgrid[-1:1:64j, -1:1:56j]) < 0.8
    np.save(tmp_path / "masked.npy", maps * inside)
    for name in ("maps.npy", "half.npy", "masked.npy", "maps.nii.gz", "maps.cfl", "maps.h5"):
        with pytest.raises(DataError, match="the same in every pixel, as for coil sensitivity maps"):
            compare_files([tmp_path / name], scan)


def test_what_does_not_resemble_the_truth_is_marked_and_poor_images_are_not(beating_scan, tmp_path):
    scan, maps, zerofilled = beating_scan
    ramp = np.linspace(0.5, 2.0, 56, dtype=np.float32)  # maps of another norm
    np.save(tmp_path / "maps.npy", maps * ramp)
    np.save(tmp_path / "poor.npy", zerofilled.image)
    other, poor = compare_files([tmp_path / "maps.npy", tmp_path / "poor.npy"], scan)
    assert "do not resemble the reference, correlation" in other.marks
    assert "resemble" not in poor.marks


@pytest.mark.parametrize("ending", [".h5", ".mrd", ".mrd2", ".nii.gz", ".nii", ".cfl"])
def test_maps_that_recon_wrote_are_no_images(truth, tmp_path, ending):
    _, images = truth
    level = [np.full(image.shape, 0.1, np.float32) + 0.01 * np.abs(image) for image in images]
    mapped = [
        replace(cine, noise=own, noise_source="noise by formula", uncertainty=own, uncertainty_source="8 variants")
        for cine, own in zip(placed(images), level, strict=True)
    ]
    export(mapped, Target.parse(str(tmp_path / f"ours{ending}")))
    assert len(read_series(tmp_path / f"ours{ending}")) == 2
    for quantity, name in (("snr", "SNR"), ("noise", "noise"), ("uncertainty", "uncertainty")):
        with pytest.raises(DataError, match=f"this is a map of {name}, not a series of images"):
            read_series(tmp_path / f"ours.{quantity}{ending}")


def test_warnings_of_the_reader_are_remarks(truth, tmp_path):
    """A NIfTI header whose sform and qform disagree; that times are unknown has no effect."""
    _, images = truth
    pixels = np.abs(images).transpose(3, 2, 0, 1)
    image = nibabel.Nifti1Image(pixels, MOVED)
    nibabel.save(image, tmp_path / "intact.nii")
    image.set_sform(MOVED, code=1)
    image.set_qform(MOVED + np.outer([1, 0, 0, 0], [0, 0, 0, 5]), code=1)
    nibabel.save(image, tmp_path / "x.nii")
    text = "sform and qform place the images up to 5 mm apart: the sform is used"
    (score, *_) = compare_files([tmp_path / "x.nii"], tmp_path / "intact.nii")
    assert score.marks == f"x: {text}"
    (score, *_) = compare_files([tmp_path / "intact.nii"], tmp_path / "x.nii")
    assert score.marks == f"reference: {text}"


def test_matlab_files_are_no_images(truth, tmp_path):
    path, _ = truth
    (tmp_path / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(FileError, match="not read from MATLAB files") as caught:
        compare_files([tmp_path / "x.mat"], path)
    assert "cinerecon recon x.mat" in caught.value.hint
    (tmp_path / "x.txt").write_text("text")
    with pytest.raises(FileError, match="not an HDF5 file") as caught:
        compare_files([tmp_path / "x.txt"], path)
    assert caught.value.hint.startswith("images as .npz")
