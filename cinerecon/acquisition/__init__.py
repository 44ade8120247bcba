"""Processing of raw readouts and of other k-space files to `CineData`."""
