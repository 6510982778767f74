"""Machines of the Unicorn emulator."""
