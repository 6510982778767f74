"""Exact arithmetic that every target repeats: rounding, random words, seeds, windows."""
