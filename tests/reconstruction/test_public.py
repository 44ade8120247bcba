"""`cinerecon.reconstruct` gives the images that the command writes, from files, slices and arrays."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import complex_randn

import cinerecon
from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.errors import CineReconWarning, ConfigError, DataError, FileError, ShapeError
from cinerecon.image import CineImage
from cinerecon.methods.card import Card
from cinerecon.methods.classical.linear import ZeroFilled
from cinerecon.options import METHOD
from cinerecon.physics.fourier import ifft2c
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan
from cinerecon.simulation.scan import SimulateConfig, simulate_cine, simulate_scan

SIZES = {"n_frames": 4, "ky": 32, "kx": 36, "n_coils": 3, "n_slices": 2, "undersample": "uniform:2,acs=12"}


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """With noise readouts, so that the coils are whitened and the image gets an intensity correction."""
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate_scan(path, SimulateConfig(**SIZES))
    return path


@pytest.fixture
def written(scan, tmp_path):
    def write(method="cgsense", **options):
        reconstruct_scan(ReconRequest(scan, method, (str(tmp_path / "command.npz"),), force=True, **options))
        return np.load(tmp_path / "command.npz")["image"]

    return write


@pytest.mark.parametrize("options", [{}, {"csm": "walsh", "slices": (1,)}, {"frames": "1:3"}])
def test_a_path_gives_the_slices_that_the_command_writes(scan, written, options):
    slices = cinerecon.reconstruct(scan, method="cgsense", **options)
    assert np.array_equal(np.stack([part.image for part in slices]), written(**options))
    assert [part.meta.slice for part in slices] == [*options.get("slices", (0, 1))]
    assert all(part.meta.geometry is not None for part in slices)


@pytest.mark.slow
def test_the_default_network_does_so_too(scan, written):
    with warnings.catch_warnings(action="ignore"):
        slices = cinerecon.reconstruct(str(scan), slices=[0])
    assert np.array_equal(slices[0].image, written(METHOD, slices=(0,))[0])


def test_retrospective_undersampling_is_that_of_the_command(tmp_path):
    path = tmp_path / "full.h5"
    simulate_scan(path, SimulateConfig(**SIZES | {"undersample": None, "n_slices": 1}))
    options = {"undersample": "uniform:3,acs=8", "seed": 4}
    (part,) = cinerecon.reconstruct(path, method="zerofilled", **options)
    reconstruct_scan(ReconRequest(path, "zerofilled", (str(tmp_path / "a.npz"),), **options))
    assert np.array_equal(part.image, np.load(tmp_path / "a.npz")["image"][0])
    assert part.quality["psnr"] > 10


def test_open_scan_reads_raw_scans_and_arrays_of_kspace(scan, tmp_path):
    slices = list(cinerecon.read_slices(scan))
    with pytest.warns(DeprecationWarning, match="intake is now read_slices"):
        assert cinerecon.intake is cinerecon.read_slices
    source = cinerecon.open_scan(scan)
    assert source.n_slices == len(slices)
    data = source.read_slice(0)
    assert torch.equal(data.kspace, slices[0].kspace)
    axes, csm = "frames coils ky kx", data.csm.numpy()
    np.savez(tmp_path / "scan.npz", kspace=data.kspace.numpy(), axes=axes, mask=data.mask.numpy(), csm=csm)
    opened = cinerecon.open_scan(tmp_path / "scan.npz")
    assert opened.n_slices == 1
    assert torch.equal(opened.read_slice(0).mask, data.mask)


def test_a_slice_of_an_open_scan_gives_the_slice_that_the_command_writes(scan, written):
    images = [cinerecon.reconstruct(cine, method="cgsense").image for cine in cinerecon.read_slices(scan)]
    assert np.array_equal(np.stack(images), written())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A scan whose coils are taken as they are, for which arrays and file hold the same numbers."""
    path = tmp_path_factory.mktemp("plain") / "plain.h5"
    simulate_scan(path, SimulateConfig(**SIZES | {"n_slices": 1}))
    (cine,) = cinerecon.read_slices(path, AcquisitionConfig(whiten=False))
    return path, cine


