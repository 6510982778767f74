"""The integer graph: its nodes, their rules, its file, and what can be read off it."""
