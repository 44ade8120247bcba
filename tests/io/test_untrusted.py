"""A named pipe is refused at once by every reader and skipped in folders: opening it would never return."""

import os
import signal

import numpy as np
import pytest
import torch

from cinerecon.acquisition.open import find_cines
from cinerecon.config import read_yaml
from cinerecon.errors import CineReconError
from cinerecon.evaluation.image_files import read_series
from cinerecon.io.checksums import hash_file
from cinerecon.io.export.dicom_patient import read_patient
from cinerecon.io.hdf5 import require_hdf5
from cinerecon.io.magnitude import is_dicom, open_archive, open_magnitude, open_nifti
from cinerecon.io.mask import MaskFile
from cinerecon.io.untrusted import read_npz, read_pth, reason_of
from cinerecon.methods.model_file import load_weights, read_card

READERS = {
    "archive.npz": open_archive,
    "cine.nii.gz": open_nifti,
    "cine.nii": open_magnitude,
    "images.npy": read_series,
    "images.npz": read_npz,
    "checkpoint.pth": read_pth,
    "scan.h5": require_hdf5,
    "any": hash_file,
    "image.dcm": read_patient,
    "model.yaml": read_yaml,
    "card.safetensors": read_card,
    "weights.safetensors": lambda path: load_weights(None, path),
    "mask.npz": lambda path: torch.from_numpy(MaskFile(path).draw(2, 8, 8)),
    "mask.mat": lambda path: torch.from_numpy(MaskFile(path).draw(2, 8, 8)),
}


@pytest.fixture
def impatient():
    """A reader that waits for the other end of a pipe fails after two seconds."""

    def fail(*_):
        raise TimeoutError("waits for the other end of a pipe")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(2)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.usefixtures("impatient")
class TestPipes:
    @pytest.mark.parametrize("name", READERS)
    def test_a_reader_refuses(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(CineReconError, match=r"not a regular file|no such mask"):
            READERS[name](tmp_path / name)

    def test_folders_skip_it(self, tmp_path):
        for name in ("a.h5", "b.npz", "c"):
            os.mkfifo(tmp_path / name)
        (tmp_path / "scan.h5").touch()
        assert find_cines(tmp_path) == [tmp_path / "scan.h5"]
        assert not is_dicom(tmp_path / "c")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_short_numbers_are_read_as_long_ones(tmp_path, dtype):
    content = {"weight": torch.tensor([0.5, -3.0], dtype=dtype, requires_grad=True), "steps": torch.tensor(7)}
    torch.save(content, tmp_path / "a.pth")
    found = read_pth(tmp_path / "a.pth")
    assert found["weight"].dtype == np.float32
    assert found["weight"].tolist() == [0.5, -3.0]
    assert found["steps"] == 7


def test_errors_of_the_operating_system_are_described_without_number_and_path(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        (tmp_path / "missing").read_bytes()
    assert reason_of(caught.value) == "no such file or directory"
    assert reason_of(OSError("damaged  header")) == "damaged header"
    assert reason_of(EOFError()) == "EOFError"
