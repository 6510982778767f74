"""Real boards on a serial port."""
