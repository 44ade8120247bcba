"""The verdict on an image, estimated without a reference: features, expected error with interval, and status."""

from cinerecon.reconstruction.trust.calibration import Calibration, calibration_of
from cinerecon.reconstruction.trust.features import measure_features
from cinerecon.reconstruction.trust.judge import judge_slice, method_without_verdict, slice_without_verdict

__all__ = [
    "Calibration",
    "calibration_of",
    "judge_slice",
    "measure_features",
    "method_without_verdict",
    "slice_without_verdict",
]
