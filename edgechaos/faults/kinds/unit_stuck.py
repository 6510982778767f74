"""Units of a plain layer that send one code whatever they sum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from edgechaos.arithmetic.streams import fault_stream
from edgechaos.faults.injections import SetSlot
from edgechaos.faults.sites import UnitFault, carriers
from edgechaos.graph.analysis import Analysis
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.support.errors import FaultError


@dataclass(frozen=True, slots=True)
class UnitStuck(UnitFault):
    """Permanently stuck units of a plain layer: they send `code`, by default 127, the largest: saturated. layer: the name of the
    Requantize that finishes it, or "*"."""

    kind = "unit_stuck"
    title = "Stuck units"
    axis = "units permanently stuck at one code (%)"
    phrase = "permanently stuck"
    aliases: ClassVar[Mapping[str, Mapping[str, Any]]] = {"SpikeFI:StuckNeuron": {}}

    code: int = 127

    def resolve(self, analysis: Analysis) -> Iterator[SetSlot]:
        """The chosen units of each layer. Raises FaultError for a code that the layer cannot send."""
        for node, slot in carriers(analysis, self.kind, "stuck_code", self.layer, "plain layer"):
            assert isinstance(node, Requantize)
            if not node.low <= self.code <= node.high:
                raise FaultError(f"{self.kind}: layer '{node.name}' sends codes {node.low}..{node.high}, not {self.code}; add code=...")
            units = self.units(node, fault_stream(self.kind, analysis.graph.site(node)), slot.length)
            yield SetSlot(node.name, "stuck_code", units, np.full(len(units), 1 + self.code - node.low, np.int64))
