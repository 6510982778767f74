"""A model and a board become a folder of C that needs nothing else: sources, linker script, compiler flags.

Sources are the same on every run and on every machine. Without a Board they are a library of the host.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from edgechaos.arithmetic.check_words import PARITY, SECDED
from edgechaos.arithmetic.random_bits import gaussian_table
from edgechaos.firmware_gen.board import Board
from edgechaos.firmware_gen.compilers.c.lowering import lowering_of, working_memory
from edgechaos.firmware_gen.compilers.c.model_source import ModelSource
from edgechaos.firmware_gen.compilers.c.protocol_header import protocol_header
from edgechaos.firmware_gen.compilers.c.signal_source import signal_files
from edgechaos.firmware_gen.compilers.c.writer import Writer
from edgechaos.firmware_gen.places import RUNTIME, TEMPLATES
from edgechaos.firmware_gen.plan.kernels import Choice, KernelChoice, choose_kernels
from edgechaos.firmware_gen.plan.limits import check_supported
from edgechaos.firmware_gen.plan.memory import CORRECTIONS, MemoryPlan, plan_memory
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.rules import GAUSSIAN_MAX
from edgechaos.harden.guards import guards_of
from edgechaos.support.errors import BuildError
from edgechaos.support.version import __version__

HASHES = "src/ec_hashes.h"
HOST_PAYLOAD, HOST_PATCHES, HOST_REPAIR = 1024, 65535, 1 << 22
"""Capacities of a host build, where memory costs nothing."""

OPTIMIZE = ("-std=c99", "-O2", "-flto", "-fno-unroll-loops", "-ffunction-sections", "-fdata-sections")
FREESTANDING = (
    *("-ffreestanding", "-fno-builtin", "-isystem", "freestanding"),
    *("-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-sanitize=all", "-g0"),
)
LINK = ("-Wl,-T,link.ld", "-Wl,-e,Reset_Handler", "-Wl,--gc-sections", "-Wl,--build-id=none", "-static")
SMALL = frozenset({"-Os", "-Oz"})
HOST_FLAGS = ("-std=c99", "-O3", "-fPIC", "-fno-sanitize=all", "-g0", "-fvisibility=default")


@dataclass(frozen=True, slots=True)
class Firmware:
    """Everything a compiler needs. files: path -> bytes; flags.txt has the compiler's arguments, one a line. tables: constant -> C name.

    source: the model's file. layers: the node that a line of it computes.
    """

    name: str
    board: Board | None
    files: Mapping[str, bytes]
    model_hash: str
    firmware_hash: str
    kernels: Mapping[str, KernelChoice]
    plan: MemoryPlan
    faults: bool
    tables: Mapping[str, str]
    source: str
    layers: Mapping[int, str]

    @property
    def sources(self) -> tuple[str, ...]:
        """The C and assembly files, in the order of the compiler's command line."""
        return tuple(sorted(p for p in self.files if p.endswith((".c", ".S"))))

    @property
    def flags(self) -> tuple[str, ...]:
        """The compiler's arguments besides the sources, as zig takes them."""
        return tuple(self.files["flags.txt"].decode().split("\n")[:-1])


def generate(graph: IntegerGraph, board: Board | None, *, faults: bool = True, kernel: Choice = "auto") -> Firmware:
    """The firmware of a model: the HIL server for `board`, or with None the sources of the host library.

    faults: compile the fault hooks in. kernel: "auto" chooses per matrix from graph.metadata["activity"].
    Raises UnsupportedError for what C cannot carry, BuildError where the model cannot fit the board.
    """
    graph.validate()
    check_supported(graph)
    board = _sized(board)
    kernels = choose_kernels(graph, kernel, board.core if board else None, repairable=board is None or (faults and board.repair_bytes > 0))
    patches = board.patch_capacity if board else HOST_PATCHES
    plan = plan_memory(graph, patches, faults, working_memory(graph, kernels), board.repair_bytes if board else HOST_REPAIR)
    if board:
        _check_fits(graph, board, plan)
    model_hash = content_hash(graph)
    title = (
        f"Model '{graph.name}', {model_hash[:16]}, by EdgeChaos {__version__} for {board.name if board else 'the host'}.",
        "Generated: do not edit. Meaning of every line: docs/semantics.md.",
    )
    model = ModelSource(graph, kernels, plan, title)
    files, source = _runtime(board), f"src/{model.prefix}.c"
    files |= {
        source: model.source().encode(),
        f"src/{model.prefix}.h": model.header().encode(),
        "src/ec_config.h": _config(graph, board, plan, faults, kernels).encode(),
        "src/ec_protocol.h": protocol_header().encode(),
        "src/ec_target.h": _target(model.prefix).encode(),
        "flags.txt": "".join(f"{flag}\n" for flag in _flags(board)).encode(),
    }
    files |= {f"src/{path.name}": path.read_bytes() for lowering in model.lowerings for path in lowering.sources}
    files |= {path: text.encode() for path, text in signal_files(graph, title).items()}
    if _noisy(graph):
        files["src/ec_gaussian.c"] = _gaussian().encode()
    if board:
        files["src/ec_board.h"] = _board_header(board).encode()
        environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True)
        files["link.ld"] = environment.get_template("link.ld.j2").render(board=board).encode()
    firmware_hash = _digest(model_hash, files)
    files[HASHES] = _hashes(model_hash, firmware_hash).encode()
    identity = graph.name, board, dict(sorted(files.items())), model_hash, firmware_hash
    return Firmware(*identity, kernels, plan, faults, model.nodes.tables, source, model.layers)


