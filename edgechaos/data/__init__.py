"""Data sets: `load(name)`, `from_torch(dataset, name=...)`, `from_signals(items, labels, ...)`, and what they return."""

from edgechaos.data.arrays import from_npz, from_torch
from edgechaos.data.catalog import load
from edgechaos.data.dataset import Dataset
from edgechaos.data.places import DATA_FOLDER
from edgechaos.data.signals import from_signals

__all__ = ["DATA_FOLDER", "Dataset", "from_npz", "from_signals", "from_torch", "load"]
