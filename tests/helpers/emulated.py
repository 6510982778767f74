"""Models on the emulated Cortex-M4 against the reference, with the core's assembly and with portable C in its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import Firmware
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.graph.integer_graph import IntegerGraph

NO_FAULT = FaultPlan()
BOARD = replace(load_board("mps2-an386"), patch_capacity=8192)


def check_on_a_cortex_m4(graph: IntegerGraph, firmware: Firmware, folder: Path, plan: FaultPlan = NO_FAULT, compiler: str = "zig") -> None:
    """Logits of every head, of random codes and of each extreme."""
    resolved = resolve(graph, plan)
    faulty, rng = apply(graph, resolved), np.random.default_rng(4)
    with EmulatedDevice(graph, build(firmware, folder, compiler).elf) as device:
        device.inject(resolved)
        for head in graph.heads:
            codes = rng.integers(-128, 128, (4, *graph.tensors[head.input].shape)).astype(np.int8)
            codes[2], codes[3] = -128, 127
            wanted = reference.run(faulty, codes, seed=3, head=head.name)
            np.testing.assert_array_equal(device.infer(codes, seed=3, head=head.name).logits, wanted.logits, err_msg=head.name)


def portable(firmware: Firmware) -> Firmware:
    """The same sources with C in place of the core's assembly."""
    files = {path: data for path, data in firmware.files.items() if not path.endswith(".S")}
    lines = files["src/ec_config.h"].decode().split("\n")
    return replace(firmware, files=files | {"src/ec_config.h": "\n".join(x for x in lines if "takes the place" not in x).encode()})
