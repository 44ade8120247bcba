"""What a card says of the data of a training."""

from cinerecon.io.atomic import hash_file
from cinerecon.training.card import list_data, series_in
from cinerecon.training.data import DataConfig


def test_measured_series_are_listed_by_what_their_cases_carry(tmp_path):
    """A case prepared of a series bears the checksum of its file."""
    for name in ("seen", "kept_out"):
        (tmp_path / f"{name}.npz").write_bytes(name.encode())
    source = {"kind": "series", "folder": tmp_path, "leave_out": ["kept_out"]}
    config = DataConfig.parse({"sources": {"all": source}})
    assert series_in(list_data(config)) == [hash_file(tmp_path / "seen.npz")]
