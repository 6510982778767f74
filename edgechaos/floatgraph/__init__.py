"""The float description of a network, between torch and the integer graph."""
