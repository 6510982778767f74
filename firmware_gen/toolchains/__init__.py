"""Compilers that build the firmware."""
