"""The matrix of boards in small: a model of each width of weights on boards of both architectures, by both compilers; misfits by name."""

from __future__ import annotations

import pytest

from edgechaos.firmware_gen.board import board_names, load_board
from tests.helpers.board_matrix import Target, compared, targets
from tests.helpers.graphs import chaos_graph
from tests.helpers.mixed_graphs import Mixed, items_for, mixed_graph

SMALL = {8: mixed_graph(Mixed("vision", depth=1)), 4: mixed_graph(Mixed("shared", bits=4)), 2: mixed_graph(Mixed("kwta", bits=2))}


@pytest.mark.parametrize(
    ("bits", "target"),
    [
        (8, Target("qemu", "mps2-an500", "gcc")),
        (4, Target("qemu", "rv32-virt", "riscv-gcc")),
        (2, Target("qemu", "mps3-an547", "zig")),
        (4, Target("unicorn", "mps2-an385", "zig")),
    ],
)
def test_no_integer_differs(bits: int, target: Target) -> None:
    graph = SMALL[bits]
    found = compared(graph, target, {head.name: items_for(graph, 6, head=head.name) for head in graph.heads}, seed=3)
    assert found.integers > 0
    assert (found.mismatches, found.misfit, found.refused) == (0, "", ())


def test_what_does_not_fit_is_refused_by_name() -> None:
    found = compared(chaos_graph(sizes=(20000, 12, 5)), Target("qemu", "sifive-e", "zig"), {})
    assert found.misfit.startswith("model 'tiny' needs at least ")
    assert "bytes of RAM, board 'sifive-e' has 16,384" in found.text


def test_every_emulated_board_is_a_target_by_each_of_its_compilers() -> None:
    on_qemu = {name for name in board_names() if load_board(name).qemu}
    assert {t.board for t in targets() if t.emulator == "qemu"} == on_qemu
    assert {t.compiler for t in targets() if t.board == "sifive-e"} == {"zig", "riscv-gcc"}
    assert len(targets()) == len(set(targets())) > 2 * len(on_qemu)
