"""Reconstruction of raw scans: images, scores, and files after errors and interruptions."""

from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from helpers import complex_randn, relative_error

from cinerecon.acquisition.reference import undersample
from cinerecon.cine import CineData
from cinerecon.commands.mask import MaskOptions, draw_mask
from cinerecon.errors import CineReconError, ConfigError, DataError, FileError
from cinerecon.methods.classical.linear import ZeroFilled
from cinerecon.physics.sampling import net_acceleration
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import Observer, reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_scan

SIZES = {"n_frames": 6, "ky": 40, "kx": 44, "n_coils": 4, "n_slices": 2, "noise": 0.002}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "full.h5"
    simulate_scan(path, SimulateConfig(**SIZES))
    return path


def run(scan, tmp_path, *names, model="zerofilled", **options):
    options = {"csm": "walsh"} | options
    outputs = tuple(str(tmp_path / name) for name in (names or ("out.npz",)))
    return reconstruct_scan(ReconRequest(scan, model, outputs=outputs, **options))


def test_a_full_scan_gives_the_truth(scan, tmp_path):
    report = run(scan, tmp_path, csm="espirit")
    assert [part.cine.meta.slice for part in report.slices] == [0, 1]
    for part in report.slices:
        assert part.acceleration == 1
        assert part.quality["psnr"] > 38
        assert part.residual < 0.05
        assert set(part.seconds) == {"read", "maps", "reconstruct"}
    arrays = np.load(tmp_path / "out.npz")
    error = np.abs(np.abs(arrays["image"]) - np.abs(arrays["reference"])).max()
    assert error < 0.05 * np.abs(arrays["reference"]).max()


def test_default_outputs_are_next_to_the_scan(tmp_path):
    scan = tmp_path / "heart.h5"
    simulate_scan(scan, SimulateConfig(**SIZES | {"n_frames": 3, "n_slices": 1}))
    report = reconstruct_scan(ReconRequest(scan, "zerofilled"))
    expected = [tmp_path / f"heart.zerofilled{ending}" for ending in (".h5", ".mp4", ".png")]
    assert list(report.written) == expected
    assert all(path.stat().st_size > 1000 for path in expected)


def test_images_keep_header_and_geometry_of_the_scan(scan, tmp_path):
    run(scan, tmp_path, "out.h5")
    with ismrmrd.Dataset(str(scan), mode="r") as raw, ismrmrd.Dataset(str(tmp_path / "out.h5"), mode="r") as images:
        header = ismrmrd.xsd.CreateFromDocument(images.read_xml_header())
        assert header.encoding[0].reconSpace.matrixSize.x == 44
        last = raw.read_acquisition(raw.number_of_acquisitions() - 1)
        image = images.read_image("image_0", images.number_of_images("image_0") - 1)
        assert np.allclose(list(image.read_dir), list(last.read_dir), atol=1e-6)
        assert np.allclose(list(image.position), list(last.position), atol=1e-3)


def test_only_the_chosen_slices_and_frames(scan, tmp_path):
    report = run(scan, tmp_path, slices=(1, 1), frames="1:4")
    whole = run(scan, tmp_path, "whole.npz")
    (part,) = report.slices
    assert part.cine.meta.slice == 1
    assert part.cine.n_frames == 3
    times = np.array(whole.slices[1].cine.meta.frame_times_ms[1:4])
    assert part.cine.meta.frame_times_ms == pytest.approx(times - times[0])
    assert whole.slices[1].cine.meta.is_one_beat
    assert not part.cine.meta.is_one_beat
    assert np.allclose(part.cine.image, whole.slices[1].cine.image[1:4])


