"""Decided before the build: memory, kernels, limits of the runtime, work."""