@pytest.mark.parametrize("method", ["zerofilled", "cgsense"])
def test_arrays_give_the_image_that_the_command_writes(plain, method):
    path, cine = plain
    (part,) = cinerecon.reconstruct(path, method=method, settings=["preprocessing.whiten=false"])
    image = cinerecon.reconstruct(cine.kspace.numpy(), cine.mask.numpy(), method=method)
    assert isinstance(image, np.ndarray)
    assert np.array_equal(image, part.image)
    tensor = cinerecon.reconstruct(cine.kspace, method=method)  # the mask follows from the samples
    assert isinstance(tensor, torch.Tensor)
    assert np.array_equal(tensor.numpy(), part.image)
    maps = cinerecon.reconstruct(cine.kspace.numpy(), cine.mask.numpy(), csm=cine.csm.numpy(), method=method)
    assert np.array_equal(maps, part.image)


def test_objects_are_printed_without_their_values(scan):
    """In a notebook, the values of whole arrays would fill pages."""
    source = cinerecon.open_scan(scan)
    data = source.read_slice(0)
    part = cinerecon.reconstruct(data, method="zerofilled")
    frames, coils, ky, kx = data.kspace.shape
    assert str(source) == f"Scan({scan}, {source.n_slices} slices)"
    assert str(data).startswith(f"CineData(kspace ({frames}, {coils}, {ky}, {kx}) complex64, mask ({frames}, 1, {ky}, ")
    assert str(part.cine).startswith(f"CineImage(image ({frames}, {ky}, {kx}) complex64, ")
    assert f"zerofilled, {scan}, slice 0), acceleration=" in str(part)
    assert all(len(text) < 400 for text in map(repr, (source, data, part.cine, part)))


@pytest.mark.parametrize("method", ["zerofilled", "cgsense"])
def test_tensors_that_torch_marks_as_conjugated(plain, method):
    _, cine = plain
    kspace, csm = cine.kspace.conj(), cine.csm.conj()
    image = cinerecon.reconstruct(kspace, cine.mask, csm=csm, method=method)
    assert torch.equal(
        image, cinerecon.reconstruct(kspace.resolve_conj(), cine.mask, csm=csm.resolve_conj(), method=method)
    )
    part = cinerecon.reconstruct(replace(cine, kspace=kspace, csm=csm), method=method)
    assert np.isfinite(part.image).all()


def test_a_frame_without_samples_is_reported(plain):
    _, cine = plain
    kspace = cine.kspace.clone()
    kspace[1] = 0
    with pytest.warns(CineReconWarning, match=r"frame 1 has 0 of .* do not trust their images$"):
        image = cinerecon.reconstruct(kspace, method="zerofilled")
    assert not image[1].any() and image[0].any()


def test_samples_outside_the_mask_are_not_used(plain):
    _, cine = plain
    noise = 100 * complex_randn(*cine.kspace.shape, dtype=torch.complex64)
    kspace = torch.where(cine.mask, cine.kspace, noise)
    expected = cinerecon.reconstruct(cine.kspace, cine.mask, method="zerofilled")
    for mask in (cine.mask, cine.mask[:, 0], cine.mask.numpy().astype(np.uint8)):
        assert torch.equal(cinerecon.reconstruct(kspace, mask, method="zerofilled"), expected)