def test_frames_that_do_not_exist_are_reported(scan, tmp_path):
    whole = run(scan, tmp_path, "whole.npz", slices=(0,))
    n_frames = whole.slices[0].cine.n_frames
    cut = run(scan, tmp_path, slices=(0,), frames="2:100")
    assert np.allclose(cut.slices[0].cine.image, whole.slices[0].cine.image[2:])
    assert (
        f"--frames 2:100: slice 0 has {n_frames} frames; the other requested frames do not exist"
        in cut.slices[0].cine.meta.warnings
    )
    exact = run(scan, tmp_path, "exact.npz", slices=(0,), frames=f"2:{n_frames}")
    assert not any("--frames" in text for text in exact.slices[0].cine.meta.warnings)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"slices": (2,)}, "no slice 2"),
        ({"frames": "4:2"}, "no frame"),
        ({"frames": "some"}, "not first:last"),
        ({"device": "toaster"}, "no device"),
        ({"model": "zerofiled"}, "unknown method"),
        ({"undersample": "gausian:8"}, "unknown sampling pattern"),
        ({"csm": "guess"}, "csm"),
        ({"settings": ("preprocessing.whiten=perhaps",)}, "whiten"),
        ({"settings": ("preprocessing.whitening=true",)}, "unknown setting 'whitening'"),
    ],
)
def test_wrong_requests_are_named_and_write_nothing(scan, tmp_path, options, match):
    with pytest.raises(ConfigError, match=match):
        run(scan, tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_refused_before_any_work(scan, tmp_path):
    (tmp_path / "out.npz").write_bytes(b"precious")
    with pytest.raises(FileError, match="already exists"):
        run(scan, tmp_path, model="no such method")
    assert (tmp_path / "out.npz").read_bytes() == b"precious"
    run(scan, tmp_path, force=True)
    assert "image" in np.load(tmp_path / "out.npz")


@pytest.mark.parametrize("name", ["scan.h5", "link.h5", "sub/../scan.h5"])
def test_inputs_are_never_overwritten(scan, tmp_path, name):
    own = tmp_path / "scan.h5"
    own.write_bytes(scan.read_bytes())
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.h5").symlink_to(own)
    with pytest.raises(FileError, match=r"scan\.h5 is an input file"):
        run(own, tmp_path, name, force=True)
    with pytest.raises(FileError, match=r"scan\.h5 is an input file"):
        run(scan, tmp_path, name, force=True, noise=own)
    assert own.read_bytes() == scan.read_bytes()


def test_mask_and_weights_are_never_overwritten(scan, tmp_path):
    for name in ("mask.npz", "weights.npz"):
        (tmp_path / name).write_bytes(b"precious")
    with pytest.raises(FileError, match=r"mask\.npz is an input file"):
        run(scan, tmp_path, "mask.npz", force=True, undersample=f"{tmp_path}/mask.npz,axes=ty")
    with pytest.raises(FileError, match=r"weights\.npz is an input file"):
        run(scan, tmp_path, "weights.npz", force=True, weights=tmp_path / "weights.npz")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"precious"] * 2


@pytest.mark.parametrize("names", [("a.npz", "x/../a.npz"), ("a.nii", "a.2.nii"), ("dicom/", "dicom")])
def test_two_outputs_are_two_files(scan, tmp_path, names):
    (tmp_path / "x").mkdir()
    with pytest.raises(ConfigError, match="two outputs"):
        run(scan, tmp_path, *names, force=True)


@pytest.mark.parametrize("name", ["", ".", "nowhere.h5"])
def test_a_file_that_is_no_scan_is_refused_before_outputs_are_named(name):
    with pytest.raises(FileError):
        reconstruct_scan(ReconRequest(Path(name), "zerofilled"))


def without_truth(scan, tmp_path):
    measured = tmp_path / "measured.h5"
    measured.write_bytes(scan.read_bytes())
    with h5py.File(measured, "r+") as file:
        del file["dataset/truth"]
    return measured


def test_an_image_is_never_compared_with_its_own_samples(scan, tmp_path):
    """Against the samples that it was made from, an image is only as good as it is like A^H y."""
    measured, options = without_truth(scan, tmp_path), {"model": "cgsense", "slices": (0,)}
    (alone,) = run(measured, tmp_path, "a.npz", **options).slices
    (sampled,) = run(measured, tmp_path, "b.npz", undersample="uniform:2,acs=8", **options).slices
    (known,) = run(scan, tmp_path, "c.npz", **options).slices
    assert alone.quality == {}
    assert alone.cine.reference is None
    assert "reference" not in np.load(tmp_path / "a.npz")
    assert sampled.quality["psnr"] > 10
    assert sampled.cine.meta.reference_is == "all samples"
    assert known.quality["psnr"] > 10
    assert np.load(tmp_path / "c.npz")["reference_is"].tolist() == ["truth"]


def test_strict_turns_warnings_into_errors_and_writes_nothing(scan, tmp_path):
    with h5py.File(without_truth(scan, tmp_path), "r+") as file:
        rows = file["dataset/data"][()]
        rows["head"]["read_dir"] = 0
        file["dataset/data"][...] = rows
    report = run(tmp_path / "measured.h5", tmp_path)
    assert any("no orientation" in text for text in report.warnings)
    with pytest.raises(DataError, match="no orientation"):
        run(tmp_path / "measured.h5", tmp_path, "b.npz", strict=True)
    run(scan, tmp_path, "c.npz", strict=True)
    assert not (tmp_path / "b.npz").exists()


def test_retrospective_undersampling(scan, tmp_path):
    """Maps and image come from fewer points, the truth stays; a better method is nearer to it."""
    zerofilled = run(scan, tmp_path, "a.npz", undersample="kt-equispaced:2,acs=10")
    cgsense = run(scan, tmp_path, "b.npz", model="cgsense", undersample="kt-equispaced:2,acs=10")
    for worse, better in zip(zerofilled.slices, cgsense.slices, strict=True):
        assert 1.5 < worse.acceleration < 2
        assert worse.acceleration_without_acs > worse.acceleration
        assert better.quality["psnr"] > worse.quality["psnr"] + 3
        assert better.residual < worse.residual


def test_undersampling_with_a_mask_file(scan, tmp_path):
    mask = tmp_path / "mask.npz"
    draw_mask(MaskOptions(pattern="kt-equispaced:2", n_frames=6, ky=40, kx=44, seed=3, output=mask))
    report = run(scan, tmp_path, undersample=str(mask))
    assert all(part.acceleration == 2 for part in report.slices)
    wrong = tmp_path / "wrong.npz"
    draw_mask(MaskOptions(pattern="kt-equispaced:2", n_frames=5, ky=40, kx=44, seed=3, output=wrong))
    with pytest.raises(ConfigError, match="mask has 5 frames, the scan has 6"):
        run(scan, tmp_path, "b.npz", undersample=str(wrong))