def with_debug_information(firmware: Firmware) -> Firmware:
    """The same code, which names its lines: for whoever asks what an instruction is for."""
    kept = {"flags.txt": (b"-g0", b"-g"), "link.ld": (b" .debug*", b"")}
    files = {path: firmware.files[path].replace(without, with_it) for path, (without, with_it) in kept.items()}
    return replace(firmware, files={**firmware.files, **files})


def _runtime(board: Board | None) -> dict[str, bytes]:
    folders = ("core", "server", "ports", "kernels/avx2")
    files = {f"src/{p.name}": p.read_bytes() for folder in folders for p in sorted((RUNTIME / folder).glob("ec_*.[ch]"))}
    if board is None:
        return files
    del files["src/ec_host.c"], files["src/ec_host.h"]
    files |= {f"src/{p.name}": p.read_bytes() for p in board.core.kernels}
    files[f"src/{board.port.file}"] = board.port.source
    startup = RUNTIME / "startup"
    shared = (startup / name for name in ("main.c", "survivor.c", "survivor.h"))
    files |= {f"src/{p.name}": p.read_bytes() for p in (*shared, *(startup / board.core.startup).iterdir())}
    return files | {"freestanding/string.h": (startup / "string.h").read_bytes()}


def _sized(board: Board | None) -> Board | None:
    """Assembly is unrolled for speed: where the board file asks for small code, the C takes its place."""
    if board is None or not SMALL & {*board.flags}:
        return board
    return replace(board, core=replace(board.core, kernels=(), pair_costs=None))


def _flags(board: Board | None) -> tuple[str, ...]:
    """zig strips what is optimized for size and has no debug information, which the linker script leaves out in any case."""
    if board is None:
        return HOST_FLAGS
    freestanding = tuple("-g" if flag == "-g0" and SMALL & {*board.flags} else flag for flag in FREESTANDING)
    return (*board.core.zig, *OPTIMIZE, *freestanding, *LINK, *board.flags)


