import pytest
import torch


@pytest.fixture(autouse=True)
def _same_weights_each_time():
    """Networks begin with random weights; of four ReLUs all may be dead by chance."""
    torch.manual_seed(0)
