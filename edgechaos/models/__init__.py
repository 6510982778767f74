"""Trainable torch models, their random words and checkpoints. Needs the extra `train`; names the command that installs it."""

from edgechaos.support.extras import need

need("torch", "train")
