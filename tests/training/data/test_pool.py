from collections import Counter

import numpy as np
import pytest

from cinerecon.errors import ConfigError, DataError, FileError
from cinerecon.training.data.config import DataConfig, SeriesSource
from cinerecon.training.data.pool import CasePool, Group, open_pool
from cinerecon.training.data.series import series_warnings

SMALL, LARGE = (8, 1, 40, 40), (8, 1, 64, 64)
POOL = CasePool(
    (
        Group(SMALL, ["s0", "s1", "s2"], "first", 1.0),
        Group(LARGE, ["l0"], "first", 1.0),
        Group(LARGE, ["x0", "x1"], "second", 3.0),
    )
)


def shares(pool, fit, n=8000):
    rng = np.random.default_rng(0)
    found = Counter(pool.draw(1, fit, rng)[1][0] for _ in range(n))
    return {case: count / n for case, count in found.items()}


def test_sources_are_drawn_by_their_weights_and_cases_alike():
    found = shares(POOL, lambda shape: shape)
    expected = {"s0": 1 / 16, "s1": 1 / 16, "s2": 1 / 16, "l0": 1 / 16, "x0": 3 / 8, "x1": 3 / 8}
    assert found == pytest.approx(expected, abs=0.02)


def test_a_source_keeps_its_share_where_some_of_its_cases_are_too_small():
    found = shares(POOL, lambda shape: (8, 1, 64, 64) if shape == LARGE else None)
    assert found == pytest.approx({"l0": 1 / 4, "x0": 3 / 8, "x1": 3 / 8}, abs=0.02)


def test_a_batch_holds_one_size_only():
    rng, seen = np.random.default_rng(1), set()
    for _ in range(200):
        strip, cases = POOL.draw(3, lambda shape: shape, rng)
        seen.add(strip)
        assert {case[0] == "s" for case in cases} == {strip == SMALL}
    assert seen == {SMALL, LARGE}


def test_crops_mix_cases_of_all_sizes():
    _, cases = POOL.draw(200, lambda _: (8, 1, 32, 32), np.random.default_rng(2))
    assert set(cases) == {"s0", "s1", "s2", "l0", "x0", "x1"}


def test_too_large_a_crop_names_the_sizes():
    with pytest.raises(DataError, match="8 x 1 x 40 x 40, 8 x 1 x 64 x 64"):
        POOL.draw(1, lambda _: None, np.random.default_rng(0))


def test_prepared_cases_by_size_and_split(prepared, tmp_path):
    config = DataConfig.parse({"sources": {"data": {"kind": "prepared", "folder": str(prepared)}}})
    sizes = {group.shape: [case.path.stem for case in group.cases] for group in open_pool(config, tmp_path).groups}
    assert sizes == {(10, 3, 40, 48): ["a", "c"], (8, 4, 48, 40): ["b"], (8, 1, 40, 40): ["d"]}
    (unseen,) = open_pool(config, tmp_path, "val").groups
    assert [case.path.stem for case in unseen.cases] == ["e"]


def test_training_never_sees_the_phantoms_of_validation(tmp_path):
    seen, unseen = (open_pool(DataConfig(), tmp_path, part).groups[0] for part in ("train", "val"))
    assert {case.path for case in seen.cases}.isdisjoint(case.path for case in unseen.cases)
    assert seen.cases[0].path.parent != unseen.cases[0].path.parent


def test_series_are_left_out_by_name_or_without_a_folder(tmp_path, write_series):
    for name in ("kept", "held_out"):
        write_series(tmp_path / f"{name}.npz")
    settings = {"sources": {"real": {"kind": "series", "leave_out": ["held_out"], "n_variants": 3, "matrix": [48, 40]}}}
    config = DataConfig.parse(settings)
    (group,) = open_pool(config, tmp_path / "cases", folders=[tmp_path]).groups
    assert [case.path.parent.name.split("-")[0] for case in group.cases] == ["kept"] * 3
    assert group.shape == (4, 8, 48, 40)
    (stand_in,) = open_pool(config, tmp_path / "cases", "val", folders=[tmp_path]).groups
    assert stand_in.shape == (25, 8, 192, 192)
    with pytest.raises(FileError, match="no training data"):
        open_pool(config, tmp_path / "cases")
    with pytest.raises(FileError, match="no measured series"):
        open_pool(config, tmp_path / "cases", folders=[tmp_path / "elsewhere"])


