"""Slices are shown in the radiological orientation, and every voxel keeps its value and its position."""

from dataclasses import replace
from itertools import product

import numpy as np
import pydicom
import pytest
from raw_scan import header_xml

from cinerecon.cine_meta import CineMeta, Geometry, vector
from cinerecon.image import CineImage
from cinerecon.io.export.dicom import write_dicom
from cinerecon.io.export.display import Turn, display_turns, radiological_turn, turned
from cinerecon.io.export.movie import montage
from cinerecon.io.export.summary import draw_summary, write_case_picture

LEFT, BACK, HEAD = np.eye(3)
ALL_TURNS = [Turn(bool(swap), (bool(y), bool(x))) for swap, y, x in product((0, 1), repeat=3)]
PIXEL = (1.5, 1.25)


def make_cine(read, phase, matrix=(5, 8), number=0, position=(3.0, -20.0, 40.0)):
    rng = np.random.default_rng(number)
    image = (rng.standard_normal((2, *matrix)) + 1j * rng.standard_normal((2, *matrix))).astype(np.complex64)
    across = np.cross(read, phase)
    place = Geometry(vector(position + 8 * number * across), vector(read), vector(phase), vector(across), "HFS")
    return CineImage(image, meta=CineMeta("scan.h5", number, pixel_size_mm=PIXEL, geometry=place), method="zerofilled")


def written(folder, cines):
    write_dicom(folder, cines)
    return [pydicom.dcmread(file) for file in sorted(folder.glob("*.dcm"))]


def orientation(image):
    return np.array(image.ImageOrientationPatient, float)


def arrays_of_plane(right, down):
    """The directions of rows and columns of the eight arrays that hold a plane."""
    for (first, second), (a, b) in product(((right, down), (down, right)), product((1, -1), repeat=2)):
        yield a * first, b * second


@pytest.mark.parametrize(
    ("right", "down"), [(LEFT, BACK), (LEFT, -HEAD), (BACK, -HEAD)], ids=["transverse", "coronal", "sagittal"]
)
def test_every_array_of_a_plane_is_shown_as_scanners_do(tmp_path, right, down):
    for number, (read, phase) in enumerate(arrays_of_plane(right, down)):
        image, *_ = written(tmp_path / str(number), [make_cine(read, phase)])
        assert np.allclose(orientation(image), [*right, *down])


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ((0.792, 0.0, 0.61), (0.378, 0.786, -0.49)),
        ((0.749, 0.253, 0.612), (0.151, 0.835, -0.53)),
        ((0.66, 0.26, 0.71), (0.17, 0.86, -0.48)),
        ((0.5, 0.3, 0.81), (0.3, 0.85, -0.43)),
        ((-0.621, 0.783, -0.005), (0.039, 0.025, -0.999)),
        ((0.198, 0.966, 0.166), (0.641, 0.0, -0.767)),
        ((0.995, 0.0, 0.096), (0.079, -0.569, -0.818)),
    ],
    ids=[
        "short axis",
        "steeper short axis",
        "horizontal heart",
        "turned in plane",
        *("2-chamber", "3-chamber", "4-chamber"),
    ],
)
def test_cardiac_views_are_shown_as_a_scanner_stored_them(row, column):
    """Directions of the DICOM images of one examination; the second to fourth ones are those of phantoms."""
    right, down = (np.array(axis) / np.linalg.norm(axis) for axis in (row, column))
    for read, phase in arrays_of_plane(right, down):
        cine = make_cine(read, phase)
        voxel = turned(cine, radiological_turn(cine.first_voxel)).first_voxel
        assert np.allclose(voxel[1], right)
        assert np.allclose(voxel[2], down)


@pytest.mark.parametrize("matrix", [(5, 8), (6, 7)])
@pytest.mark.parametrize("seed", range(4))
def test_voxels_keep_their_values_and_positions(tmp_path, matrix, seed):
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    cines = [make_cine(axes[0], axes[1], matrix, number) for number in range(3)]
    files = written(tmp_path, cines)
    scale = max(float(cine.magnitude.max()) for cine in cines) / 4095
    for cine, image in zip(cines, files[::2], strict=True):
        corner, read, phase, _ = cine.first_voxel
        dy, dx = map(float, image.PixelSpacing)
        row, column = np.split(orientation(image), 2)
        for y, x in np.ndindex(image.pixel_array.shape):
            point = np.array(image.ImagePositionPatient, float) + y * dy * column + x * dx * row - corner
            own = point @ phase / PIXEL[0], point @ read / PIXEL[1]
            index = tuple(np.round(own).astype(int))
            assert np.allclose(own, index, atol=1e-4)
            assert image.pixel_array[y, x] * scale == pytest.approx(cine.magnitude[(0, *index)], abs=scale)


