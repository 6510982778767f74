"""Generated sources and builds: the same bytes every time, no warnings, no undefined behaviour, nothing paid for unused hooks."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgechaos.devices.emulators.device import EmulatedDevice
from edgechaos.faults.kinds.dead import DeadNeurons
from edgechaos.faults.kinds.weight_bit_flip import WeightBitFlip
from edgechaos.faults.plan import FaultPlan, apply
from edgechaos.firmware_gen.board import board_names, load_board
from edgechaos.firmware_gen.compilers.c.generate import Firmware, generate
from edgechaos.firmware_gen.compilers.c.writer import Names, Writer
from edgechaos.firmware_gen.places import BOARD_FOLDER
from edgechaos.firmware_gen.plan.kernels import choose_kernels, crossover
from edgechaos.firmware_gen.projects.elf import build
from edgechaos.firmware_gen.projects.host import build_host, build_host_server
from edgechaos.firmware_gen.protocol import Hello, Verb
from edgechaos.firmware_gen.toolchain import compile_in
from edgechaos.firmware_gen.toolchains import zig as toolchain
from edgechaos.graph import artifact
from edgechaos.graph.heads import Encoding
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.kinds.readout import Readout
from edgechaos.graph.tensors import Constant
from edgechaos.support.errors import BuildError, ConfigError, MissingExtra, UnsupportedError
from tests.firmware.test_firmware_exact import NATIVE, WIDE
from tests.firmware.test_firmware_protocol import frame, replies
from tests.helpers.firmware_host import GCC, ZIG, compile_host, library
from tests.helpers.graphs import Spec, chaos_graph
from tests.helpers.mixed_graphs import FAMILIES, Builder, Family, Mixed, mixed_graph
from tests.helpers.places import C_SOURCES, GOLDEN, ROOT

pytestmark = pytest.mark.slow

STRICT = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Wundef", "-Werror")
SOME = {
    "parallel": Spec(sizes=(12, 8, 6, 4)),
    "stateful": Spec(sizes=(12, 8, 4), mode="stateful", noise=False, pixels=False),
    "binomial": Spec(sizes=(12, 8, 4), sampling="binomial", noise=False),
}
MPS2 = load_board("mps2-an386")


def test_golden_source() -> None:
    """One tiny model's C, for people to read: EDGECHAOS_REFRESH_GOLDEN=1 writes it anew."""
    firmware = generate(chaos_graph(sizes=(6, 4, 3), noise=False), MPS2, kernel="event")
    for name in ("tiny.c", "tiny.h"):
        path = GOLDEN / name
        written = firmware.files[f"src/{name}"].replace(firmware.model_hash[:16].encode(), b"0" * 16)
        if os.environ.get("EDGECHAOS_REFRESH_GOLDEN") == "1":
            path.write_bytes(written)
        assert path.read_bytes() == written, f"{name} changed: read the difference, then refresh"


def test_sources_are_the_same_every_time_and_name_no_place() -> None:
    first, second = (generate(chaos_graph(), MPS2) for _ in range(2))
    assert first.files == second.files
    assert first.firmware_hash == second.firmware_hash
    assert not any(b"/work" in data or b"/home" in data or b"/tmp" in data for data in first.files.values())


def test_the_hash_covers_model_board_and_options() -> None:
    graph = chaos_graph()
    different = [
        generate(graph, MPS2),
        generate(graph, MPS2, faults=False),
        generate(graph, MPS2, kernel="event"),
        generate(graph, load_board("stm32l4r5")),
        generate(graph, None),
        generate(chaos_graph(seed=1), MPS2),
    ]
    assert len({f.firmware_hash for f in different}) == len(different)


@pytest.mark.parametrize("board", board_names())
def test_builds_are_byte_identical(board: str, tmp_path: Path) -> None:
    firmware = generate(chaos_graph(), load_board(board))
    first, second = (build(firmware, tmp_path / name) for name in ("one", "a_rather_longer_second_folder"))
    assert first.elf.read_bytes() == second.elf.read_bytes()
    assert first.flash_bytes == first.sections[".text"]
    assert first.ram_bytes > firmware.plan.state_bytes + first.stack_bytes
    assert bytes.fromhex(firmware.firmware_hash) in first.elf.read_bytes()


def without_hooks(firmware: Firmware, condition: str = "#if EC_FAULTS") -> Firmware:
    """The same firmware from sources whose lines under a condition are gone."""
    files = {}
    for path, data in firmware.files.items():
        kept, stack = [], []
        for line in data.decode().split("\n"):
            if re.match(r"#if", line):
                stack.append("hook" if line == condition else "other")
            elif line == "#else" and stack[-1] != "other":
                stack[-1] = "plain"
                continue
            elif line == "#endif" and stack.pop() != "other":
                continue
            if "hook" not in stack and line != condition:
                kept.append(line)
        files[path] = "\n".join(kept).encode()
    assert not stack
    return replace(firmware, files=files)


