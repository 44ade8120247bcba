"""Output folders: no command mixes its results with those of another kind."""

from pathlib import Path

import pytest

from cinerecon.commands.evaluate import EvaluateOptions, evaluate
from cinerecon.commands.prepare import PrepareOptions, prepare
from cinerecon.commands.recon import ReconOptions, recon
from cinerecon.commands.train import TrainOptions, train
from cinerecon.errors import FileError
from cinerecon.evaluation.jobs import SCAN_RECORDS
from cinerecon.evaluation.score import SCORES
from cinerecon.io.case_index import INDEX
from cinerecon.io.folder_kinds import FolderKind, require_folder_of
from cinerecon.methods.model_file import RECIPE
from cinerecon.preparation.folder import SETTINGS
from cinerecon.reconstruction.record import RECORD
from cinerecon.training.run_folder import ABOUT

SCAN = str(Path(__file__).parents[2] / "sample_data/phantom_cine.h5")


def test_folders_are_recognised_by_the_files_that_commands_write():
    names = {kind.name: kind.value[1] for kind in FolderKind}
    assert names == {
        "CASES": (INDEX, SETTINGS),
        "MODEL": (RECIPE, ABOUT),
        "SCORES": (SCORES, SCAN_RECORDS),
        "IMAGES": (RECORD,),
    }


@pytest.mark.parametrize(
    ("call", "options", "kind"),
    [
        (train, lambda out: TrainOptions(recipe="slrnet", output=out), FolderKind.CASES),
        (train, lambda out: TrainOptions(recipe="slrnet", output=out), FolderKind.SCORES),
        (prepare, lambda out: PrepareOptions(sources=(SCAN,), output=out), FolderKind.MODEL),
        (prepare, lambda out: PrepareOptions(sources=(SCAN,), output=out), FolderKind.IMAGES),
        (
            evaluate,
            lambda out: EvaluateOptions(scans=(SCAN,), output=out, models=("zerofilled",), undersample=("vds:4",)),
            FolderKind.CASES,
        ),
        (evaluate, lambda out: EvaluateOptions(recons=(SCAN,), reference=SCAN, output=out), FolderKind.MODEL),
        (
            recon,
            lambda out: ReconOptions(scans=(SCAN,), models=("zerofilled", "cgsense"), outputs=(f"{out}/",)),
            FolderKind.CASES,
        ),
        (recon, lambda out: ReconOptions(scans=(SCAN,), outputs=(f"{out}/",)), FolderKind.MODEL),
    ],
)
def test_results_are_not_written_among_those_of_another_kind(tmp_path, call, options, kind):
    marker = tmp_path / kind.value[1][-1]
    marker.write_text("{}")
    with pytest.raises(FileError, match=f"the folder contains {kind.value[0]}"):
        call(options(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [marker.name]


def test_a_folder_that_already_contains_both_is_continued(tmp_path):
    for name in (INDEX, SCORES):
        (tmp_path / name).touch()
    require_folder_of(FolderKind.CASES, tmp_path)
    require_folder_of(FolderKind.SCORES, tmp_path)
    require_folder_of(FolderKind.IMAGES, tmp_path / "new")


def test_images_and_scores_share_a_folder(tmp_path):
    (tmp_path / SCORES).touch()
    require_folder_of(FolderKind.IMAGES, tmp_path)