def test_maps_of_another_scale_give_the_image_of_scaled_maps(plain):
    _, cine = plain
    expected = cinerecon.reconstruct(cine.kspace, cine.mask, csm=cine.csm, method="zerofilled")
    image = cinerecon.reconstruct(cine.kspace, cine.mask, csm=7 * cine.csm, method="zerofilled")
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_one_frame_is_reconstructed(plain):
    _, cine = plain
    expected = cinerecon.reconstruct(cine.kspace, cine.mask, csm=cine.csm, method="zerofilled")
    image = cinerecon.reconstruct(cine.kspace[:1], cine.mask[:1], csm=cine.csm, method="zerofilled")
    assert torch.equal(image, expected[:1])


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda maps: maps[None], ShapeError, "coil maps are 1 x 3 x 32"),
        (lambda maps: maps.movedim(0, -1), ShapeError, r"coil maps are 32 x .*, expected \(3 coils"),
        (lambda maps: torch.where(maps.abs() > maps.abs().median(), maps, torch.nan), DataError, "not finite"),
        (lambda maps: 0 * maps, DataError, "all zero"),
    ],
    ids=["frames", "coils last", "NaN", "zero"],
)
def test_maps_that_do_not_fit_are_refused(plain, change, error, match):
    _, cine = plain
    with pytest.raises(error, match=match) as info:
        cinerecon.reconstruct(cine.kspace, cine.mask, csm=change(cine.csm), method="zerofilled")
    assert info.value.where == "csm"


def test_a_mask_that_includes_lines_without_signal_is_corrected_with_a_warning(plain):
    _, cine = plain
    everywhere = np.ones(cine.mask.shape, bool)
    n_lines = int((~cine.mask).sum())
    with pytest.warns(cinerecon.CineReconWarning, match=f"{n_lines} lines without any signal"):
        image = cinerecon.reconstruct(cine.kspace, everywhere, method="cgsense")
    assert torch.equal(image, cinerecon.reconstruct(cine.kspace, cine.mask, method="cgsense"))


def test_maps_of_a_slice_are_scaled(plain):
    _, cine = plain
    (expected, image) = (
        cinerecon.reconstruct(part, method="cgsense").image for part in (cine, replace(cine, csm=3 * cine.csm))
    )
    assert np.abs(image - expected).max() < 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (ifft2c, "not k-space along ky and kx"),
        (lambda kspace: torch.fft.ifftshift(kspace, dim=(-2, -1)), "not centred"),
    ],
    ids=["images", "not shifted"],
)
def test_arrays_that_are_no_centred_k_space_are_refused(change, match):
    cine = simulate_cine(SimulateConfig(n_frames=3, ky=48, kx=48, n_coils=2))[0]
    with pytest.raises(DataError, match=match):
        cinerecon.reconstruct(change(cine.kspace), method="zerofilled")


