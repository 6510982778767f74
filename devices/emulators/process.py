"""The emulator's own process: `python -m edgechaos.devices.emulators.process ENGINE ELF BOARD [LIBRARY]`, spoken to over stdin and stdout.

One answer per message (messages.py, each with an `op`), of `run` one per frame. It lives apart so that it can be killed, and ends
with its input. Operations: run (frames, one at a time, each until the core sleeps; the last answer is that of the frame at which it
stopped), replay (the same frames under one plan after another), power_on, pin_reset, counts, clear_counts, split_counts,
counted_parts, and read_memory, poke, arm, restore.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

from edgechaos.devices.emulators.exchange import Exchange
from edgechaos.devices.emulators.firmware_image import load_elf
from edgechaos.devices.emulators.messages import pack, receive
from edgechaos.devices.emulators.qemu.machine import QemuMachine
from edgechaos.devices.emulators.unicorn.machine import EmulatedMachine
from edgechaos.devices.emulators.unicorn.replays import Replayed, Replays
from edgechaos.faults.injections import Strike
from edgechaos.firmware_gen.board import load_board
from edgechaos.support.errors import EdgeChaosError

Machine = EmulatedMachine | QemuMachine


def _end_with_the_input() -> None:
    """A parent that is gone waits for nothing, whatever is being emulated."""
    ended = select.poll()
    ended.register(0, 0)
    while not ended.poll():
        pass
    os._exit(0)


def perform(machine: Machine, replays: Replays | None, head: dict[str, Any], blob: bytes) -> Iterator[bytes]:
    """The answers to one message, each as soon as it is known."""
    operation = head["op"]
    if replays is not None and operation != "replay":
        replays.leave()
    if operation == "run":
        yield from map(_answer, _run_frames(machine, _frames(head, blob)))
    elif operation == "replay":
        assert replays is not None
        plans = [[Strike(**strike) for strike in plan] for plan in head["plans"]]
        yield _replayed(replays.run(head["epoch"], head["first"], _frames(head, blob), plans, head["prune"]))
    elif operation in ("power_on", "pin_reset"):
        yield _answer(getattr(machine, operation)(head["budget"]))
    elif operation in ("read_memory", "poke", "arm", "restore", "split_counts", "counted_parts"):
        try:
            read = getattr(machine, operation)(*head["arguments"])
        except EdgeChaosError as error:
            yield pack({"error": str(error)})
        else:
            yield pack({}, read or b"")
    elif operation == "clear_counts":
        machine.clear_counts()
        yield pack({})
    else:
        assert operation == "counts", operation
        yield pack(machine.counts())


def _frames(head: dict[str, Any], blob: bytes) -> list[tuple[bytes, int]]:
    ends = list(accumulate(head["lengths"]))
    return [(blob[end - length : end], budget) for end, length, budget in zip(ends, head["lengths"], head["budgets"], strict=True)]


def _run_frames(machine: Machine, frames: list[tuple[bytes, int]]) -> Iterator[Exchange]:
    for frame in frames:
        done = machine.exchange(*frame)
        yield done
        if done.stopped is not None:
            break


def _answer(done: Exchange) -> bytes:
    return pack({"windows": done.windows, "stopped": asdict(done.stopped) if done.stopped else None}, done.sent)


def _replayed(runs: Iterator[Replayed]) -> bytes:
    """Which of the different answers each run gave, and these: most faults change nothing."""
    known: dict[Any, int] = {}
    answers: list[dict[str, Any]] = []
    sent: list[bytes] = []
    given: list[tuple[int, bool]] = []
    for run in runs:
        key = tuple((done.sent, *done.windows, done.stopped) for done in run.exchanges), tuple(run.counts.values())
        if key not in known:
            known[key] = len(known)
            lengths, windows = [len(done.sent) for done in run.exchanges], [window for done in run.exchanges for window in done.windows]
            stopped = any(done.stopped for done in run.exchanges)
            answers.append({"lengths": lengths, "windows": windows, "stopped": stopped, "counts": run.counts})
            sent += [done.sent for done in run.exchanges]
        given.append((known[key], run.inferred))
    return pack({"given": given, "answers": answers}, b"".join(sent))


def main(engine: str, elf: str, board: str, library: str | None = None) -> None:
    """Build the machine, say so, and serve until the input ends."""
    # What a library prints must not run into the messages.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        image, about, hooks = load_elf(elf), load_board(board), Path(library) if library else None
        replays: Replays | None = None
        machine: Machine
        if engine == "qemu":
            assert hooks is not None
            machine = QemuMachine(Path(elf), about, hooks)
        else:
            machine = EmulatedMachine(image, about, hooks)
            replays = Replays(machine, partial(EmulatedMachine, image, about, hooks, traced=True))
    except EdgeChaosError as error:
        answers.write(pack({"error": type(error).__name__, "message": str(error)}))
        answers.flush()
        return
    answers.write(pack({}))
    answers.flush()
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    while (message := receive(sys.stdin.buffer)) is not None:
        for answer in perform(machine, replays, *message):
            answers.write(answer)
            answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
