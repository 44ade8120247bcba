"""Processing of readouts, or of another file of k-space, to `CineData`."""
