"""Physics and linear algebra: Fourier transform, encoding, coils, sampling, low rank, phantom."""
