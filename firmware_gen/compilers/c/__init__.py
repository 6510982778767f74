"""The generator of readable C."""