def test_segmentations_and_empty_frames_among_series_are_left_out(tmp_path, write_series):
    padded = np.random.default_rng(1).integers(1, 99, (4, 40, 60))
    padded[3] = 0
    labels = np.zeros((4, 40, 60), np.uint8)
    labels[:, 10:30, 20:40], labels[:, 15:25, 25:35] = 1, 2
    write_series(tmp_path / "cine.npz", magnitude=padded)
    write_series(tmp_path / "cine_gt.npz", magnitude=labels)
    source = {"kind": "series", "folder": str(tmp_path), "matrix": [32, 32], "n_variants": 1}
    config = DataConfig.parse({"sources": {"real": source}})
    (group,) = open_pool(config, tmp_path / "cases").groups
    assert group.shape == (3, 8, 32, 32)
    assert group.cases[0].draw().image.shape == (3, 32, 32)
    assert series_warnings(config.sources["real"]) == [
        "cine.npz: frame 3 of 4 left out: empty",
        "cine_gt.npz: this is a segmentation, not an image: its pixels are labels, 0, 1, 2: left out",
    ]


def series_pool(tmp_path, part="train", **settings):
    config = DataConfig.parse({"sources": {"real": {"kind": "series", "n_variants": 2, **settings}}})
    return open_pool(config, tmp_path / "cases", part, folders=sorted(tmp_path.glob("folder*")))


def test_subjects_of_several_folders_have_equal_shares(tmp_path, write_series):
    for number, (folder, name, subject) in enumerate(
        [("a", "one", "P1"), ("a", "two", "P1"), ("a", "three", "P1"), ("a", "four", "P2"), ("b", "five", "")]
    ):
        (tmp_path / f"folder_{folder}").mkdir(exist_ok=True)
        write_series(tmp_path / f"folder_{folder}" / f"{name}.npz", seed=number, subject=subject, licence="CC0-1.0")
    pool = series_pool(tmp_path)
    assert len({group.subject for group in pool.groups}) == 3
    assert not any("P1" in group.subject for group in pool.groups)
    rng, counts = np.random.default_rng(0), Counter()
    for _ in range(1200):
        _, (case,) = pool.draw(1, lambda shape: shape, rng)
        counts[case.path.parent.name.split("-")[0]] += 1
    expected = {"one": 1 / 9, "two": 1 / 9, "three": 1 / 9, "four": 1 / 3, "five": 1 / 3}
    assert {name: count / 1200 for name, count in counts.items()} == pytest.approx(expected, abs=0.05)
    assert {group.licence for group in pool.groups} == {"CC0-1.0"}


def test_series_are_kept_for_validation_by_pattern(tmp_path, write_series):
    (tmp_path / "folder").mkdir()
    for name in ("scd1_a", "scd1_b", "scd2_a", "pig_a"):
        write_series(tmp_path / "folder" / f"{name}.npz")
    names = {
        part: {case.path.parent.name.split("-")[0] for group in pool.groups for case in group.cases}
        for part in ("train", "val")
        for pool in [series_pool(tmp_path, part, validation=["scd1_*"], leave_out=["pig*"])]
    }
    assert names == {"train": {"scd2_a"}, "val": {"scd1_a", "scd1_b"}}


def test_a_split_through_a_subject_and_unused_patterns_give_warnings(tmp_path, write_series):
    for name, subject in (("a1", "P1"), ("a2", "P1"), ("b1", "P2")):
        write_series(tmp_path / f"{name}.npz", seed=ord(name[0]) + int(name[1]), subject=subject)
    remarks = {
        patterns: series_warnings(SeriesSource(folder=tmp_path, validation=patterns))
        for patterns in (("a*",), ("a1", "c*"), ())
    }
    assert remarks == {
        ("a*",): [],
        ("a1", "c*"): ["validation: no series matches 'c*'", "a1: its subject is also used for training"],
        (): [],
    }


@pytest.mark.parametrize("name", ["folder/sax_mid", "folder/lax_4ch", "report/acdc_001"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_series_for_reporting_are_refused(tmp_path, write_series, name, part):
    path = tmp_path / f"{name}.npz"
    path.parent.mkdir()
    write_series(path)
    write_series(path.with_name("other.npz"))
    settings = {"folder": str(path.parent), "validation": ["*"] if part == "val" else []}
    with pytest.raises(ConfigError, match="reserved for testing") as error:
        series_pool(tmp_path, part, **settings)
    assert path.stem in error.value.where + error.value.hint
    assert series_pool(tmp_path, part, **settings, reserved=[]).groups  # other data may have such names


def test_a_folder_without_cases_is_an_error(tmp_path):
    config = DataConfig.parse({"sources": {"data": {"kind": "prepared", "folder": str(tmp_path)}}})
    with pytest.raises(FileError, match=r"no prepared cases here: there is no index\.csv"):
        open_pool(config, tmp_path)


def test_measured_coil_images_are_not_moved(prepared, tmp_path):
    settings = {"sources": {"data": {"kind": "prepared", "folder": str(prepared)}}, "augment": {"rotate": 10}}
    with pytest.raises(ConfigError, match="measured coil images cannot be rotated"):
        open_pool(DataConfig.parse(settings), tmp_path)
    settings["sources"]["data"]["signal"] = "combined"
    assert open_pool(DataConfig.parse(settings), tmp_path).groups
