import numpy as np
import pytest
import torch
from helpers import relative_error

from cinerecon.errors import DataError
from cinerecon.methods.table import load_method
from cinerecon.physics.fourier import fft2c
from cinerecon.physics.sampling import net_acceleration
from cinerecon.training.data.batch import Batches, _draw_window
from cinerecon.training.data.config import DataConfig
from cinerecon.training.data.pool import open_pool
from cinerecon.training.data.workers import load_batches

QUIET = {"p_noise_free": 1.0, "n_windows": 1, "n_frames": 6}
PHANTOM = {"kind": "phantom", "n_cases": 2, "matrix": [48, 48], "n_coils": 3, "mask": "gaussian:3"}


@pytest.fixture
def make(prepared, cache):
    """Batches of a size from phantoms, prepared cases, or both."""

    def make_batches(size=2, sources=("phantom",), seed=0, initial_method=None, **settings):
        known = {"phantom": PHANTOM, "prepared": {"kind": "prepared", "folder": str(prepared)}}
        values = {"sources": {name: known[name] for name in sources}, "crops": "40x20", "coils": 1, **QUIET, **settings}
        config = DataConfig.parse({"masks": "gaussian:3", **values})
        return Batches(open_pool(config, cache), config, size, (seed,), initial_method)

    return make_batches


