from pathlib import Path

import numpy as np
import pytest

from cinerecon.data.tf_checkpoint import read_tf_checkpoint
from cinerecon.errors import FileError, WeightsError

FOLDER = Path("../shared/weights/unrollingnets_SLR_Net-radial-16-20230114T031148")
pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the published checkpoints are not here")


def test_a_published_checkpoint_is_read_whole():
    variables = read_tf_checkpoint(FOLDER / "weight-best")
    cells = {name: value for name, value in variables.items() if name.startswith("celllist/")}
    assert sum(value.size for value in cells.values()) == 293_810
    assert cells["celllist/9/conv_1/mylayers/0/kernel"].shape == (3, 3, 3, 2, 16)
    # the low-rank branch of the published weights is dead: both clamped numbers are negative in every cell
    assert all(float(cells[f"celllist/{n}/lambda_step_2"]) < 0 for n in range(10))
    assert all(np.isfinite(value).all() for value in cells.values())


def test_damage_is_named(tmp_path):
    with pytest.raises(FileError):
        read_tf_checkpoint(tmp_path / "none")
    for end in (".index", ".data-00000-of-00001"):
        content = (FOLDER / f"weight-best{end}").read_bytes()
        (tmp_path / f"w{end}").write_bytes(content if end == ".index" else content[: len(content) // 2])
    with pytest.raises(WeightsError, match="damaged"):
        read_tf_checkpoint(tmp_path / "w")
    (tmp_path / "w.index").write_bytes(b"text")
    with pytest.raises(WeightsError, match="not the index"):
        read_tf_checkpoint(tmp_path / "w")
