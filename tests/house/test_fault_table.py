"""The table fault x device is what the classes say, and every example and every other tool's name is accepted."""

from __future__ import annotations

from itertools import pairwise

import pytest

from edgechaos.cli.fault_option import parse_faults
from edgechaos.devices.registry import carriers
from edgechaos.faults.base import fault_kinds, fault_named
from edgechaos.hil.campaign.config import Sweep
from edgechaos.support.errors import FaultError
from tests.house.fault_table import PAGE, page


def test_the_committed_table_is_made_from_the_classes() -> None:
    assert PAGE.read_text() == page(), "python -m tests.house.fault_table"


def test_the_least_that_devices_must_carry() -> None:
    """The host library every fault of the model, the emulated Cortex-M4 those of memory and machine too."""
    assert "host" in carriers("model")
    assert all("unicorn" in carriers(level) for level in ("model", "memory", "machine"))
    assert carriers("no such level") == []


@pytest.mark.parametrize("kind", sorted(fault_kinds()))
def test_every_example_is_a_fault(kind: str) -> None:
    (fault,) = parse_faults((fault_kinds()[kind].example(),)).faults
    assert fault.kind == kind


def test_other_tools_names_mean_one_kind_each() -> None:
    named = [(alias, kind) for kind in fault_kinds().values() for alias in kind.aliases]
    bare = sorted(alias.partition(":")[2] for alias, _ in named)
    assert all(a != b for a, b in pairwise(bare))
    assert {alias.partition(":")[0] for alias, _ in named} == {"SpikeFI", "MRFI", "ARCHIE"}
    for alias, kind in named:
        for name in (alias, alias.partition(":")[2]):
            found, implied = fault_named(name)
            assert found is kind
            assert Sweep(name, rates=(0.1,)) == Sweep(kind.kind, rates=(0.1,), options=dict(implied))
            (fault,) = parse_faults((kind.example().replace(kind.kind, name, 1),)).faults
            assert fault.kind == kind.kind
            assert all(getattr(fault, field) == value for field, value in implied.items())
    with pytest.raises(FaultError, match="no kind of fault is called 'DeadNeutron', did you mean 'DeadNeuron'"):
        fault_named("DeadNeutron")
