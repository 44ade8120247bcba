"""Simulated scans: phantoms and magnitude cines."""
