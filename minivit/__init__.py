"""minivit: a Vision Transformer written by hand, forward and backward, on NumPy and CuPy."""
