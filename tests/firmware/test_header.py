"""What a program includes: misuse has a status, C++ may call it, what is a compiler's own stands in one header, small cores compile it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.generate import Firmware, generate
from edgechaos.firmware_gen.projects.elf import write_sources
from edgechaos.firmware_gen.toolchain import cache_folder, compile_in
from tests.firmware.test_firmware_build import STRICT
from tests.helpers.firmware_host import GCC, ZIG
from tests.helpers.graphs import Spec, chaos_graph
from tests.helpers.mixed_graphs import mixed_graph
from tests.helpers.places import ROOT

RUNTIME = ROOT / "firmware_gen" / "runtime"
ARM = ("-mcpu=cortex-m4", "-mthumb")
MISUSE = """
#include "mixed.h"
#include "ec_port.h"
#include "ec_server.h"
static mixed_state state;
static const int8_t codes[MIXED_INPUT_BYTES_IMAGES] = {1, 2, 3};
int main()
{
    uint16_t label = 7;
    mixed_init(&state);
    if (mixed_run(&state, 9, 1, 2, &label) != EC_ERROR_OUT_OF_RANGE || label != 7) return 1;
    if (mixed_run(&state, 2, 1, 2, &label) != EC_ERROR_OUT_OF_RANGE) return 2;
    if (mixed_set_input(&state, 2, codes, sizeof codes) != EC_ERROR_OUT_OF_RANGE) return 3;
    if (mixed_set_input(&state, MIXED_HEAD_IMAGES, codes, sizeof codes - 1) != EC_ERROR_BAD_LENGTH) return 4;
    if (mixed_set_input(&state, MIXED_HEAD_TEXTS, codes, sizeof codes) != EC_ERROR_BAD_LENGTH) return 5;
    if (mixed_logits(&state, 2) != 0 || state.input[1] != 0) return 6;
    if (mixed_set_input(&state, MIXED_HEAD_IMAGES, codes, sizeof codes) != 0 || state.input[1] != 2) return 7;
    if (mixed_run(&state, MIXED_HEAD_IMAGES, 1, 2, &label) != 0 || label >= MIXED_LOGITS_IMAGES) return 8;
    if (mixed_logits(&state, MIXED_HEAD_IMAGES) != state.words + MIXED_FIRST_LOGIT_IMAGES) return 9;
    if (mixed_logits(&state, MIXED_HEAD_TEXTS) != state.words + MIXED_FIRST_LOGIT_TEXTS) return 10;
    for (uint32_t k = 0; k < MIXED_LOGITS_IMAGES; k++)
        if (mixed_logits(&state, 0)[k] > mixed_logits(&state, 0)[label]) return 11;
    return 0;
}
"""
PORT = '#include "ec_port.h"\nvoid ec_port_gpio(int level) { (void)level; }\nuint32_t ec_port_timer(void) { return 0; }\n'


def objects(firmware: Firmware) -> list[str]:
    """The model and the runtime, without the host's side of the server."""
    return [name for name in firmware.sources if name.endswith(".c") and not name.endswith("ec_host.c")]