def _digest(model_hash: str, files: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(f"{model_hash}\n".encode())
    for path, data in sorted(files.items()):
        digest.update(f"{path} {len(data)}\n".encode() + data)
    return digest.hexdigest()


def _noisy(graph: IntegerGraph) -> bool:
    return any(lowering_of(node).noisy(node) for node in graph.nodes)


def _config(graph: IntegerGraph, board: Board | None, plan: MemoryPlan, faults: bool, kernels: Mapping[str, KernelChoice]) -> str:
    macros = {
        "EC_FAULTS": int(faults),
        "EC_NOISE": int(_noisy(graph)),
        "EC_GAUSSIAN_MAX": GAUSSIAN_MAX,
        "EC_PACKED": int(any(graph.constants[n.weight].bits < 8 for n in graph.weighted())),
        **({"EC_NIBBLES": 1} if any(c.kernel == "nibbles" for c in kernels.values()) else {}),
        "EC_MAX_PAYLOAD": f"{board.max_payload if board else HOST_PAYLOAD}u",
        "EC_INPUT_BYTES": f"{plan.input_bytes}u",
        **{f"EC_SCRATCH_{what.upper()}": size for what, size in asdict(plan.scratch).items()},
        "EC_SLOT_WORDS": plan.capacities.slot_words,
        "EC_PATCH_CAPACITY": f"{plan.capacities.patches}u",
        "EC_REPAIR_BYTES": f"{plan.capacities.repair_bytes}u",
        "EC_MATRICES": max(len(graph.weighted()), 1),
        **(_guards(graph) if plan.guards else {}),
    }
    w = Writer()
    w.comment("Sizes of this model's runtime. Generated: do not edit.")
    w.lines("#ifndef EC_CONFIG_H", "#define EC_CONFIG_H", "")
    w.lines(*(f"#define {name} {value}" for name, value in macros.items()))
    w.lines(*(f"#define {p.stem.upper()}_S 1 /* {p.name} takes the place of the C */" for p in (board.core.kernels if board else ())))
    w.lines("", "#endif")
    return w.text()


def _guards(graph: IntegerGraph) -> dict[str, object]:
    guards = guards_of(graph)
    return {
        "EC_GUARDS": len(guards.codes),
        "EC_GUARD_SPREAD": f"{guards.spread}u",
        "EC_GUARD_WORDS": f"{SECDED.words}u",
        "EC_GUARD_CHECKS": f"{SECDED.checks}u",
        "EC_PARITY_WORDS": f"{PARITY.words}u",
        "EC_CORRECTIONS": f"{CORRECTIONS}u",
    }


def _target(prefix: str) -> str:
    return (
        "/* The model that a main program serves. Generated: do not edit. */\n"
        "#ifndef EC_TARGET_H\n#define EC_TARGET_H\n\n"
        f'#include "{prefix}.h"\n\n#define EC_TARGET_STATE {prefix}_state\n#define EC_TARGET_MODEL {prefix}_model\n\n#endif\n'
    )


def _hashes(model_hash: str, firmware_hash: str) -> str:
    w = Writer()
    w.comment("Who this is. The firmware's hash covers every other file. Generated: do not edit.")
    w.lines("#ifndef EC_HASHES_H", "#define EC_HASHES_H", "")
    for name, value in (("MODEL", model_hash), ("FIRMWARE", firmware_hash)):
        w.line(f"#define EC_{name}_HASH {w.bytes_initializer(bytes.fromhex(value))}")
    w.lines("", "#endif")
    return w.text()


def _gaussian() -> str:
    w = Writer()
    w.comment("Gaussian quantiles at (i + 1/2) / 1024, in units of 2^-13 standard deviations. Generated: do not edit.")
    w.lines('#include "ec_random.h"', "")
    w.array("ec_gaussian", gaussian_table(), "int16")
    return w.text().replace("static const", "const")


def _board_header(board: Board) -> str:
    macros = {
        "EC_BOARD_NAME": f'"{board.name}"',
        "EC_CLOCK_HZ": f"{board.clock_hz}u",
        "EC_TIMER_HZ": f"{board.timer_hz}u",
        "EC_SERIAL_BASE": f"0x{board.serial.base:08X}u",
        "EC_SERIAL_IRQ": f"{board.serial.irq}u",
        "EC_SERIAL_BAUD": f"{board.serial.baud}u",
        "EC_EDGE_BASE": f"0x{board.edge.base:08X}u",
        "EC_EDGE_PIN": f"{board.edge.pin}u",
    }
    w = Writer()
    w.comment(f"{board.title}. Generated: do not edit.")
    w.lines("#ifndef EC_BOARD_H", "#define EC_BOARD_H", "")
    w.lines(*(f"#define {name} {value}" for name, value in macros.items()), "", "#endif")
    return w.text()


CODE_BYTES = 4096
"""Less than any build's code: what is refused before the build would surely not fit."""


def _check_fits(graph: IntegerGraph, board: Board, plan: MemoryPlan) -> None:
    tables = sum(c.value.size * c.bits // 8 for c in graph.constants.values())
    flash = tables + CODE_BYTES
    ram = plan.state_bytes + plan.capacities.repair_bytes + 2 * board.max_payload + board.stack_bytes
    for what, needed, region in (("flash", flash, board.flash), ("RAM", ram, board.ram)):
        if needed > region.bytes:
            raise BuildError(
                f"model '{graph.name}' needs at least {needed:,} bytes of {what}, board '{board.name}' has {region.bytes:,}; "
                "use fewer neurons, fewer weight bits or another board"
            )