def test_undersampling_keeps_exactly_the_points_of_the_mask():
    kspace = complex_randn(5, 3, 24, 20, dtype=torch.complex64)
    data = CineData(kspace, torch.ones(5, 1, 24, 1, dtype=torch.bool), complex_randn(3, 24, 20, dtype=torch.complex64))
    before = data.kspace.clone()
    once = undersample(data, "uniform:3,acs=4", seed=1, csm="walsh")
    again = undersample(data, "uniform:3,acs=4", seed=1, csm="walsh")
    assert torch.equal(once.kspace, again.kspace)
    assert torch.equal(data.kspace, before)
    assert relative_error(once.kspace, kspace * once.mask) == 0
    assert net_acceleration(once.mask) == 3
    assert not once.meta.warnings
    sparse = undersample(data, "equispaced:4,acs=2", seed=1, csm="walsh")
    assert "do not trust the image" in sparse.meta.warnings[0]
    with pytest.raises(DataError, match="already undersampled"):
        undersample(once, "uniform:2")


def test_an_image_that_explains_little_gives_a_warning(scan, tmp_path, monkeypatch):
    import cinerecon.reconstruction.run as recon

    class Nothing(ZeroFilled):
        def solve(self, data, progress, convergence):
            return torch.zeros(data.n_frames, *data.matrix, dtype=torch.complex64)

    monkeypatch.setattr(recon, "load_method", lambda *args, **options: Nothing())
    report = run(scan, tmp_path)
    assert report.slices[0].residual == pytest.approx(1)
    assert any("100% of the measured data unexplained" in text for text in report.warnings)


def test_an_acceleration_beyond_training_gives_a_warning(scan, tmp_path, monkeypatch):
    import cinerecon.reconstruction.run as recon
    from cinerecon.methods.card import Card

    class Trained(ZeroFilled):
        card = Card(acceleration=(2.0, 3.0), coils=(2, 8))

    monkeypatch.setattr(recon, "load_method", lambda *args, **options: Trained())
    assert not run(scan, tmp_path, undersample="kt-equispaced:3,acs=0").warnings
    (warning,) = run(scan, tmp_path, undersample="kt-equispaced:5,acs=0", force=True).warnings
    assert warning.startswith("acceleration is 5.0, the network was trained up to 3")


def test_an_interrupted_run_leaves_finished_slices_and_nothing_half_written(scan, tmp_path, monkeypatch):
    from cinerecon.io.export import FORMATS

    def interrupt(path, cines):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setitem(FORMATS, ".npz", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(scan, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.stem for path in folder.glob("*.json")) == ["000", "001"]
    assert not list(folder.glob(".*"))


def test_progress_runs_from_start_to_end(scan, tmp_path):
    seen = []
    reconstruct_scan(
        ReconRequest(scan, "cgsense", outputs=(str(tmp_path / "out.npz"),)), Observer(lambda *call: seen.append(call))
    )
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert any(text.startswith("slice 1") for text, _ in seen)


def test_a_damaged_scan_is_refused(tmp_path):
    scan = tmp_path / "empty.h5"
    with h5py.File(scan, "w"):
        pass
    with pytest.raises(CineReconError):
        run(scan, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["empty.h5"]


def test_the_convergence_of_each_slice_is_in_its_npz_file(scan, tmp_path):
    options = {"model": "lps", "settings": ("n_iterations=6",), "undersample": "uniform:3,acs=4"}
    report = run(scan, tmp_path, **options)
    arrays = np.load(tmp_path / "out.npz")
    for name in ("cost", "data_residual", "change"):
        assert arrays[f"convergence_{name}"].shape == (2, 6)
        for part, curve in zip(report.slices, arrays[f"convergence_{name}"], strict=True):
            assert np.array_equal(part.cine.convergence[name], curve)
    assert arrays["convergence_data_residual"][0, -1] == pytest.approx(report.slices[0].residual, rel=1e-3)
    assert not run(scan, tmp_path, "out.h5", **options).slices[0].cine.convergence
    assert len(run(scan, tmp_path, "b.h5", verbose=True, **options).slices[0].cine.convergence["cost"]) == 6
    assert not run(scan, tmp_path, "b.npz", verbose=True).slices[0].cine.convergence


def test_slices_that_took_different_numbers_of_iterations(tmp_path):
    from cinerecon.image import CineImage
    from cinerecon.io.export.npz import write_npz

    image = np.ones((2, 4, 4), np.complex64)
    curves = [{"cost": np.array([3.0, 2.0, 1.0])}, {"cost": np.array([5.0])}]
    write_npz(tmp_path / "out.npz", [CineImage(image, convergence=curve) for curve in curves])
    expected = [[3, 2, 1], [5, np.nan, np.nan]]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["convergence_cost"], expected)
