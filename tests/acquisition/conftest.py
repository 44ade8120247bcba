"""Open a small raw scan, or read one slice of it."""

import pytest
from raw_scan import RawFile

from cinerecon.acquisition.config import AcquisitionConfig
from cinerecon.acquisition.open import open_scan

PLAIN = AcquisitionConfig(csm="walsh")


@pytest.fixture
def read(tmp_path):
    """Write a scan and read one slice of it."""

    def run(scan: RawFile, number: int = 0, config: AcquisitionConfig = PLAIN):
        return open_scan(scan.write(tmp_path / "scan.h5"), config).read_slice(number)

    return run


@pytest.fixture
def opened(tmp_path):
    """Write a scan and open it with some settings."""

    def run(scan: RawFile, *settings: str):
        return open_scan(scan.write(tmp_path / "scan.h5"), PLAIN.with_settings(settings))

    return run
