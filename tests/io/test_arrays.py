"""Arrays of other programs' files, in formats that NumPy has not."""

import numpy as np
import pytest
import torch

from cinerecon.io.untrusted import read_pth


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_short_numbers_are_read_as_long_ones(tmp_path, dtype):
    content = {"weight": torch.tensor([0.5, -3.0], dtype=dtype, requires_grad=True), "steps": torch.tensor(7)}
    torch.save(content, tmp_path / "a.pth")
    found = read_pth(tmp_path / "a.pth")
    assert found["weight"].dtype == np.float32
    assert found["weight"].tolist() == [0.5, -3.0]
    assert found["steps"] == 7
