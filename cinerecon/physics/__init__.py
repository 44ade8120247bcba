"""Fourier transform, encoding operator, coils, sampling, low rank and noise."""
