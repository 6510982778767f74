"""The cores: a file each, found by its name."""
