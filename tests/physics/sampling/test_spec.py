import zlib

import numpy as np
import pytest
import torch

from cinerecon.errors import ConfigError
from cinerecon.physics.sampling import PATTERNS, MaskSpec, parse_mask, parse_sampling, sampling_kind

TEXTS = [f"{name}:{16 if 'radial' in name else 4}" for name in PATTERNS if name != "full"]
FIRST_DRAWS = {
    "gaussian:4": 3495006872,
    "kt-gaussian:4": 1888900632,
    "uniform:4": 4194807954,
    "vds-ky:4": 30379443,
    "equispaced:4": 397677186,
    "kt-equispaced:4": 549728634,
    "golden:4": 1779109422,
    "gro:4": 3874901758,
    "cava:4": 2107199490,
    "vista:4": 646441802,
    "poisson:4": 2859474054,
    "poisson-2d:4": 2609136907,
    "radial:16": 4091974348,
    "kt-radial:16": 354943604,
    "vds:4": 3500969893,
    "uniform-2d:4": 1404769809,
}


@pytest.mark.parametrize("text", ["full:1", *TEXTS])
def test_every_pattern_is_seeded_and_of_the_right_shape(text):
    spec = parse_mask(text)
    mask = torch.from_numpy(spec.draw(6, 40, 36, seed=3))
    assert mask.dtype == torch.bool
    assert mask.shape == (6, 1, 40, 1 if spec.samples_whole_readouts else 36)
    assert torch.equal(mask, torch.from_numpy(spec.draw(6, 40, 36, seed=3)))
    assert text == "full:1" or not torch.equal(mask, torch.from_numpy(spec.draw(6, 40, 36, seed=4)))
    assert parse_mask(str(spec)) == spec


@pytest.mark.parametrize("text", ["full:1", *TEXTS, "gaussian:4,fixed", "vds:4,fixed", "equispaced:4,shifted"])
def test_the_kind_of_a_pattern_is_that_of_its_masks(text):
    spec = parse_mask(text)
    assert spec.kind == sampling_kind(torch.from_numpy(spec.draw(4, 256, 256)))


@pytest.mark.parametrize("text", TEXTS)
def test_the_draws_of_a_seed_never_change(text):
    mask = torch.from_numpy(parse_mask(text).draw(5, 48, 44, seed=7))
    assert zlib.crc32(np.packbits(mask.numpy())) == FIRST_DRAWS[text]


@pytest.mark.parametrize("text", ["gaussian:4,fixed", "vds:4,fixed"])
def test_a_fixed_mask_is_one_for_all_frames(text):
    mask = torch.from_numpy(parse_mask(text).draw(6, 40, 36))
    assert (mask == mask[0]).all()
    mask[0] = False
    assert mask[1].any()


def test_options_in_any_order():
    assert parse_mask(" equispaced:8 , shifted, acs=24,adjusted ") == parse_mask("equispaced:8,acs=24,adjusted,shifted")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gauss:8", "unknown sampling pattern 'gauss'"),
        ("gaussian", "is not of the form NAME:NUMBER"),
        ("gaussian:x", "is not of the form NAME:NUMBER"),
        ("gaussian:8,lines=3", "'gaussian' has no option 'lines'"),
        ("radial:16,acs=4", "'radial' has no option 'acs'"),
        ("gaussian:8,shifted", "no option 'shifted'"),
        ("gaussian:8,fixed=1", "is not of the form NAME:NUMBER"),
        ("gaussian:8,acs", "is not of the form NAME:NUMBER"),
        ("gaussian:0.5", "at least 1"),
        ("gaussian:nan", "at least 1"),
        ("gaussian:8,acs=-1", "at least 0"),
        ("radial:16.5", "number of spokes"),
    ],
)
def test_wrong_texts_are_named(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_mask(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("gausian:8", "did you mean 'gaussian'?"),
        ("gaussian8", "write gaussian:8"),
        ("kt-radial 4", "write kt-radial:4"),
        ("vds=6.5x", "write vds:6.5"),
        ("gaussian", "write e.g. gaussian:8,acs=4"),
        ("radial:x", "write e.g. radial:16"),
        ("full:x", "write e.g. full"),
        ("vds:0.5", "vds:8"),
    ],
)
def test_a_hint_says_what_to_write(text, hint):
    with pytest.raises(ConfigError) as error:
        parse_mask(text)
    assert error.value.hint.startswith(hint)
    if hint.startswith("write"):
        assert parse_mask(hint.split()[-1]).pattern == hint.split()[-1].partition(":")[0]


def test_the_text_of_a_pattern_is_read_back():
    for text in ("vds:8.1234567", "gaussian:8,acs=4", "kt-equispaced:3"):
        assert str(parse_mask(text)) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gauss", 8), "unknown sampling pattern 'gauss'"),
        (("gaussian", 0.5), "acceleration must be at least 1"),
        (("gaussian", "8"), "the acceleration is '8', expected a number"),
        (("radial", 16.5), "number of spokes"),
        (("radial", 16, 4), "'radial' has no option 'acs'"),
        (("gaussian", 8, None, frozenset({"shifted"})), "no option 'shifted'"),
    ],
)
def test_wrong_patterns_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        MaskSpec(*arguments)


@pytest.mark.parametrize("text", [None, 8, ["gaussian:8"]])
def test_a_pattern_is_a_text(text):
    with pytest.raises(ConfigError, match="a sampling pattern must be a string, found"):
        parse_mask(text)
    with pytest.raises(ConfigError, match="a sampling pattern must be a string, found"):
        parse_sampling(text)


@pytest.mark.parametrize(
    ("sizes", "seed", "name"),
    [
        ((0, 32, 32), 0, "n_frames"),
        ((-1, 32, 32), 0, "n_frames"),
        ((4.0, 32, 32), 0, "n_frames"),
        ((4, 0, 32), 0, "ky"),
        ((4, 32, True), 0, "kx"),
        ((4, 32, 32), -1, "seed"),
        ((4, 32, 32), 0.5, "seed"),
        ((4, 32, 32), None, "seed"),
    ],
)
def test_wrong_sizes_and_seeds_are_named(sizes, seed, name):
    with pytest.raises(ConfigError, match=f"{name} is .*, expected a whole number of at least"):
        parse_mask("gaussian:2").draw(*sizes, seed)


def test_sizes_and_seeds_of_numpy_are_whole_numbers():
    drawn = parse_mask("gaussian:4").draw(np.int64(4), np.int32(32), np.uint8(32), np.int64(3))
    np.testing.assert_array_equal(drawn, parse_mask("gaussian:4").draw(4, 32, 32, 3))
