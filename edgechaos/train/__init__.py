"""Training torch models."""
