"""Fused twins for NVIDIA GPUs: CUDA kernels, and the host code that launches them."""
