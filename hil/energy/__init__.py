"""Joules per inference, with their origin."""
