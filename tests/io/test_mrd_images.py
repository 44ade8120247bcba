"""Images of other programs in ISMRMRD files and streams: series, counters, channels and headers as they write them."""

from itertools import product

import ismrmrd
import numpy as np
import pytest
from ismrmrd.hdf5 import image_header_dtype

from cinerecon.errors import DataError, FileError
from cinerecon.io.hdf5 import new_hdf5
from cinerecon.io.mrd_images import read_mrd_images
from cinerecon.io.mrd_stream.images import write_image_messages
from cinerecon.io.mrd_stream.messages import CloseMessage, ImageMessage, write_message

MAGNITUDE, PHASE, COMPLEX, COLOUR = 1, 2, 5, 6
N_FRAMES, Y, X = 5, 12, 10
IMAGES = np.random.default_rng(0).normal(size=(2, N_FRAMES, Y, X)) + 1j * np.random.default_rng(1).normal(
    size=(2, N_FRAMES, Y, X)
)
IMAGES = IMAGES.astype(np.complex64)


def message(values, number=0, series=0, kind=MAGNITUDE, role="Image", **fields):
    """One image ``(y, x)`` or ``(channels, z, y, x)`` with a header like that of other programs."""
    values = values if values.ndim == 4 else values[None, None]
    head = np.zeros(1, image_header_dtype)[0]
    head["version"], head["image_type"], head["data_type"] = 1, kind, 5 if values.dtype.kind == "f" else 7
    head["matrix_size"], head["channels"] = values.shape[:0:-1], len(values)
    head["field_of_view"] = (2 * X, 3 * Y, 8)
    head["position"] = (0, 0, 10 * number)
    head["read_dir"], head["phase_dir"], head["slice_dir"] = np.eye(3)
    head["slice"], head["image_series_index"] = number, series
    for name, value in fields.items():
        head[name] = value
    meta = ismrmrd.Meta({"GADGETRON_DataRole": role}) if role else ismrmrd.Meta()
    return ImageMessage(head, meta.serialize(), values)


def magnitudes(number=0, scale=1.0, numbered="phase", **fields):
    frames = np.abs(IMAGES[number]) * np.float32(scale)
    return [message(frame, number, **{numbered: n}, **fields) for n, frame in enumerate(frames)]


def complex_images(number=0, **fields):
    return [message(frame, number, kind=COMPLEX, phase=n, **fields) for n, frame in enumerate(IMAGES[number])]


@pytest.fixture(params=["x.h5", "x.mrd"])
def written(request, tmp_path):
    """A function that writes images to a file or to a stream and returns its path."""

    def write(images):
        path = tmp_path / request.param
        if path.suffix == ".h5":
            write_image_messages(path, images, "<ismrmrdHeader/>", force=True)
        else:
            with path.open("wb") as file:
                for item in (*images, CloseMessage()):
                    write_message(file, item)
        return path

    return write


def assert_magnitudes(path, n_slices=2):
    slices = read_mrd_images(path)
    assert len(slices) == n_slices
    for (values, placement), expected in zip(slices, IMAGES, strict=False):
        np.testing.assert_allclose(np.abs(values), np.abs(expected), rtol=1e-6)
        assert placement.pixel_size_mm == pytest.approx((3, 2))
    return slices


def test_images_of_single_coils_are_refused(written):
    coils = [message(np.stack([frame, frame])[:, None], kind=COMPLEX, phase=n) for n, frame in enumerate(IMAGES[0])]
    with pytest.raises(DataError, match=r"the images of .* have 2 channels"):
        read_mrd_images(written(coils))


def test_volumes_are_refused(written):
    volumes = [message(np.stack([frame, frame])[None], kind=COMPLEX, phase=n) for n, frame in enumerate(IMAGES[0])]
    with pytest.raises(DataError, match=r"the images of .* have 2 partitions"):
        read_mrd_images(written(volumes))


def test_magnitude_and_phase_images_may_be_in_one_series(written):
    phases = [message(np.angle(frame), kind=PHASE, phase=n) for n, frame in enumerate(IMAGES[0])]
    mixed = [image for pair in zip(magnitudes(), phases, strict=True) for image in pair]
    assert_magnitudes(written([*mixed, *magnitudes(1)]))


def test_maps_and_colour_images_are_ignored(written):
    """Gadgetron sends maps of the geometry factor and of the SNR as magnitude images in further series."""
    maps = [
        message(np.abs(IMAGES[n, 0]) + 1, n, series=20 + k, role=role, phase=0)
        for k, (role, n) in enumerate(product(("Gfactor", "SNR_MAP", "Quantitative"), (0, 1)))
    ]
    colour = [message(np.ones((3, 1, Y, X), np.float32), series=50, kind=COLOUR)]
    assert_magnitudes(written([*magnitudes(), *magnitudes(1), *maps, *colour]))
    with pytest.raises(DataError, match="no magnitude or complex images"):
        read_mrd_images(written(maps))


