"""The readouts of a raw scan: their selection, slices and frames, positions on the grid, calibration lines, noise."""
