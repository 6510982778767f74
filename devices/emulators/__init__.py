"""Emulated boards that run the real firmware in processes of their own."""
