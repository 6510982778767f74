"""The emulator's own process: `python -m edgechaos.devices.emulator_process ELF BOARD [HOOKS]`, spoken to over stdin and stdout.

Enters: messages (emulator_messages.py), each with an `op`. Leaves: one answer per message. It lives apart so that it can
be killed, and ends with its input. Operations: run (frames, one at a time, each until the core sleeps), power_on,
pin_reset, counts, clear_counts.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgechaos.devices.emulator_machine import EmulatedMachine, Exchange
from edgechaos.devices.emulator_messages import pack, receive
from edgechaos.devices.firmware_image import load_elf
from edgechaos.errors import EdgeChaosError
from edgechaos.firmware_gen.boards import load_board


def perform(machine: EmulatedMachine, head: dict[str, Any], blob: bytes) -> bytes:
    """The answer to one message."""
    operation = head["op"]
    if operation == "run":
        return _answer(_run_frames(machine, head["lengths"], head["budgets"], blob))
    if operation in ("power_on", "pin_reset"):
        return _answer([getattr(machine, operation)(head["budget"])])
    if operation == "clear_counts":
        machine.hooks.clear_counts()
        return pack({})
    assert operation == "counts", operation
    return pack(machine.hooks.counts())


def _run_frames(machine: EmulatedMachine, lengths: list[int], budgets: list[int], blob: bytes) -> list[Exchange]:
    done, at = [], 0
    for length, budget in zip(lengths, budgets, strict=True):
        done.append(machine.exchange(blob[at : at + length], budget))
        at += length
        if done[-1].stopped is not None:
            break
    return done


def _answer(exchanges: list[Exchange]) -> bytes:
    stopped = exchanges[-1].stopped if exchanges else None
    head = {
        "lengths": [len(e.sent) for e in exchanges],
        "executed": [e.executed for e in exchanges],
        "windows": [w for e in exchanges for w in e.windows],
        "stopped": asdict(stopped) if stopped else None,
    }
    return pack(head, b"".join(e.sent for e in exchanges))


def main(elf: str, board: str, library: str | None = None) -> None:
    """Build the machine, say so, and serve until the input ends."""
    # What a library prints must not run into the messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        machine = EmulatedMachine(load_elf(elf), load_board(board), Path(library) if library else None)
    except EdgeChaosError as error:
        answers.write(pack({"error": type(error).__name__, "message": str(error)}))
        answers.flush()
        return
    answers.write(pack({}))
    answers.flush()
    while (message := receive(sys.stdin.buffer)) is not None:
        answers.write(perform(machine, *message))
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
