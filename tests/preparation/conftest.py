"""Small scans, and their preparation."""

import pytest
from raw_scan import small_scan

from cinerecon.preparation.config import PrepareConfig
from cinerecon.preparation.run import prepare


@pytest.fixture
def archive(tmp_path):
    """Two subjects, each with a scan of two slices."""
    for number, subject in enumerate(("a001", "b002")):
        scan = small_scan(n_slices=2, n_coils=3)
        scan.samples = [(number + 1) * samples for samples in scan.samples]
        (tmp_path / "archive" / subject).mkdir(parents=True)
        scan.write(tmp_path / "archive" / subject / "cine.h5")
    return tmp_path / "archive"


@pytest.fixture
def run(tmp_path):
    """Prepare into a folder, in this process, without pictures."""

    def run(*sources, to="data", pictures=False, workers=1, force=False, **settings):
        values = {"preprocessing": {"csm": "walsh"}} | settings
        config = PrepareConfig.parse(values)
        return prepare(list(sources), tmp_path / to, config, workers=workers, force=force, pictures=pictures)

    return run
