"""The generated C under other compilers, other users and other names: it compiles without a warning and gives the same integers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from edgechaos import reference
from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.export.plans import standard_plans
from edgechaos.faults.plan import apply, resolve
from edgechaos.firmware_gen.board import board_names, load_board
from edgechaos.firmware_gen.compilers.c.generate import generate
from edgechaos.firmware_gen.compilers.c.writer import Names
from edgechaos.firmware_gen.plan.kernels import Choice
from edgechaos.firmware_gen.projects.elf import build, write_sources
from edgechaos.firmware_gen.toolchain import TOOLCHAINS, cache_folder, compile_in
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import BuildError
from tests.firmware.test_firmware_build import STRICT
from tests.helpers.firmware_host import GCC, HostLibrary, compile_host
from tests.helpers.graphs import Spec, chaos_graph
from tests.helpers.mixed_graphs import Mixed, items_for, mixed_graph
from tests.helpers.places import ROOT
from tests.helpers.renaming import renamed

pytestmark = pytest.mark.slow

ARM = ("arm-none-eabi-gcc",)
GRAPHS: dict[str, tuple[IntegerGraph, Choice]] = {
    "parallel, dense": (chaos_graph(sizes=(30, 20, 9, 4)), "dense"),
    "parallel, event": (chaos_graph(sizes=(30, 20, 9, 4)), "event"),
    "stateful": (chaos_graph(Spec(mode="stateful", pixels=False)), "auto"),
    "binomial": (chaos_graph(Spec(sampling="binomial", noise=False)), "auto"),
    "vision, dense": (mixed_graph(Mixed("vision", depth=2)), "dense"),
    "shared, 4 bits": (mixed_graph(Mixed("shared", bits=4)), "auto"),
    "kwta, 2 bits": (mixed_graph(Mixed("kwta", bits=2)), "auto"),
    "thermal": (mixed_graph(Mixed("thermal")), "auto"),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_gcc_builds_firmware_that_gives_the_same_integers(name: str, tmp_path: Path) -> None:
    graph, kernel = GRAPHS[name]
    firmware = generate(graph, load_board("mps2-an386"), kernel=kernel)
    built = build(firmware, tmp_path, compiler="gcc")
    with EmulatedDevice(graph, built.elf) as device:
        for _, plan in standard_plans(graph)[::6]:
            device.inject(resolve(graph, plan))
            for head in graph.heads:
                codes = items_for(graph, 8, head=head.name)
                wanted = reference.run(apply(graph, plan), codes, seed=3, head=head.name)
                np.testing.assert_array_equal(device.infer(codes, seed=3, head=head.name).logits, wanted.logits)


def compiler_of(board: str) -> str:
    """The GCC of a board's core."""
    return "riscv-gcc" if load_board(board).core.gcc_program.startswith("riscv") else "gcc"


def test_a_compiler_of_another_architecture_is_refused(tmp_path: Path) -> None:
    for board, compiler, program in (("rv32-virt", "gcc", "riscv64-unknown-elf-gcc"), ("mps2-an386", "riscv-gcc", "arm-none-eabi-gcc")):
        with pytest.raises(BuildError, match=f"gcc does not compile for .*board '{board}'.*: that is {program}'s"):
            build(generate(chaos_graph(), load_board(board)), tmp_path, compiler=compiler)


@pytest.mark.parametrize("board", board_names())
@pytest.mark.parametrize("faults", [True, False])
def test_gcc_has_nothing_to_warn_of(board: str, faults: bool, tmp_path: Path) -> None:
    graph = mixed_graph(Mixed("shared", bits=4))
    firmware = generate(graph, load_board(board), faults=faults)
    write_sources(firmware, tmp_path)
    gcc = TOOLCHAINS.load(compiler_of(board))
    gcc.run((*gcc.flags(firmware), *STRICT, "-iquote", "src", *firmware.sources, "-o", "firmware.elf"), tmp_path)


@pytest.mark.parametrize("name", GRAPHS)
def test_gcc_for_the_host_gives_the_same_integers(name: str, tmp_path: Path) -> None:
    graph, kernel = GRAPHS[name]
    firmware = generate(graph, None, kernel=kernel)
    host = HostLibrary(graph, compile_host(firmware, tmp_path, GCC, (*TOOLCHAINS.load("gcc").flags(firmware), "-shared", *STRICT)))
    for index, head in enumerate(graph.heads):
        codes = items_for(graph, 8, head=head.name)
        wanted = reference.run(graph, codes, seed=3, head=head.name)
        np.testing.assert_array_equal(host.infer(codes, 3, range(8), index)[0], wanted.logits)
    host.close()


def test_without_gcc_the_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="apt-get install gcc-arm-none-eabi"):
        build(generate(chaos_graph(), load_board("mps2-an386")), tmp_path, compiler="gcc")


