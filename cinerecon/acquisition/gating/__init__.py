"""Gating: frames from readout times and R waves, for scans whose counters do not number the final frames."""

from cinerecon.acquisition.gating.gate import Gating, plan_gating
from cinerecon.acquisition.gating.report import GatingReport

__all__ = ["Gating", "GatingReport", "plan_gating"]
