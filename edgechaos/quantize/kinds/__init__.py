"""Kinds of float nodes as quantization has them, a file each."""
