import json

import pytest

from cinerecon.errors import ConfigError
from cinerecon.methods.table import METHODS
from cinerecon.reconstruction.options import ReconSettings
from cinerecon.reconstruction.stream.protocol import PARAMETERS, ProtocolSettings, model_of_config, read_protocol


def settings_of(**parameters):
    return read_protocol(json.dumps({"version": "1.1.0", "parameters": parameters}))


@pytest.mark.parametrize("text", ["", "\0", "{}", '{"parameters": {}}', ' {"version": "1.1.0"}\n\0'])
def test_a_protocol_without_parameters_sets_nothing(text):
    assert read_protocol(text) == ProtocolSettings()


def test_defaults_set_nothing():
    assert all(parameter.default in parameter.choices for parameter in PARAMETERS if parameter.choices)
    defaults = {parameter.id: parameter.default for parameter in PARAMETERS}
    assert settings_of(config="openrecon", **defaults) == ProtocolSettings()


def test_parameters_become_settings_of_a_reconstruction():
    received = settings_of(
        config="ktslr", csm="walsh", strict="True", customconfig="n_iterations=5 preprocessing.crop=[3, 4]"
    )
    assert received.model == "ktslr"
    assert received.options == {
        "csm": "walsh",
        "strict": True,
        "settings": ("n_iterations=5", "preprocessing.crop=[3,", "4]"),
    }
    settings = ReconSettings.parse(received.options, where="protocol")
    assert (settings.csm, settings.strict) == ("walsh", True)
    assert settings_of(customconfig="a='[3, 4]'").options == {"settings": ("a=[3, 4]",)}
    assert settings_of(gating="retro", frames="30").options == {"gating": "retro", "frames": "30"}
    assert settings_of(strict=True).options == {"strict": True}
    assert settings_of(strict="false").options == {"strict": False}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_configuration(name):
    assert model_of_config(name) == name
    assert model_of_config(name + ".xml\0\0") == name


@pytest.mark.parametrize("name", ["", "openrecon", "cinerecon.json", "default.xml"])
def test_the_server_chooses_the_method(name):
    assert model_of_config(name) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[1]", "not a JSON object"),
        ('{"parameters": []}', "not a JSON object"),
        ('{"parameters": {"scm": "walsh"}}', "unknown parameter 'scm'"),
        ('{"parameters": {"csm": "welsh"}}', "no choice 'welsh'"),
        ('{"parameters": {"csm": 3}}', "must be a string"),
        ('{"parameters": {"strict": "maybe"}}', "true or false"),
        ('{"parameters": {"customconfig": "a=\'1"}}', "No closing quotation"),
        ('{"parameters": {"config": "ktsrl"}}', "no method 'ktsrl'"),
    ],
)
def test_wrong_parameters_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        read_protocol(text)