BUILD = """
import sys
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.firmware_gen.compilers.c.generate import generate
from tests.helpers.graphs import chaos_graph
build(generate(chaos_graph(), load_board("mps2-an386")), sys.argv[1])
"""


def test_every_user_builds_the_same_bytes(tmp_path: Path) -> None:
    """Another home, another cache, another folder to work and to write in."""
    home = tmp_path / "another_users_home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"} | {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-c", BUILD, str(home / "out"))
    subprocess.run(command, cwd=home, env=environment, check=True, capture_output=True, timeout=600)
    theirs = (home / "out" / "tiny.elf").read_bytes()
    mine = build(generate(chaos_graph(), load_board("mps2-an386")), tmp_path).elf.read_bytes()
    assert mine == theirs
    assert str(tmp_path).encode() not in theirs
    assert cache_folder("zig").as_posix().encode() not in mine


MODEL_NAMES = (
    *("ec", "ec_server", "ec_run", "port", "port_mps2", "main", "startup", "string", "stdint", "errno", "limits"),
    *("features", "endian"),
    *(
        "immintrin",
        "int",
        "while",
        "uint8_t",
        "_",
        "__init",
        "unix",
        "linux",
        "run",
        "init",
        "all",
        "state",
        "sem",
        "pthread",
        "aux",
        "x" * 63,
    ),
)


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_models_of_any_name_compile(name: str, tmp_path: Path) -> None:
    """With a C library whose headers it could shadow; as C99 and as GNU C."""
    firmware = generate(renamed(chaos_graph(), name=name), None)
    write_sources(firmware, tmp_path)
    (source,) = (p for p in firmware.sources if not p.startswith("src/ec_"))
    for standard in ("-std=c99", "-std=gnu11"):
        compile_in(GCC, (standard, "-D_GNU_SOURCE", "-Isrc", "-fsyntax-only", *STRICT, source, "src/ec_host.c"), tmp_path)


PART_NAMES = (
    *(
        "int",
        "main",
        "errno",
        "exp",
        "while",
        "uint8_t",
        "int32_t",
        "ec_chaos",
        "ec_run",
        "_",
        "__",
        "_x",
        "x_",
        "a__b",
        "run_any",
        "init_any",
    ),
    *("all_heads", "all_units", "all_layers", "tiny_state", "tiny_run", "tiny_init", "run", "state", "seed", "sample", "head", "t", "null"),
    *(
        "strtok_r",
        "static_assert",
        "thread_local",
        "memcpy",
        "m_int_c",
        "int_layer",
        "cortex_layer",
        "static_cast",
        "and_eq",
        "max_align_t",
    ),
    *("linux", "unix", "i386", "asm", "inline", "restrict", "bool", "offsetof", "r0", "sp", "x" * 63, "y" * 63, "z_rows", "z_dense", "z"),
)


STEP = 10


@pytest.mark.parametrize("first", range(0, len(PART_NAMES), STEP))
def test_parts_of_any_name_compile_and_compute_the_same(first: int, tmp_path: Path) -> None:
    """Every part of a model takes every name; nodes, constants, tensors and heads may share one."""
    graph = chaos_graph(sizes=(9, 8, 7, 4))
    codes = items_for(graph, 4)
    ring = (*PART_NAMES[first:], *PART_NAMES[:first])
    parts: tuple[Iterable[str], ...] = ((n.name for n in graph.nodes), graph.constants, graph.tensors, (h.name for h in graph.heads))
    nodes, constants, tensors, heads = (dict(zip(old, ring[k:], strict=False)) for k, old in enumerate(parts))
    other = renamed(graph, nodes=nodes, constants=constants, tensors=tensors, heads=heads)
    built = compile_host(generate(other, None), tmp_path, GCC, ("-O0", "-fPIC", "-shared", "-D_GNU_SOURCE", *STRICT))
    host = HostLibrary(other, built)
    np.testing.assert_array_equal(host.infer(codes, 0, range(4))[0], reference.run(graph, codes).logits)
    host.close()
    board = generate(other, load_board("mps2-an386"))
    write_sources(board, tmp_path)
    compile_in(ARM, ("-mcpu=cortex-m4", "-mthumb", "-std=c99", "-Isrc", "-fsyntax-only", *STRICT, f"src/{other.name}.c"), tmp_path)


def test_names_are_handed_out_once() -> None:
    names = Names("a_b")
    handed = [names.take(wanted) for wanted in ("a_b", "a_b", "a_b_", "int", "m_int_c", "strtok_r", "m_strtok_r_c", "x_t", "m_x_t_c")]
    assert len(set(handed)) == len(handed)
    assert not {"a_b", "int", "strtok_r", "x_t"} & set(handed)
