"""Hardened models against what they were made of: the same faults on both, and what the difference costs."""