def some(name: Any) -> IntegerGraph:
    """A spiking model of SOME, or a mixed one of a family."""
    return chaos_graph(SOME[name]) if name in SOME else mixed_graph(Mixed(name))


@pytest.mark.parametrize("name", ["parallel", "stateful", "shared", "kwta"])
def test_compiled_out_hooks_cost_nothing(name: str, tmp_path: Path) -> None:
    firmware = generate(some(name), MPS2, faults=False)
    stripped = without_hooks(firmware)
    assert sum(map(len, stripped.files.values())) < sum(map(len, firmware.files.values())) - 5000
    assert build(firmware, tmp_path / "out").elf.read_bytes() == build(stripped, tmp_path / "gone").elf.read_bytes()


def test_idle_hooks_cost_three_percent_at_most(tmp_path: Path) -> None:
    graph, items = artifact.load(ROOT / "benchmarks" / "pixels.ecm"), np.random.default_rng(1)
    codes = (items.integers(1, 128, (20, 784)) * (items.random((20, 784)) < 0.19)).astype(np.int8)
    counts = []
    for faults in (False, True):
        with EmulatedDevice(graph, build(generate(graph, MPS2, faults=faults), tmp_path / str(faults)).elf) as device:
            instructions = device.infer(codes).instructions
        assert instructions is not None
        counts.append(float(instructions.mean()))
    assert counts[0] < counts[1] <= 1.03 * counts[0]


@pytest.mark.parametrize(("name", "compiler"), [*((name, GCC) for name in (*SOME, *FAMILIES)), ("parallel", ZIG), ("shared", ZIG)])
def test_no_warnings(name: str, compiler: tuple[str, ...], tmp_path: Path) -> None:
    for faults in (True, False):
        firmware = generate(some(name), None, faults=faults)
        compile_host(firmware, tmp_path / str(faults), compiler, ("-O2", "-fPIC", "-shared", *STRICT))


@pytest.mark.parametrize("board", board_names())
def test_no_warnings_for_boards(board: str, tmp_path: Path) -> None:
    firmware = generate(chaos_graph(), load_board(board))
    files = dict(firmware.files) | {"flags.txt": firmware.files["flags.txt"] + "\n".join(STRICT).encode() + b"\n"}
    build(replace(firmware, files=files), tmp_path)


