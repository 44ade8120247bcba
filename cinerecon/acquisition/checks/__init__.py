"""Checks of the data: whether the samples of a scan or of a k-space array agree with their headers."""
