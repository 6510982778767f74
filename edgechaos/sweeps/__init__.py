"""Curves of a design choice against accuracy and size: bits per weight, share of neurons removed."""
