"""A board's own firmware in an emulator, which runs in a process of its own; instructions are counted by class.

It speaks the wire protocol of a real board. A hang is more instructions than the model can take under any plan
(firmware_gen/compilers/c/work.py), never wall clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import Counters, DeviceInfo, Inference, Operation, Profile, Replay, checked
from edgechaos.devices.emulators.attribution import attribute, profile_of
from edgechaos.devices.emulators.firmware_image import FirmwareImage, load_elf
from edgechaos.devices.emulators.instruction_classes import map_code
from edgechaos.devices.emulators.libraries import hook_library, plugin_library
from edgechaos.devices.emulators.link import GUARD_S, EmulatorLink
from edgechaos.devices.emulators.places import as_strike, place_strikes
from edgechaos.devices.protocol.client import Request
from edgechaos.devices.protocol.device import Batch, ProtocolDevice
from edgechaos.devices.protocol.frames import answered, encoded
from edgechaos.faults.injections import CLEAN, ResolvedPlan, Strike
from edgechaos.firmware_gen.board import load_board
from edgechaos.firmware_gen.compilers.c.work import most_instructions
from edgechaos.firmware_gen.protocol import Verb
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import (
    DeviceCrash,
    DeviceError,
    DevicePowerLoss,
    DeviceRefused,
    DeviceReset,
    FaultError,
    LinkError,
    UnsupportedError,
)
from edgechaos.support.extras import check_installed


class EmulatorDevice(ProtocolDevice):
    """What all emulators share. product_elf: builds, when it is asked for, the same firmware without fault hooks."""

    engine: ClassVar[str]
    """Of edgechaos.devices.emulators.process."""
    packages: ClassVar[tuple[str, ...]] = ("capstone", "elftools")
    """What only the emulator's process imports."""

    def __init__(
        self,
        graph: IntegerGraph,
        elf: str | os.PathLike[str],
        board: str = "mps2-an386",
        *,
        product_elf: Callable[[], Path] | None = None,
        guard_s: float = GUARD_S,
    ) -> None:
        super().__init__(graph, f"{self.engine}:{board}", "emulated", attempts=1)
        self.elf = Path(elf)
        self.board = board
        self._guard_s, self._product_elf = guard_s, product_elf
        self._link: EmulatorLink | None = None
        self._resets = False

    def _library(self) -> Path | None:
        """What the emulator calls back, compiled."""
        raise NotImplementedError

    def infer(self, codes: NDArray[Any], **options: Any) -> Inference:
        """As the contract says; `instructions` are those between the two GPIO edges of each inference."""
        if self._link is not None:
            self._link.windows.clear()
        with self._poked_firmware():
            result = super().infer(codes, **options)
            windows = self._opened_link().windows
            if len(windows) != len(codes):
                raise LinkError(
                    f"{len(codes)} inferences but {len(windows)} GPIO windows: the firmware does not frame its inferences; rebuild it"
                )
            result = replace(result, instructions=np.array(windows, np.int64))
            return checked(result, len(codes), result.logits.shape[1], self.name)

    def counters(self) -> Counters:
        """As the contract says, with `instructions` by class."""
        with self._poked_firmware():
            return replace(super().counters(), instructions=self._opened_link().counts())

    def product(self) -> EmulatorDevice | None:
        """As the protocol Product says."""
        if self._product_elf is None:
            return None
        return type(self)(self.graph, self._product_elf(), self.board, guard_s=self._guard_s)

    def instructions(self) -> Mapping[str, int]:
        """As the protocol Counting says."""
        return self._opened_link().counts()

    def read_memory(self, address: int, count: int) -> bytes:
        """As the protocol Memory says."""
        return self._opened_link().memory("read_memory", address, count)

    def poke(self, address: int, mask: int, op: Operation) -> None:
        """As the protocol Memory says."""
        if address % 4 or not 0 <= mask < 2**32 or op not in get_args(Operation):
            choices = ", ".join(get_args(Operation))
            raise FaultError(f"poke takes the address of a word, 32 bits and {choices}, not {address:#x}, {mask:#x}, {op}")
        self._opened_link().memory("poke", address, mask, op)

    def inject(self, plan: ResolvedPlan) -> None:
        """As the contract says; what was poked or armed is restored first."""
        self._restore()
        self._resets = False
        super().inject(plan)

    @contextmanager
    def _poked_firmware(self) -> Iterator[None]:
        """What poked memory makes of the protocol is a crash: nothing else can disturb this link while its process lives."""
        try:
            yield
        except (LinkError, DeviceRefused, DevicePowerLoss) as error:
            if self._link is None or not self._link.poked or not self._link.process.alive:
                raise
            if self._resets and isinstance(error, DevicePowerLoss):
                raise DeviceReset(f"its core was reset: {error}") from error
            raise DeviceCrash(f"since its memory was poked, the firmware no longer keeps the protocol: {error}") from error

    def _restore(self) -> None:
        with suppress(LinkError):  # a process that is gone comes back clean, where it comes back
            self._opened_link().restore()

    def reset(self) -> DeviceInfo:
        """As the contract says; a process that was killed is replaced."""
        self._restore()
        info = super().reset()
        self._opened_link().clear_counts()
        return info

    def close(self) -> None:
        """Kill the process."""
        super().close()
        self._link = None

    def _connect(self) -> EmulatorLink:
        check_installed(tuple((package, "emulate") for package in self.packages))
        board = load_board(self.board)
        most = most_instructions(self.graph, board.patch_capacity) * board.core.work
        self._link = EmulatorLink((self.engine, self.elf, self.board, self._library()), most, self._guard_s)
        return self._link

    def _opened_link(self) -> EmulatorLink:
        self._opened()
        assert self._link is not None
        return self._link


