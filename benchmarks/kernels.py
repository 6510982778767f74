"""Single kernels on the emulated Cortex-M4: instructions per unit of work, beside the goal and the fewest that any loop could take.

    python benchmarks/kernels.py [--update] [--compiler gcc] [NAME ...]

A generated model is linked with a main function that runs some of its nodes alone, between two edges of the measurement pin; what they
write is compared with the NumPy reference before a count is printed. Counts are exact and the same on every machine: one that is more than
2 % above `kernels.json` fails the run. Rows stand in `rows/`, a file for each kind of kernel.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.libraries import hook_library
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import Firmware, generate
from edgechaos.firmware_gen.compilers.c.matrix import up
from edgechaos.firmware_gen.compilers.c.writer import C_TYPES
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.plan.memory import BYTES
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.firmware_gen.toolchain import TOOLCHAINS
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.files import write_atomic

HERE = Path(__file__).parent
BASELINE = HERE / "kernels.json"
BOARD = "mps2-an386"
COMPILERS = ("zig", "gcc")
TOLERANCE = 1.02
BUDGET = 1 << 26
MAIN = """
#include "ec_port.h"

PREFIX_state bench_state;
PREFIX_state *volatile bench_where = &bench_state;

int main(void)
{
    PREFIX_state *const state = bench_where;
    const ec_run one = {.seed = SEED, .scratch = &state->scratch, .parameter = 0}, *const run = &one;
    ec_port_init();
    COPIES
    __asm__ volatile("" ::: "memory");
    ec_port_gpio(1);
    CALLS
    ec_port_gpio(0);
    for (;;)
        __asm__ volatile("wfi");
}
"""
SEED = 7


@dataclass(frozen=True, slots=True)
class Row:
    """A kernel at work. nodes: of `graph`, those that are counted. codes: one item for the head. units: that the count is divided by, and
    what they are called. goal, floor: instructions per unit; floor: the fewest of any loop that we know of."""

    name: str
    graph: IntegerGraph
    nodes: tuple[str, ...]
    codes: NDArray[Any]
    units: int
    unit: str
    goal: float
    floor: float
    kernel: Choice = "auto"


def rows() -> list[Row]:
    """Those of every file in `rows/`."""
    sys.path[:0] = [str(HERE), str(HERE.parent)]  # rows import this file, and graphs of the tests, which are not installed
    files = sorted(p.stem for p in (HERE / "rows").glob("[!_]*.py"))
    return [row for stem in files for row in import_module(f"rows.{stem}").rows()]


def alone(firmware: Firmware, row: Row, tensors: Mapping[str, NDArray[Any]]) -> Firmware:
    """The firmware of a main function that runs the row's nodes on `tensors`, and nothing else."""
    graph, name = row.graph, f"src/{firmware.name}.c"
    text = firmware.files[name].decode()
    body = text[text.index("static uint16_t run_") :]
    lines = body[body.index("{\n") : body.index("\n}\n")].split("\n")
    calls = [line for line in lines if any(re.search(rf"&{node}_layer\b", line) for node in row.nodes)]
    written = {graph.node(n).output for n in row.nodes}
    read = sorted({x for n in row.nodes for x in graph.node(n).inputs()} - written)
    copies, arrays = [], []
    for k, tensor in enumerate(read):
        place, dtype = firmware.plan.places.get(tensor), graph.tensors[tensor].dtype
        where = f"state->{place.pool} + {place.first}" if place else "state->input"
        values = ", ".join(map(str, tensors[tensor].reshape(-1).tolist()))
        arrays.append(f"static const {C_TYPES[dtype]} bench_input_{k}[] = {{{values}}};")
        copies.append(f"memcpy({where}, bench_input_{k}, sizeof bench_input_{k});")
    main = MAIN.replace("PREFIX", firmware.name).replace("SEED", f"{SEED}u")
    main = main.replace("CALLS", "\n".join(calls)).replace("COPIES", "\n".join(copies))
    files = {path: data for path, data in firmware.files.items() if path != "src/main.c"}
    return replace(firmware, files=files | {name: "\n".join((text, *arrays, main)).encode()})


