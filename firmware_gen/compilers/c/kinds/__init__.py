"""One file per kind of node in C, or of kinds that share everything."""
