"""One file per kind of node in C; the older kinds stand in `node_source` and `work`."""
