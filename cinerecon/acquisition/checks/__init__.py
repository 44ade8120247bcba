"""Checks of the data: whether the samples of a scan, or of an array of k-space, are what their headers claim."""
