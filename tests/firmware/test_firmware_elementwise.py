"""Pools, Requantize, Lut and TopK of many sizes, on this machine and on the emulated Cortex-M4, with assembly and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgechaos.faults.injections import CLEAN
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.winner_count import WinnerCount
from edgechaos.faults.plan import FaultPlan, resolve
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.average_pool import AveragePool
from edgechaos.graph.kinds.max_pool import MaxPool
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.kinds.requantize import Requantize
from edgechaos.graph.kinds.topk import TopK
from tests.firmware.test_firmware_nodes import check
from tests.helpers.emulated import BOARD, check_on_a_cortex_m4, portable
from tests.helpers.firmware_host import library
from tests.helpers.mixed_graphs import Builder

pytestmark = pytest.mark.slow

IMAGES = ((3, 4, 2), (2, 5, 3), (2, 4, 7), (3, 3, 14), (1, 2, 32), (2, 5, 35), (2, 4, 66))
"""Of pools 2x2 at steps of 2: rows that leave one over, columns that do, more than 16 windows a row, more than 32."""
SIZES = (1, 2, 7, 8, 9, 23)
RANGES = {("int8", -128, 127), ("int8", 0, 127), ("int16", -32768, 32767), ("int8", -5, 90)}
LARGEST = 2**30 - 70_000


def pools() -> IntegerGraph:
    b = Builder(np.random.default_rng(0))
    for i, shape in enumerate(IMAGES):
        for kind in (MaxPool, AveragePool):
            b.prefix = f"{kind.__name__.lower()}{i}_"
            image = b.tensor("image", "int8", shape)
            x = b.pool(image, kind, (2, 2), (2, 2))
            x = x if kind is MaxPool else b.requantize(x, f"{b.prefix}mean", "int8", 300.0)
            b.head(f"{b.prefix}head", image, b.matmul(x, f"{b.prefix}readout", 3, Readout), Encoding("codes"))
    return b.graph()


def rescaled(least_shift: int) -> IntegerGraph:
    """Sums of every magnitude, multipliers and shifts from end to end: for a tensor, for each output, for each channel of an image."""
    b, rng = Builder(np.random.default_rng(1)), np.random.default_rng(2)
    for i, (dtype, low, high) in enumerate(sorted(RANGES)):
        for size in SIZES:
            for several in (False, True):
                b.prefix = f"r{i}_{size}_{int(several)}_"
                image = b.tensor("image", "int8", (2, 1, 3) if size == 23 else (4,))
                signs = rng.choice([-1, 1], size) * 2.0 ** rng.uniform(0, 30, size)
                b.constant(f"{b.prefix}acc_b", np.clip(signs, -LARGEST, LARGEST).astype(np.int32), 32)
                acc = (
                    b.conv(image, f"{b.prefix}acc", size, (1, 1), (1, 1), (0, 0)) if size == 23 else b.matmul(image, f"{b.prefix}acc", size)
                )
                count = size if several else 1
                multiplier, shift = rng.integers(2**30, 2**31, count), rng.integers(least_shift, 62, count)
                multiplier[0], shift[-1] = 2**31 - 1, least_shift
                b.constant(f"{b.prefix}m", multiplier.astype(np.int32), 32)
                b.constant(f"{b.prefix}s", shift.astype(np.int32), 32)
                m, s, shape = f"{b.prefix}m", f"{b.prefix}s", b.tensors[acc].shape
                x = b.add(Requantize, acc, dtype, shape, multiplier=m, shift=s, low=low, high=high)
                if dtype == "int16":
                    x = b.requantize(x, f"{b.prefix}codes", "int8", 20000.0)
                b.head(f"{b.prefix}head", image, b.matmul(x, f"{b.prefix}readout", 3, Readout), Encoding("codes"))
    return b.graph()


def tables() -> IntegerGraph:
    b = Builder(np.random.default_rng(3))
    for size in SIZES:
        b.prefix = f"t{size}_"
        image = b.tensor("image", "int8", (size, 1, size))
        codes = b.lut(b.lut(image, f"{b.prefix}one"), f"{b.prefix}each", per_channel=True)
        b.head(f"{b.prefix}head", image, b.matmul(codes, f"{b.prefix}readout", 3, Readout), Encoding("codes"))
    return b.graph()


def winners() -> IntegerGraph:
    """Values far apart, within few high bytes, within few codes, and all equal; few winners and many."""
    b = Builder(np.random.default_rng(5))
    for size in (*SIZES, 70):
        for spread in (2e4, 2e7, 1e9):
            for k in {1, max(1, size // 8), size}:
                b.prefix = f"w{size}_{int(np.log10(spread))}_{k}_"
                image = b.tensor("image", "int8", (5,))
                ranked = b.requantize(b.matmul(image, f"{b.prefix}sums", size), f"{b.prefix}rank", "int16", spread)
                kept = b.requantize(b.add(TopK, ranked, "int16", (size,), k=k), f"{b.prefix}codes", "int8", 64.0)
                b.head(f"{b.prefix}head", image, b.matmul(kept, f"{b.prefix}readout", 3, Readout), Encoding("codes"))
    return b.graph()


GRAPHS = {
    "winners": winners,
    "pools": pools,
    "shifts from 33 on": lambda: rescaled(33),
    "shifts from 31 on": lambda: rescaled(31),
    "tables": tables,
}


@pytest.mark.parametrize("name", GRAPHS)
def test_on_this_machine(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    host = library(graph, tmp_path)
    check(graph, host, CLEAN, seed=1)
    host.close()


@pytest.mark.parametrize("name", GRAPHS)
def test_on_a_cortex_m4(name: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    check_on_a_cortex_m4(graph, generate(graph, BOARD), tmp_path)


@pytest.mark.parametrize("rate", [0.4, 1.0])
def test_fewer_units_alive_than_may_win(rate: float, tmp_path: Path) -> None:
    graph = winners()
    layers = [n.name for n in graph.nodes if isinstance(n, TopK)]
    plan = FaultPlan(tuple(DeadNeurons(name, rate=rate, seed=1) for name in layers))
    check_on_a_cortex_m4(graph, generate(graph, BOARD), tmp_path, plan)


@pytest.mark.parametrize("delta", [-70, -1, 3, 70])
def test_another_number_of_winners(delta: int, tmp_path: Path) -> None:
    graph = winners()
    layers = [n.name for n in graph.nodes if isinstance(n, TopK)]
    host = library(graph, tmp_path)
    check(graph, host, resolve(graph, FaultPlan(tuple(WinnerCount(name, delta=delta) for name in layers))), seed=1)
    host.close()


@pytest.mark.parametrize(("name", "compiler"), [("winners", "zig"), ("pools", "gcc"), ("shifts from 33 on", "zig"), ("tables", "zig")])
def test_portable_c_gives_the_same_integers(name: str, compiler: str, tmp_path: Path) -> None:
    graph = GRAPHS[name]()
    firmware = portable(generate(graph, BOARD))
    assert not any(path.endswith(".S") for path in firmware.sources)
    check_on_a_cortex_m4(graph, firmware, tmp_path, compiler=compiler)


def test_which_requantize_takes_high_words_alone() -> None:
    source = generate(GRAPHS["shifts from 33 on"](), BOARD).files["src/mixed.c"].decode()
    assert source.count("ec_requantize_int32_int8(&") == 2 * len(SIZES)  # -5..90
    assert source.count("ec_rescale(&") == 8 * len(SIZES)
