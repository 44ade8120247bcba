"""Reconstruction of scans and arrays into images."""
