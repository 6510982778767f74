"""Power meters by name: "joulescope", "joulescope:000123", "rehearsal", and what plug-ins add (entry-point group "edgechaos.meters").

What stands behind a name takes what follows the colon and makes a PowerMeter that is not yet open.
"""

from __future__ import annotations

from collections.abc import Callable

from edgechaos.devices.meters.contract import PowerMeter
from edgechaos.support.registry import Registry

METERS: Registry[Callable[[str], PowerMeter]] = Registry(
    "meter",
    lambda found: found if callable(found) else None,
    table={
        "joulescope": "edgechaos.devices.meters.joulescope:JoulescopeMeter",
        "rehearsal": "edgechaos.devices.meters.simulated:Rehearsal",
    },
    group="edgechaos.meters",
)


def open_meter(spec: str) -> PowerMeter:
    """The meter of a spec, not yet open. Raises ConfigError for a name that there is not, with those there are."""
    name, _, argument = spec.partition(":")
    return METERS.load(name, spec)(argument)
