"""What the sources are built into: an ELF for a board, a library for this host."""
