"""What every device must do, as a suite for pytest: subclass DeviceConformance in a test file, and say how your device is made."""

from edgechaos.devices.conformance.compare import PLANS, agrees, difference
from edgechaos.devices.conformance.graphs import GRAPHS
from edgechaos.devices.conformance.suite import DeviceConformance

__all__ = ["GRAPHS", "PLANS", "DeviceConformance", "agrees", "difference"]
