from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import relative_error

from cinerecon.io.case import read_case, write_case
from cinerecon.methods.normalisation import image_scale
from cinerecon.physics.fourier import ifft2c
from cinerecon.training.data.augment import AugmentConfig
from cinerecon.training.data.batch import Batches
from cinerecon.training.data.case import PreparedCase
from cinerecon.training.data.config import DataConfig, PhantomSource
from cinerecon.training.data.pool import CasePool, Group
from cinerecon.training.data.simulated import phantom_cases

STILL, FRAMES, WINDOW = AugmentConfig(), np.array([7, 1, 2]), (slice(5, 37), slice(10, 22))
TEN_FRAMES = DataConfig(
    crops={"40x20": 1}, n_frames=10, n_windows=1, coils={1: 1}, frame_steps={1: 1}, masks={"gaussian:3": 1}
)
MOVING = AugmentConfig(rotate=20, shear=0.1, shift=2)


def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def phantom(cache):
    return phantom_cases(PhantomSource(matrix=(48, 44), n_coils=3, n_cases=2), cache)[1]


@pytest.fixture(scope="module")
def whole(prepared):
    """Case a: (10, 3, 40, 48)."""
    return read_case(prepared / "a.h5")


def of_prepared(prepared, signal="measured"):
    return PreparedCase((10, 3, 40, 48), prepared / "a.h5", signal)


def test_a_phantom_has_unit_scale_and_maps_that_nearly_fit(phantom):
    everything = phantom.cut(np.arange(25), (slice(0, 48), slice(0, 44)), 3, STILL, rng())
    image = phantom.cut(np.arange(25), (slice(0, 48), slice(0, 44)), 1, STILL, rng())
    assert image.csm is None
    assert float(image_scale(image.target)) == pytest.approx(1, rel=1e-3)  # half precision
    assert torch.allclose(everything.csm.abs().square().sum(0), torch.ones(48, 44), atol=1e-5)
    # what the estimated maps do not explain
    lost = everything.coil_images - everything.csm * everything.target[:, None]
    assert 1e-5 < float(lost.norm() / everything.coil_images.norm()) < 0.2


def test_a_cut_is_the_part_of_the_whole(phantom):
    whole = phantom.cut(np.arange(25), (slice(0, 48), slice(0, 44)), 2, STILL, rng())
    part = phantom.cut(FRAMES, WINDOW, 2, STILL, rng())
    assert torch.equal(part.coil_images, whole.coil_images[FRAMES][..., 5:37, 10:22])
    assert torch.equal(part.csm, whole.csm[..., 5:37, 10:22])


def test_a_phantom_is_drawn_once_or_each_time_and_is_the_same(cache, phantom):
    times = {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")}
    again = phantom_cases(PhantomSource(matrix=(48, 44), n_coils=3, n_cases=9, weight=2), cache)[1]
    fresh = phantom_cases(PhantomSource(matrix=(48, 44), n_coils=3, n_cases=9, keep=False), cache)[1]
    first = phantom.cut(FRAMES, WINDOW, 3, STILL, rng())
    for other in (again, fresh):
        assert torch.equal(other.cut(FRAMES, WINDOW, 3, STILL, rng()).coil_images, first.coil_images)
        assert np.array_equal(other.motion(), phantom.motion())
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")} == times


def test_other_settings_are_other_files(cache, phantom):
    other = phantom_cases(PhantomSource(matrix=(48, 44), n_coils=3, seed=1), cache)[1]
    assert other.path != phantom.path


def test_a_moved_phantom_has_the_same_coils(phantom):
    still, moved = (phantom.cut(FRAMES, WINDOW, 2, config, rng()) for config in (STILL, MOVING))
    image = phantom.cut(FRAMES, WINDOW, 1, MOVING, rng()).target
    assert relative_error(moved.coil_images, still.coil_images) > 0.1
    assert torch.equal(moved.csm, still.csm)
    unmoved = phantom.cut(FRAMES, WINDOW, 1, STILL, rng()).target
    assert relative_error(moved.coil_images * unmoved[:, None], still.coil_images * image[:, None]) < 1e-5


@pytest.mark.parametrize("coils", [1, 2, 3])
def test_a_prepared_case_gives_what_was_measured(prepared, whole, coils):
    patch = of_prepared(prepared).cut(FRAMES, WINDOW, coils, STILL, rng())
    scale = float(image_scale(whole.reference))
    if coils == 1:
        assert patch.csm is None
        assert relative_error(patch.target * scale, whole.reference[FRAMES][..., 5:37, 10:22]) < 1e-6
        return
    chosen = np.random.default_rng(0).permutation(3)[:coils]
    expected = ifft2c(whole.kspace)[FRAMES][:, chosen][..., 5:37, 10:22]
    assert relative_error(patch.coil_images * scale, expected) < 1e-6
    if coils == 3:
        assert relative_error(patch.target * scale, whole.reference[FRAMES][..., 5:37, 10:22]) < 1e-5


def test_a_real_time_case_is_not_periodic(whole, tmp_path):
    write_case(tmp_path / "case.h5", replace(whole, meta=replace(whole.meta, is_real_time=True)))
    real_time = PreparedCase((10, 3, 40, 48), tmp_path / "case.h5", "measured")
    assert not real_time.is_periodic
    batches = Batches(CasePool((Group(real_time.shape, [real_time], "rt", 1.0),)), TEN_FRAMES, 1, (0,))
    images = [batches[number].target[0].abs() for number in range(4)]
    steps = [image.diff(dim=0).flatten(1).norm(dim=1) for image in images]
    assert all(step.min() == 0 for step in steps)  # where the series turns round


def test_a_combined_case_is_the_image_under_its_maps(prepared, whole):
    patch = of_prepared(prepared, "combined").cut(FRAMES, WINDOW, 3, STILL, rng())
    scale = float(image_scale(whole.reference))
    expected = whole.reference[FRAMES][:, None] * whole.csm[np.random.default_rng(0).permutation(3)]
    assert relative_error(patch.coil_images * scale, expected[..., 5:37, 10:22]) < 1e-5
    assert relative_error(patch.target * scale, whole.reference[FRAMES][..., 5:37, 10:22]) < 1e-5


def test_a_combined_case_can_be_moved(prepared):
    still, moved = (
        of_prepared(prepared, "combined").cut(FRAMES, (slice(0, 40), slice(0, 48)), 1, config, rng()).target
        for config in (STILL, MOVING)
    )
    assert relative_error(moved, still) > 0.1
    assert float(moved.norm()) == pytest.approx(float(still.norm()), rel=1e-5)


def test_motion_is_where_the_heart_is(prepared, whole):
    motion = of_prepared(prepared).motion()
    assert motion == pytest.approx(whole.reference.abs().std(0, unbiased=False).numpy(), rel=1e-5)
