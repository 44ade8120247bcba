"""Settings of the method and of the preprocessing share the option ``--set``."""

import pytest

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.errors import ConfigError
from cinerecon.options import split_settings, with_preprocessing


def test_settings_are_split_by_their_prefix():
    settings = ["n_iterations=3", "preprocessing.select.set=0", "weight=preprocessing.x"]
    assert split_settings(settings) == (("n_iterations=3", "weight=preprocessing.x"), ("select.set=0",))


def test_preprocessing_takes_its_settings():
    config = with_preprocessing(AcquisitionConfig(), ["preprocessing.csm=walsh", "preprocessing.select.contrast=1"])
    assert config == AcquisitionConfig(csm="walsh", select={"contrast": 1})


@pytest.mark.parametrize(
    ("setting", "what"),
    [("csm=walsh", "unknown setting 'csm=walsh'"), ("preprocessing.cms=walsh", "unknown setting 'cms'")],
)
def test_other_settings_are_errors(setting, what):
    with pytest.raises(ConfigError, match=what) as caught:
        with_preprocessing(AcquisitionConfig(), [setting])
    assert caught.value.where.startswith("--set")
    assert "csm" in caught.value.hint


def test_a_misspelt_preprocessing_setting_is_recognised():
    with pytest.raises(ConfigError, match="unknown setting") as caught:
        split_settings(["preprocesing.csm=walsh"])
    assert caught.value.hint == "did you mean 'preprocessing.csm=walsh'?"
    assert split_settings(["architecture.n_channels=8"]) == (("architecture.n_channels=8",), ())
