"""Undersampled scans as training data: strips along whole readouts, and validation samples that training never uses."""

from dataclasses import replace

import pytest
import torch
from helpers import relative_error
from small_recipe import RECIPE, ZeroFilled

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import read_slices
from cinerecon.archives.case_index import IndexRow, append_rows
from cinerecon.errors import ConfigError, FileError
from cinerecon.io.case import write_case
from cinerecon.methods.model_file import read_model
from cinerecon.methods.normalisation import scale_of
from cinerecon.simulation.scan import SimulateConfig, simulate_scan
from cinerecon.training import Recipe, TrainCallbacks, TrainOptions, train
from cinerecon.training.batches import DataPaths, open_training_data
from cinerecon.training.card import list_data
from cinerecon.training.scans import ScanBatches, open_scans
from cinerecon.training.validation import validate


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "under.h5"
    sizes = {"n_frames": 8, "ky": 48, "kx": 40, "n_coils": 3, "n_slices": 2, "noise": 0.002}
    simulate_scan(path, SimulateConfig(**sizes, undersample="gaussian:3"))
    return path


@pytest.fixture
def make_batches(make_recipe, scan):
    def make(*settings, scale="brightness", **options):
        config = make_recipe("loss=ssdu", *settings).training
        return ScanBatches(open_scans([scan], AcquisitionConfig(), scale), config, (0, 1), **options)

    return make


def test_all_slices_are_found(make_batches, scan):
    assert make_batches().scans.slices == ((scan, 0), (scan, 1))


def test_a_folder_of_scans_is_taken_as_its_scans(make_recipe, scan):
    assert open_scans([scan.parent], AcquisitionConfig(), "brightness") == open_scans(
        [scan], AcquisitionConfig(), "brightness"
    )
    (line,) = list_data(make_recipe().training.data, scans=[scan.parent]).splitlines()
    assert line.startswith(f"scan {scan.parent.name}/under.h5 ")
    with pytest.raises(FileError, match="no scan"):
        open_scans([], AcquisitionConfig(), "brightness")


def test_a_folder_gives_its_training_cases(scan, make_recipe, tmp_path):
    for data, split in zip(read_slices(scan), ("train", "test"), strict=True):
        write_case(tmp_path / f"{split}.h5", replace(data, reference=None))
        sizes = (data.n_frames, data.n_coils, *data.matrix)
        append_rows(tmp_path, [IndexRow(f"{split}.h5", split, split, "sim", 0, 0, 1, *sizes, 3.0, "", *["0" * 64] * 3)])
    scans = open_scans([tmp_path], AcquisitionConfig(), "brightness")
    assert scans.slices == ((tmp_path / "train.h5", 0),)
    config = make_recipe("loss=ssdu").training
    stored = ScanBatches(scans, config, (0, 1))[0]
    measured = ScanBatches(replace(scans, slices=((scan, 0),)), config, (0, 1))[0]
    assert relative_error(stored.kspace, measured.kspace) < 1e-6
    assert list_data(config.data, scans=[tmp_path]) == f"scan train.h5 {'0' * 64}\n"


def test_a_batch_holds_what_was_measured_at_the_scale_of_the_scan(make_batches, scan):
    batches = make_batches("data.crops=all", "data.n_frames=null", "batch_size=1", scale="kspace_max")
    batch = batches[0]
    assert batch.target is None
    seen = batch.kspace + batch.loss_samples[0]
    slices = list(read_slices(scan))
    frames = [
        torch.stack([torch.roll(cine.kspace / scale_of(cine, "kspace_max"), -first, 0) for first in range(8)])
        for cine in slices
    ]
    mask = batch.encoding.mask | batch.loss_samples[1].mask
    errors = [relative_error(seen[0], one * mask[0]) for cine in frames for one in cine]
    assert min(errors) < 1e-6


def test_strips_are_cut_along_whole_readouts(make_batches):
    batch = make_batches("data.crops=40x16", "data.n_frames=5", "batch_size=2")[3]
    assert batch.kspace.shape == (2, 5, 3, 48, 16)
    assert batch.encoding.csm.shape == (2, 3, 48, 16)
    assert batch.encoding.mask.shape == (2, 5, 1, 48, 1)
    assert batch.loss_samples[0].abs().sum() > 0


def test_samples_of_validation_are_never_seen_in_training(make_batches):
    settings = ("data.crops=all", "data.n_frames=null", "batch_size=1")
    validation = make_batches(*settings, is_validation=True)
    never = {}
    for number in range(12):
        batch = validation[number]
        held = batch.loss_samples[1].mask[0, :, 0, :, 0]
        never[tuple(sorted(map(tuple, held.tolist())))] = held
    assert len(never) == 2  # one set of frames for each slice, in any order
    training = make_batches(*settings)
    for number in range(12):
        batch = training[number]
        used = (batch.encoding.mask | batch.loss_samples[1].mask)[0, :, 0, :, 0]
        fits = [not (used & torch.roll(held, shift, 0)).any() for held in never.values() for shift in range(len(held))]
        assert any(fits)


@pytest.mark.slow
def test_fine_tuning_on_one_scan_explains_more_of_the_held_out_samples(scan, tmp_path):
    steps = []
    settings = ["training.loss=ssdu", "training.n_steps=40", "training.save_every=20", "training.data.crops=all"]
    recipe = Recipe.parse(RECIPE).with_settings([*settings, "training.licence=CC0-1.0"])
    train(
        recipe,
        tmp_path / "run",
        TrainOptions(DataPaths(tmp_path / "run", scans=(scan,))),
        TrainCallbacks(on_validation=steps.append),
    )
    batches = open_training_data(recipe, DataPaths(tmp_path, scans=(scan,))).draw_validation()
    assert steps[-1].validation > validate(ZeroFilled(), batches) + 2
    card = read_model(tmp_path / "run")[0].card
    assert card.trained_on.startswith("under.h5; as sampled")
    assert (card.coils, card.lines, card.whole_readouts, card.licence) == ((3, 3), (48, 48), True, "CC0-1.0")
    assert card.acceleration[0] == pytest.approx(3, abs=0.2)


def test_a_loss_that_needs_the_truth_is_refused(scan, make_recipe, tmp_path):
    with pytest.raises(ConfigError, match="loss mse needs a reference") as error:
        train(make_recipe(), tmp_path / "run", TrainOptions(DataPaths(tmp_path / "run", scans=(scan,))))
    assert "ssdu" in error.value.hint
