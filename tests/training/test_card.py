"""What a card says of the data of a training."""

from cinerecon.io.checksums import hash_file
from cinerecon.training.card import describe_pool, list_data, series_in
from cinerecon.training.data.config import DataConfig
from cinerecon.training.data.pool import CasePool, Group


def test_measured_series_are_listed_by_what_their_cases_carry(tmp_path, write_series):
    """A case prepared of a series bears the checksum of its file."""
    for seed, name in enumerate(("seen", "kept_out")):
        write_series(tmp_path / f"{name}.npz", seed)
    source = {"kind": "series", "folder": tmp_path, "leave_out": ["kept_out"]}
    config = DataConfig.parse({"sources": {"all": source}})
    assert series_in(list_data(config)) == [hash_file(tmp_path / "seen.npz")]


def test_licences_are_named_by_source():
    settings = {"sources": {"phantom": {"kind": "phantom"}, "real": {"kind": "series"}, "film": {"kind": "series"}}}
    licences = {"real": ("CC0-1.0", "Apache-2.0", "CC0-1.0"), "film": ("CC BY 3.0",), "phantom": ("",)}
    groups = [Group((8, 1, 64, 64), [], name, 1.0, licence=text) for name, texts in licences.items() for text in texts]
    card = describe_pool(
        DataConfig.parse({**settings, "crops": "32x32", "coils": 1}), CasePool(tuple(groups)), CasePool(())
    )
    assert card.trained_on == "phantom, real (Apache-2.0; CC0-1.0), film (CC BY 3.0); gaussian:8"
