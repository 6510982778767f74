"""One file per kind of fault: what it is called, what it changes, and where."""