def same(first, second):
    """Whether two batches are equal to the last bit."""
    pairs = [(getattr(first, name), getattr(second, name)) for name in ("kspace", "target", "initial_image")]
    pairs += [(getattr(first.encoding, name), getattr(second.encoding, name)) for name in ("mask", "csm")]
    return all(b is None if a is None else torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("coils", [1, 3])
@pytest.mark.parametrize("sources", [["phantom"], ["prepared"], ["phantom", "prepared"]])
def test_a_batch_is_what_its_encoding_measures_of_the_target(make, coils, sources):
    batch = make(coils=coils, sources=sources)[0]
    assert batch.target.shape == (2, 6, 40, 20)
    assert batch.kspace.shape == (2, 6, coils, 40, 20)
    measured = batch.encoding.forward(batch.target)
    # one coil: exactly; several: but for the error of the estimated maps
    assert relative_error(measured, batch.kspace) < (1e-5 if coils == 1 else 0.2)
    assert not (batch.kspace * ~batch.encoding.mask).any()
    assert net_acceleration(batch.encoding.mask) == pytest.approx(40 / 13)


def test_a_batch_follows_from_seed_and_number(make):
    batches = make()
    third = batches[3]
    batches[0]
    assert same(third, batches[3])
    assert same(third, make()[3])
    assert not same(third, batches[4])
    assert not same(third, make(seed=1)[3])


@pytest.mark.parametrize("sources", [["phantom"], ["prepared", "phantom"]])
def test_workers_draw_the_same_batches_in_the_same_order(make, sources):
    batches = make(sources=sources, coils={1: 1, 3: 1}, crops={"40x20": 1, "allx16": 1}, p_noise_free=0.0)
    drawn = [list(load_batches(batches, range(2, 7), n_workers)) for n_workers in (0, 1, 2)]
    for others in drawn[1:]:
        assert len(others) == 5
        assert all(same(a, b) for a, b in zip(drawn[0], others, strict=True))


@pytest.mark.slow
def test_threads_change_nothing(make):
    batches = make(crops="all", coils=3, initial_method=load_method("ktslr", ["n_iterations=3"]))
    n_threads = torch.get_num_threads()
    drawn = []
    for n in (1, 2):
        torch.set_num_threads(n)
        drawn.append(batches[0])
        assert torch.get_num_threads() == n
    torch.set_num_threads(n_threads)
    assert same(*drawn)


def test_the_initial_image_is_of_the_whole_beat_and_cut_like_the_target(make):
    seen = []

    class Start:
        def __call__(self, data, progress=None):
            seen.append(data.kspace.shape)
            return data.kspace[:, :, 0]

    batch = make(n_frames=4, n_windows=2, initial_method=Start())[0]
    assert seen == [(2, 25, 1, 40, 20)]
    assert batch.initial_image.shape == batch.target.shape == (4, 4, 40, 20)
    assert torch.equal(batch.initial_image, batch.kspace[:, :, 0])


def test_windows_follow_one_another_in_time(make):
    whole = make(n_frames=8)[0]
    halves = make(n_frames=4, n_windows=2)[0]
    assert torch.equal(halves.target.reshape(2, 8, 40, 20), whole.target)
    assert torch.equal(halves.kspace.reshape(2, 8, 1, 40, 20), whole.kspace)


def test_all_frames_rows_columns_and_coils(make):
    batches = make(size=1, sources=["prepared"], crops="all", coils="all", n_frames=None)
    shapes = {tuple(batches[number].kspace.shape[1:]) for number in range(12)}
    assert shapes == {(10, 3, 40, 48), (8, 4, 48, 40), (8, 1, 40, 40)}


def test_whole_slices_of_mixed_sizes_are_bucketed(make):
    batches = make(size=3, sources=["prepared", "phantom"], crops="all", coils=1)
    shapes = {tuple(batches[number].target.shape) for number in range(16)}
    assert shapes == {(3, 6, 40, 48), (3, 6, 48, 40), (3, 6, 40, 40), (3, 6, 48, 48)}


def test_sizes_are_drawn_by_their_weights(make):
    batches = make(size=1, crops={"32x16": 3, "16x16": 1}, n_frames=2)
    found = [batches[number].target.shape[-2] for number in range(60)]
    assert 30 < found.count(32) < 57


@pytest.mark.parametrize("settings", [{"crops": "64x20"}, {"coils": 5}, {"n_frames": 30}])
def test_nothing_is_padded(make, settings):
    with pytest.raises(DataError, match="no case is large enough"):
        make(**settings)[0]


def test_noise_has_the_given_level(make):
    quiet, noisy = make(n_frames=12)[0], make(n_frames=12, p_noise_free=0.0, noise=[0.05, 0.0500001])[0]
    difference = noisy.kspace - quiet.kspace
    assert float(difference[difference != 0].abs().square().mean().sqrt()) == pytest.approx(0.05, rel=0.05)


def test_points_and_mask_files(make, tmp_path):
    mask = np.random.default_rng(0).random((6, 40, 20)) < 0.3
    np.save(tmp_path / "mask.npy", mask)
    batch = make(masks=str(tmp_path / "mask.npy"))[0]
    assert np.array_equal(batch.encoding.mask[:, :, 0], np.stack([mask, mask]))
    batch = make(masks="radial:8")[0]
    assert batch.encoding.mask.shape == (2, 6, 1, 40, 20)
    assert not torch.equal(batch.encoding.mask[0], batch.encoding.mask[1])


def test_strips_are_where_the_heart_moves(make):
    batches = make(size=16, crops="16x12", n_frames=25)
    everywhere = np.mean([case.motion().mean() for case in batches.pool.groups[0].cases])
    assert float(batches[0].target.abs().std(1).mean()) > 1.1 * everywhere


def test_windows_exclude_unmeasured_samples():
    motion = np.full((30, 40), np.nan)
    motion[5:25, 8:30] = 0.1
    motion[10:14, 20:24] = 5.0
    rng, centres = np.random.default_rng(0), []
    for _ in range(200):
        rows, columns = _draw_window(motion, (8, 6), rng)
        assert not np.isnan(motion[rows, columns]).any()
        centres.append((rows.start + 4, columns.start + 3))
    close = np.mean([abs(y - 12) <= 6 and abs(x - 22) <= 5 for y, x in centres])
    assert 0.45 < close < 0.95  # half of the time in proportion to the motion
    rows, columns = _draw_window(motion, (30, 6), rng)  # no window is clear: one of those that hold the least
    assert np.isnan(motion[rows, columns]).sum() == 10 * 6


def test_the_noise_level_comes_with_the_batch(make):
    batch = make(size=3, p_noise_free=0.5, noise=[0.01, 0.1], n_frames=3, n_windows=2)[4]
    clean = make(size=3, p_noise_free=1.0, n_frames=3, n_windows=2)[4]
    assert batch.noise.shape == (6,)
    assert torch.equal(batch.noise[::2], batch.noise[1::2])
    for level, kspace, mask, target in zip(batch.noise, batch.kspace, batch.encoding.mask, batch.target, strict=True):
        noise = (kspace - fft2c(target)[:, None] * mask)[mask.expand(kspace.shape)]
        assert float(noise.abs().square().mean().sqrt()) == pytest.approx(float(level), rel=0.1, abs=1e-5)
    assert (clean.noise == 0).all()


@pytest.mark.parametrize("coils", [1, 3])
def test_augmentation_keeps_maps_and_data_together(make, coils):
    augment = {"rotate": 20, "shear": 0.1, "shift": 1.0, "rotate_90": True, "phase": 0.5, "turn_phase": True}
    batches = make(size=4, crops="40x40", coils=coils, augment=augment)
    for number in range(3):
        batch = batches[number]
        assert relative_error(batch.encoding.forward(batch.target), batch.kspace) < (1e-5 if coils == 1 else 0.25)


def test_patterns_of_points_have_crops_of_their_own(make):
    batches = make(size=1, n_frames=2, masks=["gaussian:3", "radial:6"], crops="40x12", crops_2d="24x24")
    for number in range(12):
        batch = batches[number]
        is_pointwise = batch.encoding.mask.shape[-1] > 1
        assert tuple(batch.target.shape[-2:]) == ((24, 24) if is_pointwise else (40, 12))
        assert relative_error(batch.encoding.forward(batch.target), batch.kspace) < 1e-5


@pytest.mark.parametrize("n_workers", [0, 1])
def test_an_error_keeps_its_parts_in_any_process(make, n_workers):
    batches = make(crops="64x20")
    with pytest.raises(DataError, match="no case is large enough") as error:
        next(load_batches(batches, [0], n_workers))
    assert error.value.where == "training.data"
    assert "Traceback" not in str(error.value)
