"""Reconstruction methods, classical and deep: from `CineData` to an image series."""
