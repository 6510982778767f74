"""One file per measure: its class says where it may be taken, what it makes of a graph, and which faults show what it is worth."""
