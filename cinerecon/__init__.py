"""cinerecon: reconstruct accelerated dynamic (cine) cardiac MRI. A raw scan goes in, a cine comes out."""
