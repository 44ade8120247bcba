"""Gating: frames from the times of the readouts and the R waves, where the counters are not the final frames."""

from cinerecon.acquisition.gating.gate import Gating, plan_gating
from cinerecon.acquisition.gating.report import GatingReport

__all__ = ["Gating", "GatingReport", "plan_gating"]
