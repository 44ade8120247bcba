"""File formats: readers, writers, and atomic writing."""
