"""Tests of the C runtime and its generator."""
