"""Faults as data: plans, and what they do to a graph."""
