"""Measuring a training step: its parts, the matrix products that it cannot do without, and PyTorch's."""