class EmulatedDevice(EmulatorDevice):
    """Unicorn's core with a board's memories and peripherals.

    `compiled_hooks=False` counts in Python, hundreds of times slower and without a compiler; the counts are the same. debug_elf: builds
    the firmware without hooks and with debug information; then its model's file, and the layers by the lines of that.
    """

    engine = "unicorn"
    packages = ("unicorn", *EmulatorDevice.packages)

    def __init__(
        self,
        graph: IntegerGraph,
        elf: str | os.PathLike[str],
        board: str = "mps2-an386",
        *,
        compiled_hooks: bool = True,
        debug_elf: Callable[[], tuple[Path, str, Mapping[int, str]]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(graph, elf, board, **options)
        self.compiled_hooks, self._debug_elf = compiled_hooks, debug_elf
        self._firmware: FirmwareImage | None = None

    def _library(self) -> Path | None:
        return hook_library() if self.compiled_hooks else None

    def profile(
        self, codes: NDArray[Any], *, seed: int = 0, head: str | None = None, parameters: Mapping[str, int] | None = None
    ) -> Profile:
        """As the protocol Profiled says. Raises UnsupportedError where there is no firmware with debug information."""
        if self._debug_elf is None:
            raise UnsupportedError(f"'{self.name}' runs firmware that is given; open it by its name for a profile, as in --device unicorn")
        elf, source, layers = self._debug_elf()
        image = load_elf(elf)
        code = map_code(image, load_board(self.board).core)
        sites = attribute(elf, image, code, source, layers)
        device = EmulatedDevice(self.graph, elf, self.board, compiled_hooks=self.compiled_hooks, guard_s=self._guard_s)
        with device:
            link = device._opened_link()
            link.memory("split_counts", len(sites.layers), sites.calls)
            device.infer(codes, seed=seed, head=head, parameters=parameters)
            parts = np.frombuffer(link.memory("counted_parts"), np.int64).reshape(len(sites.layers), 3, -1)
        return profile_of(image, code, sites, parts, len(codes))

    def infer_under(
        self, plans: Sequence[ResolvedPlan], codes: NDArray[Any], *, prune: bool = False, **options: Any
    ) -> list[Replay | None]:
        """As the protocol Replaying says; what it runs does not count in `counters`."""
        self._restore()
        if self._loaded:
            self.inject(CLEAN)
        session, link = self._opened(), self._opened_link()
        batch = self._batch(codes, **options)
        requests = [r for part in batch.parts for r in part]
        sent = [encoded(r.verb, seq, r.payload) for seq, r in enumerate(requests)]
        placed = {k: strikes for k, plan in enumerate(plans) if (strikes := self._placed(plan)) is not None}
        first = next((k for k, r in enumerate(requests) if r.verb is Verb.INFER), 0)
        about = {"epoch": f"{session.client.session} {session.info.model_hash}", "first": first, "prune": prune}
        about["plans"] = [*placed.values()]
        answer, data = link.replay(about, [(data, link.budget(r.verb, r.payload)) for data, r in zip(sent, requests, strict=True)])
        ends = accumulate((sum(one["lengths"]) for one in answer["answers"]), initial=0)
        pieces = (data[start:end] for start, end in pairwise(ends))
        different = [self._replay(batch, requests, *one) for one in zip(answer["answers"], pieces, strict=True)]
        found: list[Replay | None] = [None] * len(plans)
        for k, (which, inferred) in zip(placed, answer["given"], strict=True):
            one = different[which]
            found[k] = replace(one, inferred=True) if inferred and one is not None else one
        return found

    def _placed(self, plan: ResolvedPlan) -> list[dict[str, Any]] | None:
        """What strikes memory and core, at addresses; None for a plan that does more, or names a place that there is not."""
        if plan.slots or plan.patch or plan.wires:
            return None
        try:
            return [_fields(s) for s in place_strikes((*map(as_strike, plan.pokes), *plan.strikes), self._image())]
        except FaultError:
            return None

    def _replay(self, batch: Batch, requests: Sequence[Request], about: dict[str, Any], sent: bytes) -> Replay | None:
        """The answers to a batch, checked as those to requests of their own; None where any is not as it must be."""
        ends = accumulate(about["lengths"])
        pieces = (sent[end - length : end] for end, length in zip(ends, about["lengths"], strict=True))
        replies = [answered(piece, request.verb, seq) for seq, (request, piece) in enumerate(zip(requests, pieces, strict=False))]
        if about["stopped"] or len(replies) != len(requests) or None in replies or len(about["windows"]) != len(batch.parts) - 2:
            return None
        try:
            found = self._read_batch(batch, [r for r in replies if r is not None])
            found = replace(found, instructions=np.array(about["windows"], np.int64))
            return Replay(checked(found, len(batch.parts) - 2, batch.outputs, self.name), about["counts"])
        except DeviceError:
            return None

    def arm(self, strikes: Sequence[Strike]) -> None:
        """As the protocol Machine says."""
        placed = [_fields(strike) for strike in place_strikes(strikes, self._image())]
        self._resets = any(strike.what == "reset" for strike in strikes)
        self._opened_link().memory("arm", placed)

    def _image(self) -> FirmwareImage:
        if self._firmware is None:
            self._firmware = load_elf(self.elf)
        return self._firmware


class QemuDevice(EmulatorDevice):
    """A machine of QEMU."""

    engine = "qemu"

    def _library(self) -> Path | None:
        return plugin_library()


def _fields(strike: Strike) -> dict[str, Any]:
    return {name: getattr(strike, name) for name in _PLACED}  # not asdict, which copies deeply


_PLACED = tuple(field.name for field in fields(Strike) if field.name != "draw")
