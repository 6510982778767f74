"""Devices without hardware: a fake board behind the real protocol, and links that misbehave."""