def test_the_direction_of_phase_encoding_follows_the_rows(tmp_path):
    xml = header_xml(matrix=(64, 30), fov=(640.0, 300.0), recon=(32, 30), recon_fov=(320.0, 300.0), limits={})
    for read, phase, expected in ((LEFT, BACK, ("COL", [32, 0, 0, 30])), (BACK, LEFT, ("ROW", [0, 32, 30, 0]))):
        image, *_ = written(tmp_path / expected[0], [replace(make_cine(read, phase), header_xml=xml)])
        assert (image.InPlanePhaseEncodingDirection, list(image.AcquisitionMatrix)) == expected


def test_slices_of_a_stack_are_turned_alike(tmp_path):
    """Diagonal slices are as close to one orientation as to another; rounding does not decide for each slice."""
    half = np.sqrt(0.5)
    cines = []
    for number, error in enumerate((-3e-3, 3e-3, -3e-3)):
        angle = np.pi / 4 + error
        read = np.array([np.cos(angle), -np.sin(angle), 0])
        phase = np.array([np.sin(angle), np.cos(angle), 0])
        cines.append(make_cine(read, phase, number=number))
    images = written(tmp_path, cines)
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert np.abs(orientation(images[0]) - orientation(images[2])).max() < 0.1
    assert np.allclose(np.abs(orientation(images[0])), [half, half, 0, half, half, 0], atol=0.01)


def test_without_geometry_nothing_is_turned():
    cine = CineImage(np.zeros((2, 3, 4), np.complex64))
    assert radiological_turn(None) == Turn()
    assert turned(cine, Turn(is_swapped=True)) is cine


def beating_cine(**maps):
    """A bright disc that grows and shrinks, in the radiological orientation of a transverse slice, with its maps."""
    y, x = np.mgrid[:40, :56]
    radius = np.array([10.0, 8, 6, 8])[:, None, None]
    image = 0.2 + 0.01 * y + 0.002 * x + (np.hypot((y - 14) * 1.5, (x - 33) * 1.25) < radius)
    place = Geometry((3.0, -20.0, 40.0), vector(LEFT), vector(BACK), vector(HEAD), "HFS")
    meta = CineMeta("scan.h5", pixel_size_mm=PIXEL, frame_times_ms=(0.0, 200.0, 400.0, 600.0), geometry=place)
    arrays = {name: (factor * image).astype(np.float32) for name, factor in maps.items()}
    values = image.astype(np.complex64)
    return CineImage(values, 0.9 * values, meta, "cgsense", venc_cm_s=100.0 * ("velocity" in maps), **arrays)


@pytest.mark.parametrize("maps", [{}, {"noise": 0.1, "uncertainty": 0.2}, {"velocity": 70.0}], ids=["", "maps", "flow"])
def test_pictures_do_not_depend_on_the_order_of_rows_and_columns(maps):
    cine = beating_cine(**maps)
    movie, summary = montage([cine]), np.asarray(draw_summary([cine]))
    width = round(384 * 56 * 1.25 / (40 * 1.5))
    assert movie.shape[1:3] == (384, 2 * width + 60 if "velocity" in maps else width)
    for turn in ALL_TURNS:
        stored = turned(cine, turn)
        assert np.array_equal(montage([stored]), movie)
        assert np.array_equal(np.asarray(draw_summary([stored])), summary)


def test_pictures_without_geometry_are_shown_as_they_are():
    cine = beating_cine()
    shown = montage([cine])
    flat = replace(cine, meta=replace(cine.meta, geometry=None))
    assert np.array_equal(montage([flat]), shown)
    upside_down = replace(flat, image=flat.image[:, ::-1])
    middle = slice(40, -40)  # without labels
    assert np.array_equal(montage([upside_down])[:, middle], shown[:, ::-1][:, middle])


def test_the_picture_of_a_case_shows_image_and_kspace_in_the_same_directions(tmp_path):
    cine = beating_cine()
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(cine.image[:1])))[:, 1:, 1:]
    write_case_picture(tmp_path / "a.png", cine, kspace.astype(np.complex64))
    for number, turn in enumerate(ALL_TURNS):
        write_case_picture(tmp_path / f"{number}.png", turned(cine, turn), turn.pixels(kspace).astype(np.complex64))
        assert (tmp_path / f"{number}.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_slices_of_a_movie_are_turned_alike():
    cines = []
    for number, error in enumerate((-3e-3, 3e-3, -3e-3)):
        angle = np.pi / 4 + error
        read = np.array([np.cos(angle), -np.sin(angle), 0])
        cines.append(make_cine(read, np.array([np.sin(angle), np.cos(angle), 0]), number=number))
    assert len(set(display_turns(cines))) == 1
    assert len(set(display_turns([replace(cine, meta=replace(cine.meta, geometry=None)) for cine in cines]))) == 1


@pytest.mark.parametrize("turn", ALL_TURNS)
def test_squares_are_turned_with_the_pixels(turn):
    matrix, size = (9, 14), 4
    image = np.zeros(matrix)
    image[2:6, 7:11] = 1
    y, x = turn.corner((2, 7), size, matrix)
    shown = turn.pixels(image)
    assert shown[y : y + size, x : x + size].sum() == shown.sum() == size**2
