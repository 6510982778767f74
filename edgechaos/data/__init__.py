"""Data sets: `load(name)`, `from_torch(dataset, name=...)`, and what they return."""

from edgechaos.data.arrays import from_npz, from_torch
from edgechaos.data.catalog import load
from edgechaos.data.dataset import Dataset
from edgechaos.data.places import DATA_FOLDER

__all__ = ["DATA_FOLDER", "Dataset", "from_npz", "from_torch", "load"]
