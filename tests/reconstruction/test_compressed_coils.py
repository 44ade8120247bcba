"""Coil compression of a reconstruction: ``--compress-coils``, with the loss of signal in the files."""

import numpy as np
import pytest
from raw_scan import small_scan

from cinerecon.errors import ConfigError
from cinerecon.reconstruction.request import ReconRequest
from cinerecon.reconstruction.run import reconstruct_scan


@pytest.fixture
def scan(tmp_path):
    return small_scan(n_coils=8, n_slices=2).write(tmp_path / "scan.h5")


def test_the_loss_is_stated_with_the_images(scan, tmp_path):
    whole, compressed = (
        reconstruct_scan(ReconRequest(scan, "cgsense", [str(tmp_path / f"{name}.npz")], compress_coils=number))
        for name, number in (("whole", None), ("compressed", "auto"))
    )
    for before, after in zip(whole.slices, compressed.slices, strict=True):
        assert 1 < after.n_coils < before.n_coils == 8
        text = after.cine.provenance.texts["coil_compression"]
        assert text.startswith(f"8 coils compressed to {after.n_coils}: 0.")
        assert "coil_compression" not in before.cine.provenance.texts
        assert "compress_coils=auto" in after.cine.provenance.settings
        assert before.cine.provenance.series != after.cine.provenance.series
        difference = np.linalg.norm(np.abs(after.image) - np.abs(before.image)) / np.linalg.norm(before.image)
        assert 0 < difference < 0.03
    assert not any("compressed" in text for text in compressed.warnings)


def test_a_wrong_number_names_the_option(scan, tmp_path):
    with pytest.raises(ConfigError, match="at least 1, or auto") as error:
        reconstruct_scan(ReconRequest(scan, "zerofilled", [str(tmp_path / "o.npz")], compress_coils="many"))
    assert error.value.where == "--compress-coils"
