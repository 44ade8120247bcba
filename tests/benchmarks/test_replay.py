from argparse import Namespace

from replay import Replay, describe

from cinerecon.simulation.scan import SimulateConfig


def test_latencies_are_the_median_and_the_largest_of_all_replays():
    replays = [
        Replay(latency_s={0: 1.0, 1: 2.0}, cpu_s=6.0, memory_mb=500.0),
        Replay(latency_s={0: 3.0, 1: 2.5}, cpu_s=4.0, memory_mb=510.0),
        Replay(latency_s={0: 1.5, 1: 9.0}, cpu_s=2.0, memory_mb=490.0),
    ]
    text = describe(SimulateConfig(), Namespace(tr=3.0, model="ktslr"), replays, 0.0)
    assert "| latency, median [s] | 1.5 | 2.5 |" in text
    assert "| latency, largest [s] | 3.0 | 9.0 |" in text
    assert "| memory afterwards [MB] | 500 | 510 | 490 |" in text
    assert "2.0 s per slice" in text