@pytest.mark.parametrize(
    ("name", "flags"),
    [*((name, ()) for name in (*SOME, "shared", "kwta", "thermal")), ("parallel", WIDE), ("parallel", NATIVE), ("vision", NATIVE)],
)
def test_server_under_sanitizers(name: str, flags: tuple[str, ...], tmp_path: Path) -> None:
    fuzz = C_SOURCES / "fuzz.c"
    checks = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *flags)
    built = compile_host(generate(some(name), None), tmp_path, GCC, checks, (fuzz,))
    done = subprocess.run([built, "6000"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 2700


@pytest.mark.parametrize("name", ["a b", "x;", "../x", "é", "", "A", "1x", "a\n"])
def test_names_that_are_no_names_are_refused(name: str) -> None:
    with pytest.raises(BuildError, match="cannot become a C identifier"):
        Names().take(name)


def test_comments_cannot_be_ended_from_inside() -> None:
    writer = Writer()
    writer.comment("x */ int y; /* ??/")
    assert writer.text().count("*/") == writer.text().count("/*") == 1
    assert "??/" not in writer.text()


def test_a_model_too_large_for_the_board_is_refused_before_the_build() -> None:
    small = replace(MPS2, flash=replace(MPS2.flash, bytes=8192))
    with pytest.raises(BuildError, match=r"model 'tiny' needs at least [\d,]+ bytes of flash, board 'mps2-an386' has 8,192"):
        generate(chaos_graph(sizes=(100, 64, 10)), small)
    with pytest.raises(BuildError, match="of RAM"):
        generate(chaos_graph(), replace(MPS2, ram=replace(MPS2.ram, bytes=16384)))


def test_what_only_the_linker_can_see_is_an_error_too(tmp_path: Path) -> None:
    """Code does not fit although the estimate did: nothing is left behind."""
    firmware = generate(chaos_graph(), MPS2)
    script = firmware.files["link.ld"].replace(b"LENGTH = 4194304", b"LENGTH = 4096", 1)
    with pytest.raises(BuildError, match="compiler refused"):
        build(replace(firmware, files={**firmware.files, "link.ld": script}), tmp_path)
    assert not list(tmp_path.glob("*.elf"))


def test_faulty_graphs_are_refused_by_name() -> None:
    graph = chaos_graph()
    for fault in (DeadNeurons(rate=0.5), WeightBitFlip(rate=0.1)):
        with pytest.raises(UnsupportedError, match="load the plan over the protocol"):
            generate(apply(graph, FaultPlan((fault,))), MPS2)


def test_a_missing_compiler_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(package: str, extra: str) -> None:
        raise MissingExtra(package, extra)

    monkeypatch.setattr(toolchain, "need", absent)
    with pytest.raises(MissingExtra, match=r"edgechaos\[firmware\]"):
        build(generate(chaos_graph(), MPS2), tmp_path)


def test_compiler_errors_carry_the_compilers_words(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(BuildError, match="nothing"):
        compile_in(GCC, ("x.c",), tmp_path)
    with pytest.raises(BuildError, match="cannot run no-such-compiler"):
        compile_in(("no-such-compiler",), (), tmp_path)


def test_host_library_is_built_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edgechaos.firmware_gen.projects.host.cache_folder", lambda kind: tmp_path)
    calls: list[object] = []

    def compiler(arguments: list[str], folder: Path) -> None:
        calls.append(arguments)
        (folder / "built").write_bytes(b"library")

    monkeypatch.setattr("edgechaos.firmware_gen.projects.host.zig_cc", compiler)
    first = build_host(chaos_graph())
    assert build_host(chaos_graph()) == first
    assert build_host(chaos_graph(), tmp_path / "copy").read_bytes() == first.read_bytes()
    assert len(calls) == 1
    assert build_host(chaos_graph(seed=1)) != first


def test_server_executable_speaks_over_a_pipe(tmp_path: Path) -> None:
    server = build_host_server(chaos_graph(), tmp_path)
    said = subprocess.run(
        [server], input=frame(Verb.HELLO, seq=1) + frame(Verb.RESET, seq=2), capture_output=True, timeout=60, check=True
    ).stdout
    (_, _, hello), (kind, _, _) = replies(said)
    assert (Hello.unpack(hello).boot_counter, kind) == (1, Verb.RESET | 0x80)


def test_kernel_choice_follows_measured_activity() -> None:
    graph = chaos_graph(sizes=(784, 64, 10), noise=False)
    limit = crossover(784, 64, MPS2.core.costs)
    assert 0.5 < limit <= 1
    for activity, kernel in ((limit - 0.01, "event"), (limit + 0.01, "dense")):
        choice = choose_kernels(replace(graph, metadata={"activity": {"input": activity}}), "auto")["cortex0_matmul"]
        assert (choice.kernel, choice.activity) == (kernel, activity)
        assert f"below {limit:.0%}" in str(choice)
    assert "not measured" in str(choose_kernels(graph, "auto")["readout"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("clock_hz", "klock_hz"), "klock_hz"),
        (("clock_hz = 25_000_000", 'clock_hz = "fast"'), "clock_hz"),
        (("[edge]", 'flags = ["-fplugin=x.so"]\n[edge]'), "flags"),
        (("patch_capacity = 1024", 'patch_capacity = 1024\nflags = ["-fplugin=x.so"]'), "not on the list"),
        (("pin = 0", "pin = 99"), "edge.pin"),
        (("max_payload = 1024", "max_payload = 4"), "max_payload"),
        (('port = "mps2"', 'port = "../x"'), "port"),
        (('core = "cortex-m4"', 'core = "cortex-m5"'), "no core 'cortex-m5', did you mean 'cortex-m"),
        (('core = "cortex-m4"', "core = 4"), "expected a core's name, got 4; there are cortex-m"),
        (('"cmsdk"', '"CMSDK 1"'), "peripherals"),
        (("[flash]", "[flash"), "not valid TOML"),
    ],
)
def test_board_files_are_checked(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "board.toml"
    path.write_text((BOARD_FOLDER / "mps2-an386.toml").read_text().replace(*change))
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_board(path)


def test_unknown_boards_are_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no board .arduino.; there are microbit, .*stm32l4r5"):
        load_board("arduino")


def test_constants_of_any_value_are_written(tmp_path: Path) -> None:
    """The lowest int32 is no C constant: it is the negation of one that does not fit."""
    graph = chaos_graph(noise=False)
    lowest = Constant(np.full(8, -(2**31), np.int32), 32)
    library(replace(graph, constants={**graph.constants, "cortex0_threshold": lowest}).validate(), tmp_path, flags=STRICT).close()


def test_what_c_has_no_words_for_is_refused_by_name() -> None:
    strip = Builder(np.random.default_rng(0))
    image = strip.tensor("image", "int8", (1, 70000, 1))
    acc = strip.conv(image, "conv", 2, (1, 1), (7000, 1), (0, 0))
    logits = strip.matmul(strip.requantize(acc, "conv", "int8", 900.0), "readout", 3, Readout)
    strip.head("main", image, logits, Encoding("codes"))
    with pytest.raises(UnsupportedError, match=r"node 'conv0': no side of its input \(1, 70000, 1\) may be beyond 65,535"):
        generate(strip.graph(), MPS2)


@pytest.mark.parametrize("family", ["kwta", "text"])
def test_faulty_graphs_of_other_families_are_refused_by_name(family: Family) -> None:
    graph = mixed_graph(family=family)
    plan = FaultPlan((DeadNeurons(rate=0.5) if family == "kwta" else WeightBitFlip(rate=0.1),))
    with pytest.raises(UnsupportedError, match="load the plan over the protocol"):
        generate(apply(graph, plan), MPS2)
