"""Results on what a network was trained on are marked as such."""

import pytest
from raw_scan import small_scan
from small_recipe import RECIPE

from cinerecon.evaluation.request import EvaluationRequest
from cinerecon.evaluation.run import evaluate
from cinerecon.methods.model_file import read_model
from cinerecon.preparation.config import PrepareConfig, parse_split
from cinerecon.preparation.run import prepare
from cinerecon.training import Recipe, TrainOptions, train

SCANS = {"first/a001": 1, "second/b002": 2, "third/a001": 3}
"""Folders of subjects, and how bright they are."""
MASK = "gaussian:2,acs=2"


def prepare_all(folder, source, to, split):
    config = PrepareConfig(split=parse_split(split))
    prepare([folder / source], folder / to, config, workers=1, pictures=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scans of two subjects, and a network that was trained on the first scan, and on from there."""
    folder = tmp_path_factory.mktemp("work")
    for name, brightness in SCANS.items():
        scan = small_scan(matrix=(24, 24), n_coils=3)
        scan.samples = [brightness * samples for samples in scan.samples]
        (folder / name).mkdir(parents=True)
        scan.write(folder / name / "cine.h5")
    prepare_all(folder, "first", "data", "train")
    prepare_all(folder, "second", "data", "val")
    prepare_all(folder, "third", "others", "test")
    sources = {"mine": {"kind": "prepared", "folder": str(folder / "data")}}
    data = {
        "sources": sources,
        "crops": "24x16",
        "n_frames": 3,
        "n_windows": 1,
        "coils": [3],
        "masks": "gaussian:2,acs=2",
    }
    training = {**RECIPE["training"], "n_steps": 1, "save_every": 1, "n_validation": 1, "batch_size": 1, "data": data}
    train(Recipe.parse({**RECIPE, "training": training}), folder / "run")
    training["data"] = RECIPE["training"]["data"]
    train(Recipe.parse({**RECIPE, "training": training}), folder / "tuned", TrainOptions(weights=folder / "run"))
    return folder


@pytest.mark.parametrize("run", ["run", "tuned"])
def test_what_a_network_was_trained_on_is_marked(folder, run):
    card = read_model(folder / run)[0].card
    assert (len(card.cases), len(card.subjects)) == (1, 1)
    known = [folder / "first/a001/cine.h5", folder / "data/train/a001/cine_slice00.h5"]
    others = [folder / "others/test/a001/cine_slice00.h5", folder / "second/b002/cine.h5"]
    scores = evaluate([*known, *others], EvaluationRequest([str(folder / run)], [MASK])).scores
    words = [
        [part for part in score.marks.split("; ") if "trained on a" in part or "this scan" in part] for score in scores
    ]
    scan, subject = (f"{run}: trained on {what}" for what in ("this scan", "a subject of this name"))
    assert words == [[scan], [scan], [subject], []]
