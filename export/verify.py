"""Verify: every backend against the NumPy reference, on real inputs, clean and under faults; one differing integer fails it.

A backend is a name and a callable from a Case to an answer. The backends of this package run ONNX, or a device (host library,
emulator, board) that the caller opened, which injects `case.plan` instead of evaluating `case.faulty`.
Source: docs/semantics.md, "Exactness".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgechaos import reference
from edgechaos.export.engines import EngineModel
from edgechaos.faults.injections import CLEAN, ResolvedPlan
from edgechaos.faults.plan import FaultPlan, apply, resolve
from edgechaos.graph.artifact import content_hash
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.support.errors import EdgeChaosError, ShapeError, VerificationError
from edgechaos.support.limits import Count
from edgechaos.support.shown import html_table


class Answer(Protocol):
    """What a backend returns: logits (batch, outputs) int32 and labels (batch,) uint16; `Result` and `Inference` are such."""

    @property
    def logits(self) -> NDArray[np.int32]:
        """(batch, outputs) int32."""

    @property
    def labels(self) -> NDArray[np.uint16]:
        """(batch,) uint16."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One plan on one set of inputs. `graph` is clean, `faulty` is `apply(graph, plan)`; parameters as for `reference.run`."""

    graph: IntegerGraph
    faulty: IntegerGraph
    plan: ResolvedPlan
    codes: NDArray[Any]
    seed: int
    samples: NDArray[np.uint32]
    head: str
    keep: tuple[str, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)


Backend = Callable[[Case], Answer]


