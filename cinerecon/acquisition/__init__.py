"""From the readouts of a scanner, or another file of k-space, to `CineData`."""
