"""From the integer graph to code."""