class Injectable(Protocol):
    """What is needed of a device here: the part of `edgechaos.devices.contract.Device`, which stands right of this package."""

    def inject(self, plan: ResolvedPlan) -> None:
        """Replace the faults that hold from now on."""

    def infer(self, codes: NDArray[Any], *, seed: int, samples: NDArray[np.uint32], head: str, parameters: Mapping[str, int]) -> Answer:
        """Logits and labels of a batch."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where a backend first differs from the reference."""

    item: int
    tensor: str
    index: tuple[int, ...]
    expected: int
    got: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One backend under one plan: how many items and integers were compared, how many integers differ, the first of them."""

    backend: str
    plan: str
    plan_id: str
    items: Count
    integers: Count
    mismatches: Count
    first: Mismatch | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Verification:
    """All comparisons of one model."""

    model: str
    model_hash: str
    head: str
    seed: int
    comparisons: tuple[Comparison, ...]

    def __repr__(self) -> str:
        wrong = sum(c.mismatches for c in self.comparisons)
        return f"<Verification of {self.model!r}: {wrong:,} of {self.integers:,} integers differ, {len(self.comparisons)} comparisons>"

    def _repr_html_(self) -> str:
        rows = [(c.backend, c.plan, f"{c.mismatches:,} of {c.integers:,}") for c in self.comparisons]
        return html_table(repr(self)[1:-1], rows, ("backend", "plan", "integers that differ"))

    @property
    def passed(self) -> bool:
        """True where something was compared and no integer differs."""
        return bool(self.comparisons) and all(c.mismatches == 0 and c.integers > 0 for c in self.comparisons)

    @property
    def integers(self) -> int:
        """Integers compared, over all backends and plans."""
        return sum(c.integers for c in self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """For reports: the fields, `passed` and `integers`."""
        return {"passed": self.passed, "integers": self.integers, **asdict(self)}

    def require(self) -> Verification:
        """Returns self. Raises VerificationError, naming the first difference, where it did not pass."""
        bad = next((c for c in self.comparisons if c.first is not None), None)
        if bad is not None and (first := bad.first) is not None:
            raise VerificationError(
                f"'{self.model}' on {bad.backend} under plan '{bad.plan}': {bad.mismatches:,} of {bad.integers:,} integers differ; the "
                f"first is item {first.item}, {first.tensor}{list(first.index)}: {first.got}, where the reference has {first.expected}"
            )
        if not self.passed:
            raise VerificationError(f"'{self.model}': nothing was compared; give at least one backend, one plan and one item")
        return self


def engine_backend(engine: str) -> Backend:
    """A backend that exports the faulty graph to ONNX and runs it in one of `edgechaos.export.engines.ENGINES`."""

    def run(case: Case) -> Answer:
        model = EngineModel(case.faulty, engine, case.head, case.keep)
        return model.run(case.codes, seed=case.seed, samples=case.samples, parameters=case.parameters)

    return run


def device_backend(device: Injectable) -> Backend:
    """A backend that injects the plan into an open device and runs the batch there."""

    def run(case: Case) -> Answer:
        device.inject(case.plan)
        return device.infer(case.codes, seed=case.seed, samples=case.samples, head=case.head, parameters=case.parameters)

    return run


def verify(
    graph: IntegerGraph,
    codes: NDArray[Any],
    backends: Mapping[str, Backend],
    plans: Sequence[tuple[str, FaultPlan]] = (("clean", FaultPlan()),),
    *,
    seed: int = 0,
    samples: NDArray[np.uint32] | None = None,
    head: str | None = None,
    parameters: Mapping[str, int] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Verification:
    """Compare every backend with the reference under every plan; codes (batch, *input shape).

    progress: called with (comparisons done, comparisons in all, what is next). Compared are logits, labels and, where a
    backend returns them, the tensors that enter the readout. Raises FaultError for a plan that the graph cannot carry;
    what a backend raises passes through.
    """
    spec = graph.head(head)
    ids = reference.check_inputs(graph, spec, codes, samples, seed)
    settings = reference.check_parameters(graph, parameters)
    keep = tuple(name for name in (reference.readout_input(graph, spec),) if name != spec.input)
    comparisons: list[Comparison] = []
    total = len(plans) * len(backends)
    for plan_name, plan in plans:
        resolved = resolve(graph, plan) if plan.faults else CLEAN
        faulty = apply(graph, resolved)
        case = Case(graph, faulty, resolved, codes, seed, ids, spec.name, keep, settings)
        expected = _by_name(reference.run(faulty, codes, seed=seed, samples=ids, head=spec.name, keep=keep, parameters=settings))
        for backend_name, backend in backends.items():
            if progress is not None:
                progress(len(comparisons), total, f"{backend_name}: {plan_name}")
            comparisons.append(_compare(backend_name, plan_name, plan.id, expected, _by_name(backend(case))))
    if progress is not None:
        progress(total, total, "done")
    return Verification(graph.name, content_hash(graph), spec.name, seed, tuple(comparisons))


def combine(first: Verification, *others: Verification) -> Verification:
    """One verification of several runs on the same model and seed: all images clean, some under faults, head after head."""
    runs = (first, *others)
    if len({(r.model_hash, r.seed) for r in runs}) != 1:
        raise EdgeChaosError("verifications of different models or seeds cannot be combined")
    heads = ", ".join(dict.fromkeys(r.head for r in runs))
    return Verification(first.model, first.model_hash, heads, first.seed, tuple(c for r in runs for c in r.comparisons))


def _by_name(answer: Answer) -> dict[str, NDArray[Any]]:
    tensors = dict(answer.tensors) if isinstance(answer, reference.Result) else {}
    return {**tensors, "logits": answer.logits, "labels": answer.labels}


def _compare(backend: str, plan: str, plan_id: str, expected: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]]) -> Comparison:
    """Tensors in order of execution, so that the first mismatch is the one nearest to the cause in the first wrong item."""
    integers = mismatches = 0
    firsts: list[tuple[int, int, Mismatch]] = []
    for order, (name, value) in enumerate(got.items()):
        truth = expected[name]
        if value.shape != truth.shape or value.dtype != truth.dtype:
            raise ShapeError(f"{backend} returned {name} as {value.dtype} {value.shape}, the reference {truth.dtype} {truth.shape}")
        wrong = np.argwhere(value != truth)
        integers, mismatches = integers + value.size, mismatches + len(wrong)
        if len(wrong):
            site = tuple(int(i) for i in wrong[0])
            firsts.append((site[0], order, Mismatch(site[0], name, site[1:], int(truth[site]), int(value[site]))))
    first = min(firsts, key=lambda f: f[:2])[2] if firsts else None
    return Comparison(backend, plan, plan_id, len(expected["labels"]), integers, mismatches, first)
