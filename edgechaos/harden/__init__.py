"""Measures that make a model stand more faults: guards of stored words, bounds of activations, triplicated neurons."""
