"""Removing neurons: what they are worth, and their removal from float and integer networks."""
