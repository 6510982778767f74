"""Rows of `kernels.py`, a file for each kind of kernel."""
