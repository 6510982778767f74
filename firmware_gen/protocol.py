"""The wire protocol's numbers and layouts: the one definition, from which the C header is generated too.

A frame is `00 | COBS(version u8, type u8, seq u16, len u16, payload, crc32 u32) | 00`, little-endian, the CRC-32
(zlib's) over everything before it. The leading 00 resynchronises after garbage. One request is outstanding; the device
replays its last reply to a repeated request (same seq and same CRC), except HELLO, which is never replayed and clears
the replay cache. Every layout is documented for users in docs/protocol.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

VERSION = 3
"""2: a session; 3: fault slots. The first byte of a frame and of HELLO's reply name the version in every version."""
FRAME_HEAD = struct.Struct("<BBHH")
CRC = struct.Struct("<I")
REPLY = 0x80
"""A reply's type is its request's with this bit set."""
BIAS_INPUT = 0xFFFF
"""The input index of a patch row that changes a bias."""


class Verb(IntEnum):
    """Requests, and ERROR, the reply of a device that refuses one."""

    HELLO = 0x01  # -> Hello
    SET = 0x02  # SET_HEAD + entries of a fault slot, little-endian; of a bool slot bits, low first
    PATCH = 0x03  # any number of PATCH_ROW
    CLEAR = 0x04  # removes every fault
    INFER = 0x05  # INFER_HEAD -> INFER_REPLY + logits i32, as many as fit
    INPUT = 0x06  # u32 byte offset, then bytes of the head's input: int8 codes, or uint16 token ids, little-endian
    RESULT = 0x07  # u16 first logit -> logits i32, as many as fit
    STATE_HASH = 0x08  # -> u32: CRC-32 of what the readout read (int8), then of the logits (i32), of the last inference
    COUNTERS = 0x09  # -> COUNTERS_REPLY
    RESET = 0x0A  # acknowledged, then the device restarts
    PARAM = 0x0B  # PARAM: the run-time parameter of a ThermalNoise, until the next PARAM, SESSION or RESET
    SESSION = 0x0C  # SESSION: begin one: no faults, the model's own parameters, no result; HELLO returns its number until a restart
    COMMIT = (
        0x0D  # the staged patch rows become words of the model, under the hash in COMMIT, 0 while more follow; nothing: as flashed again
    )
    ERROR = 0x7F  # reply type 0xFF: ERROR_REPLY


class ErrorCode(IntEnum):
    """Why a device refused."""

    BAD_VERSION = 1  # detail: the request's version
    BAD_VERB = 2
    BAD_LENGTH = 3
    OUT_OF_RANGE = 4  # detail: the offending index
    NO_SPACE = 5  # detail: the capacity
    NO_RESULT = 6  # RESULT or STATE_HASH before any INFER
    FAULTS_COMPILED_OUT = 7
    REFUSED = 8  # detail: the slot, which its node cannot have set
    MEMORY = 9  # a guarded table has a wrong word that cannot be corrected: there is no result


class Level(IntFlag):
    """What faults a device takes over the wire, in HELLO. Flags that this release does not know are kept and mean nothing to it."""

    MODEL = 1
    MEMORY = 2
    MACHINE = 4
    LINK = 8

    @property
    def names(self) -> frozenset[str]:
        """As faults name their level: "model" and so on."""
        return frozenset(str(level.name).lower() for level in Level if level in self)


class ResetCause(IntEnum):
    """Why a device started, in HELLO."""

    POWER_ON = 0
    SOFTWARE = 1
    WATCHDOG = 2
    FAULT = 3
    PIN = 4
    UNKNOWN = 255


SET_HEAD = struct.Struct("<HH")
"""The slot's number, the first entry; of a bool slot a multiple of 8."""
PATCH_ROW = struct.Struct("<BHHi")
"""Index among the nodes with weights in node order, row, column (BIAS_INPUT for the bias), delta: rows of `Weighted.patch`."""
PARAM = struct.Struct("<Bi")
"""ThermalNoise index in node order, k in 0..k_max."""
SESSION = struct.Struct("<Q")
"""A number that the host draws, not 0."""
COMMIT = struct.Struct("<32s")
"""The artifact that the device then holds; HELLO returns it until a restart."""
INPUT_HEAD = struct.Struct("<I")
"""First byte of the head's input."""
RESULT_HEAD = struct.Struct("<H")
"""First logit."""
INFER_HEAD = struct.Struct("<BIII")
"""Head index, seed, sample, count >= 1: count inferences of samples sample, sample+1, ... between two GPIO edges."""
INFER_REPLY = struct.Struct("<HQ")
"""Class of the last inference, timer ticks of all (0 where the board has no timer); then its logits."""
COUNTERS_REPLY = struct.Struct("<IIIIQ")
"""Inferences, good frames, bad frames, replayed replies, timer ticks spent inferring, since start."""
ERROR_REPLY = struct.Struct("<BI")
HELLO_REPLY = struct.Struct("<BIIHHHIIIQB16s32s32s")


@dataclass(frozen=True, slots=True)
class Hello:
    """What a device says of itself. Hostile until checked: a babbling device may say anything.

    slots, slots_crc: how many fault slots, and which (`edgechaos.firmware_gen.plan.slots`); 0 where the hooks are compiled out.
    session: the number that SESSION gave since the device's last start; 0 where none did.
    """

    protocol: int
    random_id: int
    levels: Level
    max_payload: int
    patch_capacity: int
    slots: int
    slots_crc: int
    timer_hz: int
    boot_counter: int
    session: int
    reset_cause: int
    uid: bytes
    model_hash: bytes
    firmware_hash: bytes

    @classmethod
    def unpack(cls, payload: bytes) -> Hello:
        """Raises struct.error where the payload has another length."""
        protocol, random_id, levels, *rest = HELLO_REPLY.unpack(payload)
        return cls(protocol, random_id, Level(levels), *rest)
