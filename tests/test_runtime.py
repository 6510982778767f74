"""The whole C runtime against the reference in one graph per build: every kernel, in each form that a processor may get."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.faults import ResolvedPlan, apply
from edgechaos.firmware_gen.generate import Firmware, generate
from edgechaos.graph import IntegerGraph
from tests.firmware_host import GCC, HostLibrary, compile_host
from tests.zoo import SAMPLES, SEED, items, plans, zoo

ACLE = Path(__file__).parent / "firmware" / "acle"
AVX2 = Path("/proc/cpuinfo").exists() and " avx2 " in Path("/proc/cpuinfo").read_text()
BUILDS: dict[str, tuple[str, ...]] = {
    "64-bit": (),
    "32-bit": ("-DEC_SPECULATIVE=0", "-DEC_WIDE=1"),
    "16-bit pairs": ("-DEC_SPECULATIVE=0", "-D__ARM_FEATURE_DSP", "-D__ARMEL__", f"-I{ACLE}"),
    **({"avx2": ("-mavx2",)} if AVX2 else {}),
}


@cache
def graph() -> IntegerGraph:
    return zoo()


@cache
def firmware() -> Firmware:
    return generate(graph(), None)


@cache
def wanted() -> list[tuple[ResolvedPlan, list[tuple[Any, Any, Any]]]]:
    """Per plan, per head: logits, labels and the last item's state hash."""
    found = []
    for plan in plans(graph()):
        faulty, heads = apply(graph(), plan), []
        for head in graph().heads:
            read = reference.readout_input(graph(), head)
            result = reference.run(faulty, items(graph(), head.name), seed=SEED, samples=SAMPLES, head=head.name, keep=(read,))
            heads.append((result.logits, result.labels, reference.state_hash(result.tensors[read], result.logits)[-1]))
        found.append((plan, heads))
    return [*found, found[0]]


@pytest.mark.parametrize("name", BUILDS)
def test_every_kernel(name: str, tmp_path: Path) -> None:
    """No fault, every kind of fault at once, and none again."""
    built = compile_host(firmware(), tmp_path, GCC, ("-O0", "-fPIC", "-shared", *BUILDS[name]), output=f"{name}.so")
    host = HostLibrary(graph(), built)
    for plan, heads in wanted():
        host.inject(plan)
        for index, (head, (logits, labels, hashed)) in enumerate(zip(graph().heads, heads, strict=True)):
            seen = host.infer(items(graph(), head.name), SEED, SAMPLES, index)
            np.testing.assert_array_equal(seen[0], logits, err_msg=head.name)
            np.testing.assert_array_equal(seen[1], labels, err_msg=head.name)
            assert host.state_hash(index) == hashed, head.name
    host.close()
