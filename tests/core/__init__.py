"""Tests of the core: graph, references, quantization, training."""
