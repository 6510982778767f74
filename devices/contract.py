"""What a device is: six methods over anything that runs a model, from a host library to a board on a wire.

Logits and classes equal the reference's bit for bit. Whatever goes wrong on a device is a DeviceError whose `outcome` names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.faults.injections import ResolvedPlan, Strike
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import FaultError, LinkError

Kind = Literal["host", "emulated", "board", "fake"]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Who answered: shown in reports and recorded with every trial.

    model_hash: the artifact's content hash, 64 hex digits. levels: of the faults that it carries: "model", "memory", "machine".
    """

    name: str
    kind: Kind
    model_hash: str
    firmware_hash: str
    uid: str
    levels: frozenset[str]
    patch_capacity: int
    boot_counter: int = 0
    reset_cause: str = "power_on"


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """logits (batch, outputs) int32, labels (batch,) uint16; instructions (batch,) int64 where the device counts them."""

    logits: NDArray[np.int32]
    labels: NDArray[np.uint16]
    instructions: NDArray[np.int64] | None = None


EXTRAS = {
    "multiple_registers": "executed",  # registers moved by load_store_multiple
    "register_stores": "executed",  # STR with a register offset
    "literal_loads": "executed",  # LDR from beside the code
    "table_branches": "executed",  # TBB, TBH
    "pc_loads": "taken",  # loads and pops into PC, which refill the pipeline
    "pipelined": "sequential",  # an LDR, or a register store, right after an LDR whose result is not in its address
    "address_stalls": "sequential",  # a load or store right after the data processing that made its address
}
"""What is counted beside the classes of instructions, and is none; each with how often its instruction counts: `executed`, `taken`
(control left it for elsewhere) or `sequential` (control came to it from the instruction before, not by a branch)."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Since the device was opened or reset.

    instructions: per instruction class, executed between the GPIO edges of inferences only, and what of EXTRAS is known (empty where not
    counted).
    timer_ticks / timer_hz: the board's own clock over the same windows; 0 where there is none.
    link: frames good, bad, retried, as far as the device knows them.
    """

    inferences: int
    instructions: Mapping[str, int] = field(default_factory=dict)
    timer_ticks: int = 0
    timer_hz: int = 0
    link: Mapping[str, int] = field(default_factory=dict)


def checked(inference: Inference, batch: int, outputs: int, device: str) -> Inference:
    """The inference, whose every number can be one of `batch` items on a model with that many outputs.

    Raises LinkError where one cannot: a device that answers class 60,000 of 10 is not believed in anything.
    """
    logits, labels, counts = inference.logits, inference.labels, inference.instructions
    if logits.shape != (batch, outputs) or logits.dtype != np.int32:
        raise LinkError(f"device '{device}' returned logits {logits.dtype} {logits.shape}, not int32 {(batch, outputs)}")
    if labels.shape != (batch,) or labels.dtype != np.uint16:
        raise LinkError(f"device '{device}' returned classes {labels.dtype} {labels.shape}, not uint16 {(batch,)}")
    if (labels >= outputs).any():
        worst = int(np.argmax(labels >= outputs))
        raise LinkError(f"device '{device}' answered class {labels[worst]} of {outputs} for item {worst}; flash this model's firmware")
    if counts is not None and (counts.shape != (batch,) or counts.dtype != np.int64 or (counts <= 0).any()):
        raise LinkError(f"device '{device}' counted impossible instructions: one positive int64 per item is possible")
    return inference


def refuse_levels(plan: ResolvedPlan, info: DeviceInfo) -> None:
    """Raises FaultError where a plan needs a level of access that the device does not state."""
    for level in sorted(plan.levels - info.levels):
        raise FaultError(f"device '{info.name}' cannot carry faults of the {level}; {WITHOUT[level]}")


WITHOUT = {
    "model": "it was built without fault hooks",
    "memory": "use one that gives access to its memory, such as unicorn",
    "machine": "use one that gives access to its core, such as unicorn",
    "link": "use one behind a wire, such as serial or fake",
}
"""Why a device lacks a level, or what to use in its place."""


Operation = Literal["set", "clear", "toggle"]


@runtime_checkable
class Memory(Protocol):
    """A device whose RAM and flash can be read and changed from outside; `inject` and `reset` restore what was poked."""

    def read_memory(self, address: int, count: int) -> bytes:
        """Bytes as they are now. Raises FaultError where the board has no RAM or flash there."""

    def poke(self, address: int, mask: int, op: Operation) -> None:
        """Set, clear or toggle the bits of `mask` in the 32-bit word at `address`, a multiple of 4, now and once. Raises FaultError."""


@runtime_checkable
class Product(Protocol):
    """A device whose firmware carries hooks for faults, and that also exists without them, as it would be shipped."""

    def product(self) -> Device | None:
        """The same model on the same kind of machine, built without hooks, not yet open; None where there is no such build."""


