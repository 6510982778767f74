"""The release, in one place: the package, the wheel, generated files and stored results read it here."""

__version__ = "0.1.0"
