"""k-t sampling patterns, named by one line of text; measures of masks; and view sharing.

Every mask is ``(frames, 1, ky, kx or 1)`` bool and centred: zero frequency at index n // 2.
"""

from cinerecon.physics.sampling.line_order import ORDERS, LineOrder, OrderedReadouts, order_readouts
from cinerecon.physics.sampling.measure import (
    EMPTY_LINE_RATIO,
    SamplingKind,
    acceleration_of,
    acs_block,
    block_of_lines,
    count_acs,
    lines_with_signal,
    measured_extent,
    net_acceleration,
    samples_whole_readouts,
    sampling_kind,
    scan_acceleration,
)
from cinerecon.physics.sampling.spec import PATTERNS, MaskSpec, parse_mask
from cinerecon.physics.sampling.view_sharing import share_views

__all__ = [
    "EMPTY_LINE_RATIO",
    "ORDERS",
    "PATTERNS",
    "LineOrder",
    "MaskSpec",
    "OrderedReadouts",
    "SamplingKind",
    "acceleration_of",
    "acs_block",
    "block_of_lines",
    "count_acs",
    "lines_with_signal",
    "measured_extent",
    "net_acceleration",
    "order_readouts",
    "parse_mask",
    "samples_whole_readouts",
    "sampling_kind",
    "scan_acceleration",
    "share_views",
]
