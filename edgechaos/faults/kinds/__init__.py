"""A file per kind of fault, or per family: what it is called, what it changes, and where."""
