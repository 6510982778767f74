"""Runs groups of trials on devices: what every worker does, whatever starts the workers.

A device that crashes, hangs or restarts under a fault has given a result: the batch is halved until the images that do it are found.
Anything else that fails after a trial began is the infrastructure's, and a failed attempt at that trial. What fails before, while a
device opens, is no attempt: whether it stops the campaign is decided by who knows whether the device has ever worked.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgechaos.devices.contract import Counting, Device, DeviceInfo, Product, Replay, Replaying, checked
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.plan import resolve
from edgechaos.graph.artifact import from_bytes
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.hil.campaign.outcomes import NO_ANSWER, activated, classify
from edgechaos.hil.campaign.plan import Probe, Trial, Work
from edgechaos.support.errors import DeviceError, EdgeChaosError

Opener = Callable[[str, IntegerGraph], Device]
"""(spec, graph) -> Device. One of your own may have an attribute `exclusive`, spec -> bool: whether one worker alone may hold it,
as is assumed of a spec that the registry does not know.
"""


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationSet:
    """codes (n, *input shape) as the model's head takes them, labels (n,); `name` is the data set's.

    head: which task of a model with several, by default the first. parameters: of the run, such as a temperature, by node.
    source: content hash of the data set whose first test items these are, before a model's own encoding; empty where it is not known.
    """

    name: str
    codes: NDArray[Any]
    labels: NDArray[np.int64]
    head: str | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)
    source: str = ""

    def hash(self, count: int) -> str:
        """SHA-256 over the first `count` codes and labels, head and parameters: what a trial was evaluated on."""
        codes, labels = np.ascontiguousarray(self.codes[:count]), self.labels[:count].astype("<i8")
        about = f"{codes.dtype.str} {codes.shape}\n".encode()
        if self.head is not None or self.parameters:
            about += json.dumps([self.head, dict(sorted(self.parameters.items()))]).encode()
        return hashlib.sha256(about + codes.tobytes() + labels.tobytes()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """All that a worker needs. artifact: the model file's bytes. opener: importable by name, for it travels. prune: a campaign's."""

    artifact: bytes
    images: EvaluationSet
    opener: Opener
    prune: bool = False


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What one trial gave.

    correct: recognised images; per_class: the same by true class. outcomes: images per outcome (empty for a clean run).
    digest: SHA-256 over all logits and classes. correct_bits: one bit per image. baseline: a clean run's logits, for the
    faulty ones to be compared with. instructions: by class, over `counted` inferences; empty where the device counts none.
    inferred: it was not run, but concluded from the clean run.
    """

    correct: int
    per_class: tuple[int, ...]
    outcomes: Mapping[str, int]
    digest: str
    correct_bits: bytes
    baseline: bytes | None
    instructions: Mapping[str, int]
    counted: int
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A worker has a device at its disposal."""

    device: str
    info: DeviceInfo


@dataclass(frozen=True, slots=True)
class NotBegun:
    """No trial of this work could begin: the device did not open, or the worker died before. It is nobody's attempt.

    allowed: how often in a row, without a trial in between, this may happen on a device that has never worked.
    """

    device: str
    why: str
    allowed: int


@dataclass(frozen=True, slots=True)
class Began:
    """The device is open and the trial runs: from now on, what is lost is an attempt."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class Finished:
    """A trial has its result."""

    trial: Trial
    result: TrialResult


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt at a trial gave no result.

    outcome: "infrastructure"; "crash" where the device took its worker with it; what the device raised under the clean model.
    """

    trial: Trial
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class Fatal:
    """Nothing sensible can follow: the campaign stops with this message."""

    message: str


Event = Opened | NotBegun | Began | Finished | Failed | Fatal
OPEN_PAUSES_S = (0.1, 0.5)
"""Between the tries to open a device: a board that restarted comes back on its port, an emulator that was killed starts again."""
PRODUCT_ITEMS = 64
"""Items of a clean trial whose instructions are counted on the build without fault hooks: their spread is small."""
AT_ONCE = 1024
"""Inferences that a device which runs several plans by itself is given at once: a second or so."""
MOST_VERDICTS = 64
"""Different answers whose outcome is kept."""
OPENINGS_ALLOWED = 2
"""How often a device that never opened may fail to open, each time after all these tries."""


@dataclass(slots=True)
class _Observed:
    """Logits and classes of one run; images without an answer are in `failed`, their logits are zero."""

    logits: NDArray[np.int32]
    classes: NDArray[np.uint16]
    failed: dict[int, str]
    instructions: dict[str, int]
    counted: int
    inferred: bool = False


_Prepared = tuple[ResolvedPlan, _Observed | None]


class Bench:
    """One worker's devices, each opened once, and what it evaluates on them."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._graph = from_bytes(setup.artifact)
        self._devices: dict[str, Device] = {}
        self._products: dict[str, Device] = {}
        self._verdicts: dict[tuple[Any, ...], TrialResult] = {}

    def evaluate(self, work: Work) -> Iterator[Event]:
        """One event per trial, in order, and Began before what runs: one trial, or several that the device runs by itself.

        Nothing after NotBegun, Fatal or a clean run that failed.
        """
        baseline = work.baseline
        if isinstance(work, Probe):
            yield from self._open(work.device)
        ahead: deque[_Prepared] = deque()
        for k, trial in enumerate(work.trials):
            device = yield from self._open(trial.device)
            if device is None:
                return
            if not ahead or ahead[0][1] is None:
                yield Began(trial)
            try:
                ahead = ahead or self._prepare(device, work.trials[k:])
                result = self._measure(device, trial, baseline, *ahead.popleft())
            except (DeviceError, OSError, MemoryError) as error:  # what a link or an exhausted machine raises
                self._drop(trial.device)
                outcome = getattr(error, "outcome", "infrastructure") if trial.clean else "infrastructure"
                yield Failed(trial, outcome, _describe(error))
                if trial.clean:
                    return
                continue
            except EdgeChaosError as error:
                yield Fatal(f"{trial.device}: {error}")
                return
            except Exception:
                yield _defect(trial.device)
                return
            if trial.clean:
                baseline = result.baseline
            yield Finished(trial, result)

    def close(self) -> None:
        """Release every device."""
        for spec in list(self._devices):
            self._drop(spec)

    def _open(self, spec: str) -> Generator[Event, None, Device | None]:
        """The device, opened where it is not; None after the event that says why not."""
        if spec in self._devices:
            return self._devices[spec]
        for pause in (*OPEN_PAUSES_S, None):
            try:
                device = self._setup.opener(spec, self._graph)
                try:
                    info = device.open()
                except BaseException:
                    device.close()
                    raise
            except (DeviceError, OSError, MemoryError) as error:
                if pause is None:
                    yield NotBegun(spec, _describe(error), OPENINGS_ALLOWED)
                    return None
                time.sleep(pause)
            except EdgeChaosError as error:  # no build, no such board: the next try would say the same
                yield NotBegun(spec, str(error), 1)
                return None
            except Exception:
                yield _defect(spec)
                return None
            else:
                self._devices[spec] = device
                yield Opened(spec, info)
                return device
        raise AssertionError("the last pause is None")

    def _drop(self, spec: str) -> None:
        """Close a device, which is opened anew for the next trial; one that is broken may fail even to close."""
        for held in (self._products, self._devices):
            with suppress(EdgeChaosError, OSError, KeyError):
                held.pop(spec).close()

    def _prepare(self, device: Device, trials: Sequence[Trial]) -> deque[_Prepared]:
        """The plans of the next trials, with what they gave where the device runs several by itself."""
        first = trials[0]
        if not isinstance(device, Replaying):
            return deque([(_plan(self._graph, first), None)])
        plans = [_plan(self._graph, trial) for trial in trials[: max(1, AT_ONCE // first.images)]]
        return deque(zip(plans, self._replay(device, first, plans, self._setup.images.codes[: first.images]), strict=True))

    def _replay(self, device: Replaying, trial: Trial, plans: Sequence[ResolvedPlan], codes: NDArray[Any]) -> list[_Observed | None]:
        """What a batch gives under each plan, with the seed of a trial; None where it takes a look of its own."""
        images = self._setup.images
        try:
            options: dict[str, Any] = {"seed": trial.seed, "head": images.head, "parameters": images.parameters}
            found = device.infer_under(plans, codes, prune=self._setup.prune, **options)
        except (DeviceError, OSError, MemoryError):  # each trial alone meets it again, and is charged with it
            return [None] * len(plans)
        return [None if one is None else _observed(one) for one in found]

    def _measure(self, device: Device, trial: Trial, baseline: bytes | None, plan: ResolvedPlan, given: _Observed | None) -> TrialResult:
        """given: what the device has already said of the trial."""
        codes = self._setup.images.codes[: trial.images]
        seen = given or self._observe(device, trial, plan, codes)
        if trial.clean and seen.counted and isinstance(device, Product):
            self._count_product(device, trial, seen, codes[:PRODUCT_ITEMS])
        active = not trial.clean and activated(self._graph, plan)
        key = seen.logits.tobytes(), seen.classes.tobytes(), tuple(seen.failed.items()), active, None if trial.clean else baseline
        verdict = self._verdicts.get(key)  # most faults change nothing, and one says it for all of them
        if verdict is None:
            if len(self._verdicts) >= MOST_VERDICTS:
                self._verdicts.clear()
            verdict = self._verdicts[key] = self._judge(trial, baseline, active, seen)
        return replace(verdict, instructions=seen.instructions, counted=seen.counted, inferred=seen.inferred)

    def _judge(self, trial: Trial, baseline: bytes | None, active: bool, seen: _Observed) -> TrialResult:
        """The result without its counts."""
        labels = self._setup.images.labels[: trial.images]
        right = (seen.classes == labels) & ~np.isin(np.arange(len(labels)), list(seen.failed))
        classes = len(self._graph.head(self._setup.images.head).classes)
        outcomes: dict[str, int] = {}
        if not trial.clean:
            if baseline is None:
                raise AssertionError("a group's clean trial comes first")
            logits, labels_clean = unpack_baseline(baseline, trial.images)
            outcomes = classify(logits, labels_clean, seen.logits, seen.classes, labels, seen.failed, active=active)
        digest = hashlib.sha256(seen.logits.astype("<i4").tobytes() + seen.classes.astype("<u2").tobytes())
        return TrialResult(
            correct=int(right.sum()),
            per_class=tuple(int(n) for n in np.bincount(labels[right], minlength=classes)),
            outcomes=outcomes,
            digest=digest.hexdigest(),
            correct_bits=np.packbits(right).tobytes(),
            baseline=pack_baseline(seen.logits, seen.classes) if trial.clean else None,
            instructions={},
            counted=0,
        )

    def _count_product(self, device: Product, trial: Trial, seen: _Observed, codes: NDArray[Any]) -> None:
        """Under no fault, count the build without hooks in its place. Raises EdgeChaosError where its answers differ."""
        if trial.device not in self._products:
            made = device.product()
            if made is None:
                return
            self._products[trial.device] = made
            made.open()
        product = self._products[trial.device]
        (_, known), *_ = self._prepare(product, [replace(trial, images=len(codes))])
        given = known or self._observe(product, trial, CLEAN, codes)
        if not np.array_equal(given.logits, seen.logits[: len(codes)]):
            raise EdgeChaosError("the build without fault hooks gives other logits than the one with them: a defect, please report it")
        seen.instructions, seen.counted = given.instructions, len(codes)

    def _observe(self, device: Device, trial: Trial, plan: ResolvedPlan, codes: NDArray[Any]) -> _Observed:
        """All images under the trial's resolved plan. Images on which the device fails are found by halving."""
        images = self._setup.images
        outputs = len(self._graph.head(images.head).classes)
        seen = _Observed(np.zeros((len(codes), outputs), np.int32), np.zeros(len(codes), np.uint16), {}, {}, 0)
        device.inject(plan)
        spans = [(0, len(codes))]
        while spans:
            start, end = spans.pop()
            try:
                before = _instructions(device)
                samples = np.arange(start, end, dtype=np.uint32)
                given = device.infer(codes[start:end], seed=trial.seed, samples=samples, head=images.head, parameters=images.parameters)
                answer = checked(given, end - start, outputs, trial.device)
                after = _instructions(device)
            except DeviceError as error:
                if trial.clean or error.outcome not in NO_ANSWER:
                    raise
                device.reset()
                device.inject(plan)
                if end - start == 1:
                    seen.failed[start] = error.outcome
                else:
                    middle = (start + end) // 2
                    spans += [(middle, end), (start, middle)]
                continue
            seen.logits[start:end], seen.classes[start:end] = answer.logits, answer.labels
            for name, count in after.items():
                seen.instructions[name] = seen.instructions.get(name, 0) + count - before.get(name, 0)
            seen.counted += end - start if after else 0
        return seen


def _plan(graph: IntegerGraph, trial: Trial) -> ResolvedPlan:
    return CLEAN if trial.clean else resolve(graph, trial.plan)


def _observed(one: Replay) -> _Observed:
    given = one.inference
    return _Observed(given.logits, given.labels, {}, dict(one.instructions), len(given.labels), one.inferred)


def _instructions(device: Device) -> Mapping[str, int]:
    return device.instructions() if isinstance(device, Counting) else device.counters().instructions


def _describe(error: BaseException) -> str:
    return str(error) if isinstance(error, EdgeChaosError) else f"{type(error).__name__}: {error}"


def _defect(spec: str) -> Fatal:
    return Fatal(f"{spec}: a defect of EdgeChaos or of a plug-in:\n{traceback.format_exc()}")


def pack_baseline(logits: NDArray[np.int32], classes: NDArray[np.uint16]) -> bytes:
    """A clean run's answers, compressed: logits int32 and classes uint16, little-endian."""
    return zlib.compress(logits.astype("<i4").tobytes() + classes.astype("<u2").tobytes(), 1)


def unpack_baseline(data: bytes, images: int) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
    """The reverse of `pack_baseline`: logits (images, outputs), classes (images,)."""
    raw = zlib.decompress(data)
    split = len(raw) - 2 * images
    return np.frombuffer(raw[:split], "<i4").reshape(images, -1), np.frombuffer(raw[split:], "<u2")
