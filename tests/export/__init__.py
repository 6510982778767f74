"""Tests of exporters and of every back-end against the reference."""
