"""k-t sampling patterns, specified by strings, and measures of masks.

Every mask is ``(frames, 1, ky, kx or 1)`` bool and centred: zero frequency at index n // 2.
"""

from cinerecon.physics.sampling.line_order import ORDERS, LineOrder, OrderedReadouts, order_readouts
from cinerecon.physics.sampling.measure import (
    SamplingKind,
    acceleration_of,
    acs_block,
    block_of_lines,
    calibration_size,
    count_acs,
    csm_warning,
    measured_extent,
    net_acceleration,
    samples_whole_readouts,
    sampling_kind,
    scan_acceleration,
)
from cinerecon.physics.sampling.spec import (
    PATTERNS,
    MaskSpec,
    Sampling,
    fingerprint_pattern,
    parse_mask,
    parse_sampling,
)

__all__ = [
    "ORDERS",
    "PATTERNS",
    "LineOrder",
    "MaskSpec",
    "OrderedReadouts",
    "Sampling",
    "SamplingKind",
    "acceleration_of",
    "acs_block",
    "block_of_lines",
    "calibration_size",
    "count_acs",
    "csm_warning",
    "fingerprint_pattern",
    "measured_extent",
    "net_acceleration",
    "order_readouts",
    "parse_mask",
    "parse_sampling",
    "samples_whole_readouts",
    "sampling_kind",
    "scan_acceleration",
]
