import pytest

from cinerecon.errors import ConfigError
from cinerecon.simulation.config import SimulateConfig
from cinerecon.training import TrainConfig
from cinerecon.training.data.config import DataConfig, parse_crop


def test_choices_are_a_mapping_a_list_or_one_value():
    config = DataConfig.parse({"masks": ["gaussian:8", "gaussian:8", "radial:16"], "coils": 4, "crops": {"all": 3}})
    assert config.masks == {"gaussian:8": 2, "radial:16": 1}
    assert config.coils == {4: 1}
    assert config.crops == {"all": 3}
    assert DataConfig.parse({"coils": ["all", 1]}).coils == {"all": 1, 1: 1}


def test_a_recipe_survives_being_written_as_json_or_yaml():
    config = DataConfig.parse({"coils": {"all": 2, 8: 1}, "frame_steps": [1, 2], "n_frames": None})
    assert DataConfig.parse(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("text", "crop"), [("128x24", (128, 24)), ("all x 24", (None, 24)), ("64xall", (64, None)), ("all", (None, None))]
)
def test_crops(text, crop):
    assert parse_crop(text) == crop


@pytest.mark.parametrize("text", ["128", "0x24", "128x", "128x24x2", "big"])
def test_wrong_crops_are_named(text):
    with pytest.raises(ConfigError, match=f"'{text}' is not a crop"):
        DataConfig.parse({"crops": [text]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"masks": ["gauss:8"]}, "unknown sampling pattern 'gauss'"),
        ({"masks": []}, "masks"),
        ({"coils": {1: -1}}, "greater than 0"),
        ({"sources": {"a": {"kind": "prepared"}}}, "folder"),
        ({"sources": {"a": {"kind": "phantoms"}}}, "phantoms"),
        ({"noise": [0, 0.1]}, "greater than 0"),
        ({"noise": [0.1, 0.01]}, "setting 'noise': expected the smaller number first"),
        ({"augment": {"scale": [1.2, 0.8]}}, "setting 'augment.scale': expected the smaller number first"),
        ({"augment": {"gamma": [-1, 1]}}, "setting 'augment.gamma.0': input should be greater than 0"),
        ({"crops": [[32, 16]]}, "setting 'crops': expected a choice, a list of choices, or a mapping"),
        ({"crops": 32}, "setting 'crops.32': input should be a valid string"),
        ({"coils": 0}, "setting 'coils.0': input should be greater than 0"),
        ({"frame_steps": [-1, 1]}, "setting 'frame_steps.-1': input should be greater than 0"),
        ({"sources": {"a": {"kind": "phantom", "matrix": [0, 32]}}}, "setting 'sources.a.matrix.0'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig.parse(settings)


def test_sources_can_be_set_one_by_one():
    config = DataConfig().with_settings(["sources.phantom.n_cases=3", "sources.more={kind: prepared, folder: data}"])
    assert config.sources["phantom"].n_cases == 3
    assert str(config.sources["more"].folder) == "data"


def test_former_names_of_settings_are_still_read():
    old = {
        "average": 0.9,
        "decay": 0.8,
        "divergence": 7.0,
        "data": {"n_kept": 3, "n_frames_of_kept": 2, "noise_free": 0.4, "augment": {"quarter_turns": True}},
    }
    config = TrainConfig.parse(old)
    assert (config.ema_decay, config.lr_decay, config.divergence_factor) == (0.9, 0.8, 7.0)
    data = config.data
    assert (data.n_cached_batches, data.n_cached_frames, data.p_noise_free, data.augment.rotate_90) == (3, 2, 0.4, True)
    assert config.with_settings(["data.augment.quarter_turns=false"]).data.augment.rotate_90 is False
    scan = SimulateConfig.parse({"frames": 3, "coils": 2, "slices": 4})
    assert (scan.n_frames, scan.n_coils, scan.n_slices) == (3, 2, 4)
