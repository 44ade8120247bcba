"""The layout of a raw scan, determined from its headers: readouts, matrix, positions, calibration lines, noise."""
