from pathlib import Path

import numpy as np
import pytest
from golden import WEIGHTS, needs_weights
from tf_writer import write_tf_checkpoint

from cinerecon.errors import FileError, UnsupportedError, WeightsError
from cinerecon.io.tf_checkpoint import DATA_ENDING, INDEX_ENDING, masked_crc32c, read_tf_checkpoint

FOLDER = WEIGHTS / "unrollingnets_SLR_Net-radial-16-20230114T031148"


@pytest.fixture
def variables():
    rng = np.random.default_rng(0)
    return {
        "celllist/0/conv_1/kernel": rng.standard_normal((3, 3, 3, 2, 4)).astype(np.float32),
        "celllist/0/conv_2/kernel": rng.standard_normal((3, 4)),
        "celllist/10/mu": np.array(0.25, np.float32),
        "save_counter": np.array(7, np.int64),
    }


@needs_weights
def test_a_published_checkpoint_is_read_whole():
    variables = read_tf_checkpoint(FOLDER / "weight-best")
    cells = {name: value for name, value in variables.items() if name.startswith("celllist/")}
    assert sum(value.size for value in cells.values()) == 293_810
    assert cells["celllist/9/conv_1/mylayers/0/kernel"].shape == (3, 3, 3, 2, 16)
    # the low-rank branch of the published weights is dead: both clamped numbers are negative in every cell
    assert all(float(cells[f"celllist/{n}/lambda_step_2"]) < 0 for n in range(10))
    assert all(np.isfinite(value).all() for value in cells.values())


def test_what_is_written_is_read(tmp_path, variables):
    write_tf_checkpoint(tmp_path / "w", variables)
    found = read_tf_checkpoint(tmp_path / "w")
    assert found.keys() == variables.keys()
    for name, value in variables.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


def test_the_checksum_is_that_of_the_standard():
    crc = 0xE3069283  # of "123456789", in the catalogue of checksums
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("missing", [INDEX_ENDING, DATA_ENDING])
def test_a_missing_part_is_named(tmp_path, variables, missing):
    write_tf_checkpoint(tmp_path / "w", variables)
    Path(f"{tmp_path / 'w'}{missing}").unlink()
    with pytest.raises(FileError, match="a part of the checkpoint is missing") as error:
        read_tf_checkpoint(tmp_path / "w")
    assert error.value.where.endswith(missing)


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path, variables):
    write_tf_checkpoint(tmp_path / "w", variables)
    for ending in (INDEX_ENDING, DATA_ENDING):
        path = Path(f"{tmp_path / 'w'}{ending}")
        whole = path.read_bytes()
        # the last word of the footer is the magic number, the padding before it means nothing
        checked = len(whole) if ending == DATA_ENDING else len(whole) - 48
        for position in range(0, checked, 7):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
            with pytest.raises((WeightsError, UnsupportedError)):
                read_tf_checkpoint(tmp_path / "w")
            path.write_bytes(whole[:position])
            with pytest.raises(WeightsError):
                read_tf_checkpoint(tmp_path / "w")
        path.write_bytes(whole)


def test_other_files_are_named(tmp_path, variables):
    (tmp_path / "text.index").write_bytes(b"text")
    with pytest.raises(WeightsError, match="not the index"):
        read_tf_checkpoint(tmp_path / "text")
    write_tf_checkpoint(tmp_path / "old", variables, suffix="")
    with pytest.raises(UnsupportedError, match="TensorFlow 1"):
        read_tf_checkpoint(tmp_path / "old")
    write_tf_checkpoint(tmp_path / "parts", variables, n_shards=2)
    with pytest.raises(UnsupportedError, match="2 files"):
        read_tf_checkpoint(tmp_path / "parts")
