import numpy as np
import pytest
from helpers import BESIDE

BART = BESIDE / "formats" / "bart"


@pytest.fixture
def bart():
    """Reader of reference results of BART 0.8.00 by name."""
    if not BART.is_dir():
        pytest.skip("reference results of BART are not here (../shared/formats/bart)")
    return lambda name: np.load(BART / f"{name}.npz")
