"""Processing of raw readouts and other k-space files into `CineData`."""