def offset(firmware: Firmware, tensor: str) -> int:
    """Of a tensor in the model's state, in bytes."""
    plan = firmware.plan
    sizes = {pool: max(plan.pools[pool], 1) * BYTES[pool] for pool in BYTES}
    words = 4 * plan.parameters
    starts = {"words": words, "halves": words + sizes["words"] + up(plan.input_bytes, 4)}
    starts["codes"] = up(starts["halves"] + sizes["halves"], 4)
    place = plan.places[tensor]
    return starts[place.pool] + place.first * BYTES[place.pool]


def count(row: Row, compiler: str) -> float:
    """Instructions per unit. Raises SystemExit where an integer is not the reference's."""
    graph, board = row.graph, load_board(BOARD)
    wanted = reference.run(graph, row.codes[None], seed=SEED, keep=tuple(n.output for n in graph.nodes)).tensors
    firmware = generate(graph, board, kernel=row.kernel, faults=False)
    with tempfile.TemporaryDirectory() as folder:
        built = build(alone(firmware, row, {graph.head().input: row.codes[None], **wanted}), folder, compiler)
        image = load_elf(built.elf)
    machine = EmulatedMachine(image, board, hook_library())
    done = machine.power_on(BUDGET)
    if done.stopped or len(done.windows) != 1:
        raise SystemExit(f"{row.name}: {done.stopped or done.windows}")
    last = graph.tensors[graph.node(row.nodes[-1]).output]
    dtype, size = np.dtype(last.dtype), last.size * max(last.ticks, 1)
    found = np.frombuffer(machine.read_memory(image.regions["bench_state"][0] + offset(firmware, last.name), size * dtype.itemsize), dtype)
    if not np.array_equal(found, wanted[last.name].reshape(-1)):
        raise SystemExit(f"{row.name}, {compiler}: not the reference's integers: no count of it means anything")
    return done.windows[0] / row.units


def worse(found: Mapping[str, Mapping[str, float]], baseline: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Counts more than 2 % above the baseline, and rows that it does not have."""
    lines = []
    for name, counts in found.items():
        for compiler, now in counts.items():
            then = baseline.get(name, {}).get(compiler)
            if then is None:
                lines.append(f"{name}, {compiler}: the baseline has no such row; write it with --update")
            elif now > TOLERANCE * then:
                lines.append(f"{name}, {compiler}: {now:.3f}, the baseline has {then:.3f} (x {now / then:.3f})")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Count, print, compare; 1 where a count grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows whose names have this in them; by default all")
    parser.add_argument("--compiler", action="append", choices=COMPILERS, help="by default each that is installed")
    parser.add_argument("--update", action="store_true", help="write what was counted into the baseline")
    options = parser.parse_args(arguments)
    compilers = options.compiler or [name for name in COMPILERS if TOOLCHAINS.load(name).found()]
    chosen = [row for row in rows() if not options.names or any(name in row.name for name in options.names)]
    print("| kernel | instructions per | goal | " + " | ".join(compilers) + " | floor |", "|---" * (4 + len(compilers)) + "|", sep="\n")
    found: dict[str, dict[str, float]] = {}
    for row in chosen:
        counts = found[row.name] = {compiler: round(count(row, compiler), 4) for compiler in compilers}
        reached = " | ".join(f"{value:.3f}" for value in counts.values())
        print(f"| {row.name} | {row.unit} | {row.goal} | {reached} | {row.floor} |", flush=True)
    baseline = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    if options.update:
        merged = {name: baseline.get(name, {}) | counts for name, counts in found.items()}
        write_atomic(BASELINE, json.dumps(dict(sorted((baseline | merged).items())), indent=1) + "\n")
        return 0
    lines = worse(found, baseline)
    print(*(f"worse: {line}" for line in lines), sep="\n", file=sys.stderr, end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
