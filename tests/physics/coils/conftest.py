from pathlib import Path

import numpy as np
import pytest

BART = Path(__file__).parents[4] / "shared" / "formats" / "bart"


@pytest.fixture
def bart():
    """Reader of reference results of BART 0.8.00 by name."""
    if not BART.is_dir():
        pytest.skip("reference results of BART are not here (../shared/formats/bart)")
    return lambda name: np.load(BART / f"{name}.npz")