def test_k_space_that_is_damaged_gives_a_warning(plain):
    _, cine = plain
    signs = (-1.0) ** torch.arange(cine.n_frames)
    for factor, is_reported in ((1.0, False), (signs.view(-1, 1, 1, 1), True)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cinerecon.reconstruct(cine.kspace * factor, cine.mask, method="zerofilled")
        assert any("phase of the central lines" in str(warning.message) for warning in caught) == is_reported


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(plain, value):
    _, cine = plain
    kspace = cine.kspace.numpy().copy()
    kspace[1, 2, 3, 4] = value
    with pytest.raises(DataError, match="1 values that are NaN or infinite"):
        cinerecon.reconstruct(kspace, method="zerofilled")
    with pytest.raises(DataError, match="NaN or infinite"):
        cinerecon.CineData(kspace, cine.mask, cine.csm)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"kspace": lambda k: k[0]}, ShapeError, "3 axes"),
        ({"kspace": lambda k: k.abs()}, ShapeError, "complex"),
        ({"kspace": lambda k: 0 * k}, DataError, "no signal"),
        ({"mask": lambda m: m[:-1]}, ShapeError, r"mask is 3 x 1 x 32 x 1, expected \(4 frames"),
        ({"mask": lambda m: 2 * m.int()}, DataError, "values other than"),
        ({"mask": lambda _: "mask.npz"}, ShapeError, "array of numbers, found str"),
        ({"kspace": lambda _: None}, ShapeError, "array of numbers, found NoneType"),
        ({"kspace": lambda k: 1e30 * k}, DataError, r"expected 1e-15 to 1e\+15"),
        ({"kspace": lambda k: 1e-30 * k}, DataError, r"expected 1e-15 to 1e\+15"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(plain, change, error, match):
    _, cine = plain
    arrays = {"kspace": cine.kspace, "mask": cine.mask}
    arrays |= {name: alter(arrays[name]) for name, alter in change.items()}
    with pytest.raises(error, match=match):
        cinerecon.reconstruct(arrays["kspace"], arrays["mask"], method="zerofilled")


def test_arguments_that_do_not_belong_to_the_scan_are_refused(scan, plain):
    _, cine = plain
    with pytest.raises(ConfigError, match="its own mask") as info:
        cinerecon.reconstruct(scan, "slrnet")
    assert info.value.hint == "pass the name of a method as method='slrnet'"
    with pytest.raises(ConfigError, match="its own mask"):
        cinerecon.reconstruct(scan, cine.mask)
    with pytest.raises(ConfigError, match="scan in a file"):
        cinerecon.reconstruct(cine.kspace, slices=[0])
    with pytest.raises(TypeError, match="modle"):
        cinerecon.reconstruct(scan, modle="slrnet")
    with pytest.raises(FileError, match="no such file"):
        cinerecon.reconstruct("nowhere.h5")


def test_wrong_types_are_named(scan, plain):
    _, cine = plain
    for method in (None, 3, ZeroFilled):
        with pytest.raises(ConfigError, match="the result of load_method, found"):
            cinerecon.reconstruct(cine.kspace, method=method)
    with pytest.raises(ConfigError, match="a name or a path, found NoneType"):
        cinerecon.load_method(None)
    with pytest.raises(ShapeError, match="must be called with CineData, found ndarray"):
        cinerecon.load_method("zerofilled")(cine.kspace.numpy())
    with pytest.raises(ConfigError, match="of type dict, expected AcquisitionConfig"):
        cinerecon.open_scan(scan, {"csm": "walsh"})
    with pytest.raises(ConfigError, match="no device 'meta'"):
        cinerecon.reconstruct(cine.kspace, device="meta")
    for path in (None, 3):
        with pytest.raises(ConfigError, match=f"expected a path, found {type(path).__name__}"):
            cinerecon.open_scan(path)
        with pytest.raises(ConfigError, match=f"expected a path, found {type(path).__name__}"):
            cinerecon.export(cinerecon.reconstruct(cine, method="zerofilled"), path)
    for slices in (cine.kspace, [cine.kspace.numpy()], "cine.npz"):
        with pytest.raises(ConfigError, match="slices must be"):
            cinerecon.export(slices, "cine.npz")
    with pytest.raises(ShapeError, match="coil maps are a single number"):
        cinerecon.reconstruct(cine.kspace, csm=3)


def test_images_that_cannot_be_exported_are_named(plain, tmp_path):
    _, cine = plain
    image = cine.reference.numpy().copy()
    image[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinite"):
        cinerecon.export(CineImage(image), tmp_path / "image.npz")
    for name in ("velocity", "noise", "uncertainty"):
        maps = {name: image.real.astype(np.float32)}
        with pytest.raises(DataError, match=f"the {name} holds values that are NaN or infinite"):
            cinerecon.export(CineImage(cine.reference.numpy(), venc_cm_s=150.0, **maps), f"{tmp_path}/dicom/")
    with pytest.raises(ConfigError, match="make_patient"):
        cinerecon.export(CineImage(cine.reference.numpy()), tmp_path / "dicom", patient={"name": "Doe"})
    assert not list(tmp_path.iterdir())
    with pytest.raises(ShapeError, match="meta is of type dict"):
        CineImage(cine.reference.numpy(), meta={"slice": 1})
    with pytest.raises(ShapeError, match="image is of type list"):
        CineImage(cine.reference.tolist())


def test_tensors_are_exported_as_arrays_are(plain, tmp_path):
    _, cine = plain
    for name, image in (("tensor.npz", cine.reference.clone().requires_grad_()), ("array.npz", cine.reference.numpy())):
        cinerecon.export(CineImage(image), tmp_path / name)
    tensor, array = (np.load(tmp_path / name)["image"] for name in ("tensor.npz", "array.npz"))
    np.testing.assert_array_equal(tensor, array)


def test_devices_and_paths_of_every_type(plain, tmp_path):
    _, cine = plain
    device = cinerecon.reconstruct(cine.kspace, method="zerofilled", device=torch.device("cpu"))
    assert torch.equal(device, cinerecon.reconstruct(cine.kspace, method="zerofilled"))
    simulate_scan(str(tmp_path / "scan.h5"), SimulateConfig(n_frames=2, ky=16, kx=16, n_coils=2))
    assert cinerecon.open_scan(str(tmp_path / "scan.h5")).n_slices == 1


def test_arrays_of_every_kind_of_complex_numbers(plain):
    _, cine = plain
    expected = cinerecon.reconstruct(cine.kspace.numpy(), method="zerofilled")
    for dtype in (">c8", "c16", np.clongdouble):
        image = cinerecon.reconstruct(cine.kspace.numpy().astype(dtype), method="zerofilled")
        np.testing.assert_array_equal(image, expected)
    image = cinerecon.reconstruct(cine.kspace.clone().requires_grad_(), method="zerofilled")
    np.testing.assert_array_equal(image.numpy(), expected)


class Trained(ZeroFilled):
    """Trained on fewer coils, and on a lower acceleration, than the scans here have."""

    card = Card(coils=(1, 1), acceleration=(1.0, 1.1))


def test_scans_unlike_the_training_data_give_a_warning(scan, plain):
    _, cine = plain
    for call in (
        lambda: cinerecon.reconstruct(scan, method=Trained()),
        lambda: cinerecon.reconstruct(cine.kspace, method=Trained()),
    ):
        with pytest.warns(cinerecon.CineReconWarning) as caught:
            call()
        texts = [str(warning.message) for warning in caught]
        assert any("the scan has 3 coils, the network was trained on one" in text for text in texts)
        assert any("trained up to 1.1" in text for text in texts)
        assert all(warning.filename == __file__ for warning in caught), "the line of the caller is named"


def test_maps_from_too_few_lines_give_a_warning():
    kspace = complex_randn(4, 3, 32, 36, dtype=torch.complex64)
    mask = torch.zeros(4, 1, 32, 1, dtype=torch.bool)
    mask[:, :, 1::4] = True
    with pytest.warns(cinerecon.CineReconWarning, match="coil maps come from"):
        image = cinerecon.reconstruct(kspace, mask, method="zerofilled")
    assert image.shape == (4, 32, 36)
    assert 0 < float(image.abs().max()) < float("inf")


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.nii.gz", "dicom/"])
def test_export_writes_what_the_command_writes(scan, tmp_path, name):
    slices = cinerecon.reconstruct(scan, method="zerofilled")
    (path,) = cinerecon.export(slices, f"{tmp_path}/{name}")
    assert path.exists()
    if name == "a.npz":
        assert np.array_equal(np.load(path)["image"], np.stack([part.image for part in slices]))
    with pytest.raises(FileError, match="already exists"):
        cinerecon.export(slices, f"{tmp_path}/{name}")
    assert cinerecon.export(slices[0], f"{tmp_path}/{name}", force=True) == [path]


def test_a_path_without_ending_is_a_folder_for_dicom(scan, tmp_path):
    (part, _) = cinerecon.reconstruct(scan, method="zerofilled")
    cinerecon.export(part, tmp_path / "series")
    assert len(list((tmp_path / "series").glob("*.dcm"))) == 4


def test_the_input_stays_as_it_is(plain):
    _, cine = plain
    kspace, mask = cine.kspace.numpy().copy(), cine.mask.numpy().copy()
    kspace.flags.writeable = mask.flags.writeable = False
    cinerecon.reconstruct(kspace, mask, method="cgsense")
    assert np.array_equal(kspace, cine.kspace.numpy())
    swapped = replace(cine, kspace=cine.kspace.numpy().astype(">c8"))
    assert torch.equal(swapped.kspace, cine.kspace)
