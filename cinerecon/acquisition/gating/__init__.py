"""Gating: frames from readout times and R waves, for scans whose counters do not number the final frames."""