def zig(language: str, *arguments: str, folder: Path) -> None:
    cache = str(cache_folder("zig"))
    compile_in((*ZIG[:-1], language), arguments, folder, {**os.environ, "ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache})


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_misuse_from_cpp_has_a_status(compiler: str, tmp_path: Path) -> None:
    firmware = generate(mixed_graph(family="shared"), None)
    write_sources(firmware, tmp_path)
    (tmp_path / "main.cpp").write_text(MISUSE)
    (tmp_path / "port.c").write_text(PORT)
    cpp = ("-std=c++11", *STRICT, "-Isrc", "-c", "main.cpp", "-o", "main.o")
    linked = ("-std=c99", *objects(firmware), "port.c", "main.o", "-Isrc", "-o", "program")
    if compiler == "gcc":
        compile_in(("g++",), cpp, tmp_path)
        compile_in(GCC, linked, tmp_path)
    else:
        zig("c++", "-O2", "-fno-sanitize=all", *cpp, folder=tmp_path)
        zig("cc", "-O2", "-fno-sanitize=all", *linked, folder=tmp_path)
    assert subprocess.run([tmp_path / "program"], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("faults", [True, False])
def test_arm_gcc_has_nothing_to_say(faults: bool, tmp_path: Path) -> None:
    for graph in (chaos_graph(), mixed_graph(family="shared")):
        firmware, folder = generate(graph, load_board("mps2-an386"), faults=faults), tmp_path / graph.name
        write_sources(firmware, folder)
        compile_in(("arm-none-eabi-gcc",), (*ARM, "-std=c99", "-O2", *STRICT, "-Isrc", "-fsyntax-only", *objects(firmware)), folder)
        (folder / "main.cpp").write_text(f'#include "{graph.name}.h"\n#include "ec_port.h"\n#include "ec_server.h"\n')
        compile_in(("arm-none-eabi-g++",), (*ARM, "-std=c++11", *STRICT, "-Isrc", "-fsyntax-only", "main.cpp"), folder)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["shared", "kwta", "thermal"])
def test_a_core_of_sixteen_bits_compiles_it(family: str, tmp_path: Path) -> None:
    """int of 16 bits, nothing aligned: no shift is too wide, and the state is not larger than planned. Capacities as fit such a core."""
    firmware = generate(mixed_graph(family=family), None)
    write_sources(firmware, tmp_path)
    config = tmp_path / "src" / "ec_config.h"
    config.write_text(re.sub("(EC_PATCH_CAPACITY|EC_MAX_PAYLOAD|EC_REPAIR_BYTES) .*", r"\1 64u", config.read_text()))
    flags = ("-target", "avr-freestanding", "-mmcu=atmega1284p", "-std=c99", "-Os", "-Wall", "-Wextra", "-Wpedantic", "-Wundef", "-Werror")
    for source in objects(firmware):
        zig("cc", *flags, "-Isrc", "-isystem", str(RUNTIME / "startup"), "-c", source, "-o", "x.o", folder=tmp_path)


AVR = ("-mmcu=atmega328p", "-std=c99", "-Os", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wundef", "-Werror", "-fsyntax-only")


@pytest.mark.parametrize("faults", [True, False])
@pytest.mark.parametrize("family", ["shared", "vision", "kwta", "thermal", "stateful", "binomial"])
def test_avr_gcc_has_nothing_to_say(family: str, faults: bool, tmp_path: Path) -> None:
    """No conversion of all of core, server and model loses anything where int has 16 bits."""
    spiking = {"stateful": Spec(mode="stateful", pixels=False), "binomial": Spec(sampling="binomial", noise=False)}
    graph = chaos_graph(spiking[family]) if family in spiking else mixed_graph(family=family)
    firmware = generate(graph, load_board("microbit"), faults=faults)
    write_sources(firmware, tmp_path)
    of_the_board = ("main.c", "survivor.c", "startup.c", "port_nrf51.c")
    sources = [name for name in firmware.sources if name.endswith(".c") and Path(name).name not in of_the_board]
    compile_in(("avr-gcc",), (*AVR, "-Isrc", *sources), tmp_path)


def test_attributes_stand_in_one_header() -> None:
    found = {p.name for p in RUNTIME.rglob("*.[ch]") if re.search(r"__attribute__|__builtin_memcpy", p.read_text())}
    assert found - {"ec_avx2.h"} == {"ec_compiler.h"}, "ec_avx2.h is compiled where there is AVX2 alone"
    files = generate(chaos_graph(), None).files
    assert {name for name, data in files.items() if b"__attribute__" in data} == {"src/ec_compiler.h"}


def test_a_compiler_that_cannot_align_is_asked(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(
        '#include "ec_compiler.h"\nEC_NOINLINE static int one(void) { return 1; }\nint main(void) { return one(); }\n'
    )
    command = [*GCC, "-U__GNUC__", "-fsyntax-only", "-I", str(RUNTIME / "core"), "x.c"]
    asked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert asked.returncode == 1
    assert "how does this compiler align an array" in asked.stderr
    assert subprocess.run([*command, "-DEC_ALIGNED="], cwd=tmp_path, check=False).returncode == 0
