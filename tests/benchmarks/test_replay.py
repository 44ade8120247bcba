import pytest
from replay import Replay, computed_latency_s


def test_slices_queue_if_they_take_longer_than_their_acquisition():
    """Three slices, one each second, of 2 s of CPU time each."""
    part = Replay(latency_s={0: 9.0, 1: 9.0, 2: 9.0}, cpu_s=6.0)
    assert computed_latency_s(part, 10.0, 300, 1) == pytest.approx([2, 3, 4])
    assert computed_latency_s(part, 10.0, 300, 2) == pytest.approx([1, 1, 1])
