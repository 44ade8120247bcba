"""Gating: frames from readout times and R waves, for scans whose counters do not number the final frames."""

from cinerecon.acquisition.gating.beats import GatingReport
from cinerecon.acquisition.gating.gate import Gating, plan_gating

__all__ = ["Gating", "GatingReport", "plan_gating"]
