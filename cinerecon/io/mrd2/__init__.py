"""Streams of MRD version 2 in files, read and written with the package ``mrd-python``."""
