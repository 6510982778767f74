"""ec_protocol.h, written from `edgechaos.firmware_gen.protocol`: one definition for both ends of the wire."""

from __future__ import annotations

from enum import IntEnum

from edgechaos.arithmetic.random_bits import RANDOM_ID
from edgechaos.firmware_gen import protocol
from edgechaos.firmware_gen.compilers.c.writer import Writer

ENUMS: tuple[tuple[str, type[IntEnum]], ...] = (
    ("VERB", protocol.Verb),
    ("ERROR", protocol.ErrorCode),
    ("RESET", protocol.ResetCause),
)
LAYOUTS = (
    "FRAME_HEAD",
    "CRC",
    "SET_HEAD",
    "PATCH_ROW",
    "PARAM",
    "SESSION",
    "COMMIT",
    "INPUT_HEAD",
    "RESULT_HEAD",
    "INFER_HEAD",
)


def protocol_header() -> str:
    """The text of ec_protocol.h."""
    w = Writer()
    w.comment("The numbers of the wire protocol; layouts and rules: docs/protocol.md. Generated: do not edit.")
    w.lines("#ifndef EC_PROTOCOL_H", "#define EC_PROTOCOL_H", "")
    w.lines(f"#define EC_PROTOCOL_VERSION {protocol.VERSION}u", f"#define EC_RANDOM_ID 0x{RANDOM_ID:08X}u")
    w.lines(f"#define EC_REPLY 0x{protocol.REPLY:02X}u", f"#define EC_BIAS_INPUT 0x{protocol.BIAS_INPUT:04X}u")
    w.line(f"#define EC_LEVEL_MODEL {int(protocol.Level.MODEL)}u")
    for prefix, members in ENUMS:
        w.line()
        for number in members:
            w.line(f"#define EC_{prefix}_{number.name} {int(number)}u")
    w.line()
    for name in LAYOUTS:
        w.line(f"#define EC_{name}_BYTES {getattr(protocol, name).size}u")
    w.lines("", "#endif")
    return w.text()