OUTSIDE = "outside of the layers"


@dataclass(frozen=True, slots=True)
class Part:
    """What one function did for one layer, in all inferences of a profile: instructions as in `Counters`, bytes of memory moved."""

    layer: str
    function: str
    instructions: Mapping[str, int]
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class HotLine:
    """A line of source, "" where it is not known, the function that it was compiled into, and instructions executed."""

    line: str
    function: str
    instructions: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the instructions of so many inferences went; sums over the parts are the counts of the whole. hot: the lines with most."""

    inferences: int
    parts: tuple[Part, ...]
    hot: tuple[HotLine, ...]


@runtime_checkable
class Profiled(Protocol):
    """A device that knows for which layer of its model an instruction works."""

    def profile(
        self, codes: NDArray[Any], *, seed: int = 0, head: str | None = None, parameters: Mapping[str, int] | None = None
    ) -> Profile:
        """Of a batch on the firmware without hooks, as it would be shipped; the device itself need not be open."""


@runtime_checkable
class Counting(Protocol):
    """A device that counts instructions by class, and says so without a request to its firmware."""

    def instructions(self) -> Mapping[str, int]:
        """As `Counters.instructions`."""


@runtime_checkable
class Machine(Protocol):
    """A device whose core and memory can be changed while it runs; `inject` and `reset` restore what was changed."""

    def arm(self, strikes: Sequence[Strike]) -> None:
        """From now on, do what each strike says when it says so. Raises FaultError for a place that there is not."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What a batch gave under one plan. instructions: by class, over all of its items. inferred: it was not run, but concluded."""

    inference: Inference
    instructions: Mapping[str, int]
    inferred: bool = False


@runtime_checkable
class Replaying(Protocol):
    """A device that by itself runs a batch under one plan after another, from one state: far sooner than by requests."""

    def infer_under(
        self, plans: Sequence[ResolvedPlan], codes: NDArray[Any], *, prune: bool = False, **options: Any
    ) -> list[Replay | None]:
        """What `infer` gives after `inject`, of each plan on the clean device, which it is afterwards; options: of `infer`.

        prune: what a plan gives may be concluded from the clean run, or from another plan's, where it must be the same.
        None for a plan under which it fails, or which it cannot run in this way: inject it, and see. Raises as `infer` does without faults.
        """


@runtime_checkable
class Repairable(Protocol):
    """A device whose stored words can be changed for good, in RAM: until it restarts."""

    def commit(self, mended: IntegerGraph, held: IntegerGraph | None = None) -> DeviceInfo:
        """Make its words those of `mended`, the same model with other words; every fault is cleared, its hash is the mended model's.

        held: the words that the device really holds, where its flash is known to be wrong; by default those of its model.
        After a restart it raises DeviceRefused in place of results until the repair is committed again, or given up by `revert`.
        Raises FaultError where it has no room for a repair, or for so many words; then it holds the model that was flashed.
        """

    def revert(self) -> DeviceInfo:
        """Undo every repair: the model that was flashed, without faults."""


class Device(ABC):
    """Lifecycle: open, any number of inject / infer / counters / reset, close. close is safe at any time, repeatedly."""

    @abstractmethod
    def open(self) -> DeviceInfo:
        """Start or connect, and confirm that the model on the device is the one expected; it carries no faults then.

        Raises LinkError (absent, busy), DeviceRefused (another model or protocol).
        """

    @abstractmethod
    def infer(
        self,
        codes: NDArray[Any],
        *,
        seed: int = 0,
        samples: ArrayLike | None = None,
        head: str | None = None,
        parameters: Mapping[str, int] | None = None,
    ) -> Inference:
        """Run a batch: codes (batch, *input shape) in the head's dtype, samples (batch,) uint32, by default 0..batch-1.

        `parameters` sets the k of ThermalNoise nodes by name for this batch, by default what the model stores.
        Raises ShapeError, SeedError or GraphError before anything is sent; DeviceHang, DeviceCrash, DeviceReset, LinkError as they happen.
        """

    @abstractmethod
    def inject(self, plan: ResolvedPlan) -> None:
        """Replace the faults that hold from now on; `edgechaos.faults.plan.CLEAN` removes them all. Nothing is reflashed.

        Raises FaultError where the device lacks the level or the capacity; the device is then clean.
        """

    @abstractmethod
    def counters(self) -> Counters:
        """What has been counted so far."""

    @abstractmethod
    def reset(self) -> DeviceInfo:
        """Restart: faults and counters are gone, the boot counter has moved. Usable also after a hang or a crash."""

    @abstractmethod
    def close(self) -> None:
        """Release everything: processes, ports, locks."""

    def __enter__(self) -> Device:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
