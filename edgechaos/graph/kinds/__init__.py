"""One file per kind of node: what it is, its rules, its bound, its integers, what can fail in it."""
