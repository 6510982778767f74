"""EdgeChaos: fault-tolerant networks on devices that fail. Import what you need from the submodules; this loads none."""

__version__ = "0.1.0"
