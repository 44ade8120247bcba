import numpy as np
import pytest
from helpers import formats_folder

BART = formats_folder() / "bart"


@pytest.fixture
def bart():
    """Read results of BART 0.8.00 by name; the larger ones are not in the repository."""

    def read(name):
        path = BART / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"{name} is not in the repository; expected in ../shared/formats/bart")
        return np.load(path)

    return read
