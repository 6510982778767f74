"""What an emulated machine tells of a run from one sleep to the next, and how its bits are changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["crash", "hang", "babble"]
TX_ROOM = 1 << 16
"""Bytes that firmware may send between two requests; more is babble."""

OPERATIONS: dict[str, Callable[[int, int, int], int]] = {
    "set": lambda old, mask, value: old | mask,
    "clear": lambda old, mask, value: old & ~mask,
    "toggle": lambda old, mask, value: old ^ mask,
    "overwrite": lambda old, mask, value: (old & ~mask) | (value & mask),
}
"""What becomes of a word: (old, mask, value)."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why the core did not get back to sleep. Addresses as `name+0x10` where the image has the name."""

    outcome: Outcome
    reason: str
    pc: str
    lr: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """From one WFI to the next: bytes sent, instructions executed, instructions of each GPIO window closed."""

    sent: bytes
    executed: int
    windows: list[int]
    stopped: Stopped | None = None