@pytest.mark.parametrize("role", ["Image", "ImageRetro", ""])
def test_series_with_different_images_of_a_slice_are_refused(written, role):
    others = [message(image.values[:, :, ::-1], series=3, role=role, phase=n) for n, image in enumerate(magnitudes())]
    with pytest.raises(DataError, match=r"image_0 and image_3|series 0 and series 3") as error:
        read_mrd_images(written([*magnitudes(), *others]))
    assert "contain different images of slice 0" in error.value.what


@pytest.mark.parametrize("is_first", [True, False])
def test_complex_images_are_preferred_to_the_same_magnitudes(written, is_first):
    magnitude_series = 1 if is_first else 2
    images = [complex_images(n, series=3 - magnitude_series) for n in (0, 1)]
    images += [magnitudes(n, scale=700, series=magnitude_series) for n in (0, 1)]
    slices = assert_magnitudes(written([image for part in images for image in part]))
    np.testing.assert_array_equal(slices[1][0], IMAGES[1])


@pytest.mark.parametrize("numbered", ["phase", "repetition", "average", "image_index"])
def test_frames_are_ordered_by_the_counter_that_numbers_them(written, numbered):
    images = magnitudes(numbered=numbered) + magnitudes(1, numbered=numbered)
    order = np.random.default_rng(2).permutation(len(images))
    assert_magnitudes(written([images[n] for n in order]))


def test_frames_without_counters_are_in_the_order_of_the_file(written):
    assert_magnitudes(written([message(np.abs(frame), image_index=7) for frame in IMAGES[0]]), n_slices=1)


@pytest.mark.parametrize("counter", ["repetition", "average", "set", "contrast", "phase"])
def test_several_series_in_one_are_refused(written, counter):
    second = {} if counter == "phase" else {counter: 1}
    with pytest.raises(DataError, match=r"10 images of one slice are not one series in time: .*5 of phase"):
        read_mrd_images(written([*magnitudes(), *magnitudes(scale=2, **second)]))


def test_slices_that_are_not_counted_are_distinguished_by_position(written):
    images = [message(image.values, position=(0, 0, 10 * n), phase=k) for n in (0, 1)
              for k, image in enumerate(magnitudes(n))]  # fmt: skip
    order = np.random.default_rng(2).permutation(len(images))
    order = [0, *order[order > 0]]
    slices = assert_magnitudes(written([images[n] for n in order]))
    assert [placement.geometry.position_mm[2] for _, placement in slices] == [0, 10]


def test_exchanged_sizes_in_the_header_are_refused_and_unknown_ones_are_those_of_the_data(tmp_path):
    path = tmp_path / "x.h5"
    for size in ((X, Y, 1), (0, 0, 0)):
        write_image_messages(path, magnitudes(matrix_size=size), "", force=True)
        assert_magnitudes(path, n_slices=1)
    write_image_messages(path, magnitudes(matrix_size=(Y, X, 1)), "", force=True)
    with pytest.raises(DataError, match=r"10 x 12 pixels .* 12 x 10 in the header: x and y are exchanged"):
        read_mrd_images(path)


@pytest.mark.parametrize("vector", [(0, 0, 0), (1, 1, 0), (np.nan, 0, 0)])
def test_directions_that_are_not_orthonormal_are_unknown(written, vector):
    ((_, placement),) = assert_magnitudes(written(magnitudes(phase_dir=vector)), n_slices=1)
    assert placement.geometry is None


def test_files_with_another_structure_are_refused(tmp_path):
    path = tmp_path / "x.h5"
    for shape, n_heads, match in (((5, Y, X), 5, r"data \(5, 12, 10\)"), ((5, 1, 1, Y, X), 4, "and 4 headers")):
        with new_hdf5(path) as file:
            group = file.create_group("dataset/image_0")
            group["data"], group["header"] = np.ones(shape, np.float32), np.zeros(n_heads, image_header_dtype)
        with pytest.raises(FileError, match=match):
            read_mrd_images(path)


def test_images_written_by_the_ismrmrd_package_are_read(tmp_path):
    path = tmp_path / "x.h5"
    file = ismrmrd.Dataset(str(path), "dataset")
    for number, frame in product((0, 1), range(N_FRAMES)):
        image = ismrmrd.Image.from_array(IMAGES[number, frame], transpose=False)
        image.slice, image.phase, image.image_type = number, frame, COMPLEX
        image.field_of_view = (2 * X, 3 * Y, 8)
        file.append_image("image_0", image)
    file.close()
    slices = assert_magnitudes(path)
    np.testing.assert_array_equal(slices[0][0], IMAGES[0])
