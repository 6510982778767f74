"""Spiking neurons with intermittent spike loss."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgechaos.arithmetic import random_bits
from edgechaos.arithmetic.random_bits import FAIL_ONE, binomial_table
from edgechaos.arithmetic.rounding import rounded_shift, saturate16
from edgechaos.graph.drawing import Drawing
from edgechaos.graph.node import Array, Draws, Graph, Interval, Node, constant_field
from edgechaos.graph.rules import ACCUMULATOR, GAUSSIAN_MAX, MAX_TICKS, check_mask, need, require
from edgechaos.graph.tensors import Constant, Slot
from edgechaos.support.errors import FaultError

Q15 = 32768
TickMode = Literal["parallel", "stateful"]
Sampling = Literal["ticks", "binomial", "expected"]


def expected_gain(ticks: int, fail_q: int) -> int:
    """count_q8 = (ticks * (65536 - fail_q) + 128) >> 8: the mean delivered spikes of a neuron that fires, times 256."""
    return (ticks * (FAIL_ONE - fail_q) + 128) >> 8


@dataclass(slots=True)
class ChaosState:
    """Of a stateful layer between ticks, both (batch, neurons) int32: membrane within int16, refractory 0..32768."""

    membrane: NDArray[np.int32]
    refractory: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosLayer(Drawing):
    """`ticks` ticks of n spiking neurons with intermittent spike loss (order of operations: docs/semantics.md).

    parallel: every tick starts from zero state, spike iff acc + noise > threshold; input int32.
    stateful: membrane int16 and refractoriness uint16 carry over; input int16.
    The input may have ticks (one drive per tick) or not (the same drive at every tick).
    emit: "spikes" writes (ticks, n) int8 0/1, "count" writes (n,) int8, the spikes delivered over all ticks.
    sampling: "ticks" is the definition. "binomial" draws each count at once. "expected" writes 0/1 (would spike), and
    the readout's gain holds the mean count times 256, `expected_gain`.
    threshold: (n,) int32. sigma: (n,) int32 noise multipliers, noise = (G * sigma + 2^(sigma_shift-1)) >> sigma_shift.
    Set by faults alone: dead, stuck, (n,) int8 0/1 masks of permanently dead and stuck-at-1 neurons; of a stateful layer, before ticks
    state_from .. state_from + state_ticks - 1, the membrane (state_of 0) or the refractoriness (1) as 16 bits becomes
    (it & ~state_clear) ^ state_flip, (n,) uint16 each; a refractoriness beyond 32768 is 32768.
    """

    keeps_units: ClassVar[bool] = True
    unit_kind: ClassVar[Literal["spiking"]] = "spiking"

    set_by_faults: ClassVar[tuple[str, ...]] = ("dead", "stuck")

    mode: TickMode = "parallel"
    ticks: int = 1
    threshold: str = constant_field()
    sigma: str | None = constant_field(None)
    sigma_shift: int = 0
    decay_q15: int = 0
    refractory_decay_q15: int = 0
    fail_q: int = 0
    fail_stream: int = 0
    noise_stream: int = 1
    sampling: Sampling = "ticks"
    emit: Literal["spikes", "count"] = "count"
    dead: str | None = constant_field(None)
    stuck: str | None = constant_field(None)
    state_clear: str | None = constant_field(None)
    state_flip: str | None = constant_field(None)
    state_from: int = 0
    state_ticks: int = 0
    state_of: int = 0

    def readout_gain(self) -> int:
        """The mean count times 256 where the layer is sampled as `expected`."""
        return expected_gain(self.ticks, self.fail_q) if self.sampling == "expected" else 1

    def steps(self, graph: Graph) -> int:
        """Its own ticks: a drive without ticks acts at each."""
        return self.ticks

    def state_bytes(self, graph: Graph) -> int:
        """Of stateful ticks an int16 membrane and a uint16 refractoriness per neuron."""
        return 4 * graph.tensors[self.output].shape[0] if self.mode == "stateful" else 0

    def largest_gain(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """At the lowest loss."""
        return expected_gain(self.ticks, self.lowest(graph, bounds, self.slot(graph, "fail_q"))) if self.sampling == "expected" else 1

    def room(self, graph: Graph, bounds: Mapping[str, Interval]) -> int:
        """What the noise leaves."""
        return ACCUMULATOR - ((self.noise_bound(graph) >> self.sigma_shift) + 1 if self.sigma is not None else 0)

    def lowest(self, graph: Graph, bounds: Mapping[str, Interval], slot: Slot) -> int:
        """Of an `expected` layer's loss: the first with which no readout of it overflows, whose gain falls with the loss."""
        if slot.name != "fail_q" or self.sampling != "expected":
            return slot.low
        room = min((reader.gain_room(graph, bounds) for reader in graph.readers(self.output)), default=ACCUMULATOR)
        return bisect_left(range(slot.high), True, key=lambda fail_q: expected_gain(self.ticks, fail_q) <= room)

    def slots(self, graph: Graph) -> tuple[Slot, ...]:
        """Masks, loss, thresholds; the decays and the state of stateful ticks; the generator; and the table that follows the loss, which
        devices must hold."""
        n = graph.tensors[self.input].shape[0]
        no_stuck = f"sampling '{self.sampling}' cannot carry stuck-at-1 neurons; use sampling 'ticks'"
        slots = [
            Slot("dead", "bool", n),
            Slot("stuck", "bool", n, refused=no_stuck if self.sampling != "ticks" else None, excludes="dead"),
            Slot("fail_q", "uint32", 1, 0, FAIL_ONE),
            Slot("threshold", "int32", n, -(2**31), 2**31 - 1),
        ]
        if self.mode == "stateful":
            slots += [Slot(name, "uint16", 1, 0, 1 << 15) for name in ("decay_q15", "refractory_decay_q15")]
        if self.sampling == "binomial":
            slots.append(Slot("table", "uint32", self.ticks, 0, 1 << 31))
        if self.mode == "stateful":
            slots += [Slot(name, "uint16", n, 0, 0xFFFF, added=1) for name in ("state_clear", "state_flip")]
            limits = {"state_from": MAX_TICKS, "state_ticks": MAX_TICKS, "state_of": 1}
            slots += [Slot(name, "uint8", 1, 0, high, added=1) for name, high in limits.items()]
        return (*slots, *self.generator_slots())

    def slot_value(self, graph: Graph, name: str) -> NDArray[Any]:
        """As of every node; `table` is the cumulative distribution of the counts, (ticks,)."""
        if name == "table" and self.sampling == "binomial":
            return binomial_table(self.ticks, self.fail_q)
        return super(ChaosLayer, self).slot_value(graph, name)  # a class with slots has no bare super()

    def with_slot(self, graph: Graph, name: str, values: ArrayLike) -> tuple[Node, dict[str, Constant]]:
        """As of every node; `table` follows fail_q and cannot be set."""
        if name == "table":
            raise FaultError(f"node '{self.name}': its table follows from fail_q; set that")
        return super(ChaosLayer, self).with_slot(graph, name, values)

    def streams(self) -> tuple[int, ...]:
        """The losses', and the noise's where there is noise."""
        return (self.fail_stream,) if self.sigma is None else (self.fail_stream, self.noise_stream)

    def draws(self) -> bool:
        """Where spikes may be lost one by one, or there is noise."""
        return self.sampling != "expected" and (self.fail_q > 0 or self.sigma is not None)

    def noise_bound(self, graph: Graph) -> int:
        """The largest |G * sigma|; 0 without noise."""
        return int(graph.value(self.sigma).max(initial=0)) * GAUSSIAN_MAX

    def check(self, graph: Graph) -> None:
        x, y = self.io(graph)
        wanted = {"parallel": "int32", "stateful": "int16"}.get(self.mode)
        require(wanted is not None, self, f"unknown tick mode {self.mode!r}; use 'parallel' or 'stateful'")
        require(x.dtype == wanted and len(x.shape) == 1, self, f"{self.mode} ticks take an {wanted} vector, not {x.dtype} {x.shape}")
        require(1 <= self.ticks <= MAX_TICKS, self, f"ticks {self.ticks} is outside 1..{MAX_TICKS}")
        require(x.ticks in (0, self.ticks), self, f"input has {x.ticks} ticks, the layer {self.ticks}")
        require(self.emit in ("spikes", "count"), self, f"unknown output {self.emit!r}; use 'spikes' or 'count'")
        ticks_out = self.ticks if self.emit == "spikes" else 0
        require((y.dtype, y.shape, y.ticks) == ("int8", x.shape, ticks_out), self, f"output must be int8 {x.shape} with {ticks_out} ticks")
        for what in ("threshold", "sigma"):
            name = getattr(self, what)
            if name is not None:
                array = graph.value(name)
                require(array.dtype == np.int32 and array.shape == x.shape, self, f"{what} must be int32 {x.shape}")
        check_mask(graph, self, "dead", self.dead, x.shape)
        check_mask(graph, self, "stuck", self.stuck, x.shape)
        if self.dead is not None and self.stuck is not None:
            both = graph.value(self.dead) & graph.value(self.stuck)
            require(not both.any(), self, f"neuron {int(both.argmax())} is both dead and stuck at 1")
        require(0 <= self.fail_q <= FAIL_ONE, self, f"fail_q {self.fail_q} is outside 0..{FAIL_ONE}")
        require(0 <= self.decay_q15 <= Q15 and 0 <= self.refractory_decay_q15 <= Q15, self, "decays are outside 0..32768")
        streams = (self.fail_stream, self.noise_stream)
        require(all(0 <= s < 2**16 for s in streams) and streams[0] != streams[1], self, "stream ids must differ and lie in 0..65535")
        if self.sigma is not None:
            sigma = graph.value(self.sigma)
            require(
                1 <= self.sigma_shift <= 30 and bool(((sigma >= 0) & (sigma < 2**15)).all()),
                self,
                "sigma must be 0..32767 with a shift in 1..30",
            )
        self.check_generator()
        self._check_state(graph, x.shape)
        if self.sampling != "ticks":
            self._check_sampling(graph)

    def _check_state(self, graph: Graph, shape: tuple[int, ...]) -> None:
        for name in ("state_clear", "state_flip"):
            if getattr(self, name) is not None:
                bits = graph.value(getattr(self, name))
                require(bits.dtype == np.uint16 and bits.shape == shape, self, f"{name} must be uint16 {shape}")
        limits = (("state_from", MAX_TICKS), ("state_ticks", MAX_TICKS), ("state_of", 1))
        require(all(0 <= getattr(self, name) <= high for name, high in limits), self, "the ticks of a faulty state are outside 0..127")
        changed = (self.state_clear, self.state_flip, self.state_from, self.state_ticks, self.state_of) != (None, None, 0, 0, 0)
        require(self.mode == "stateful" or not changed, self, "parallel ticks keep no state that a fault could change")

    def _check_sampling(self, graph: Graph) -> None:
        known = self.sampling in ("binomial", "expected")
        require(known, self, f"unknown sampling {self.sampling!r}; use 'ticks', 'binomial' or 'expected'")
        last = self.emit == "count" and all(n.is_readout for n in graph.readers(self.output))
        rule = f"sampling '{self.sampling}' is allowed only for"
        require(last, self, f"{rule} the last ChaosLayer; use sampling 'ticks'")
        require(
            self.mode == "parallel" and graph.tensors[self.input].ticks == 0,
            self,
            f"{rule} parallel ticks with one drive; use sampling 'ticks'",
        )
        require(self.sigma is None, self, f"{rule} layers whose noise is declared dropped (sigma absent); use sampling 'ticks'")
        require(self.stuck is None, self, f"{rule} plans without stuck-at-1 neurons; use sampling 'ticks'")

    def bound(self, graph: Graph, bounds: Mapping[str, Interval]) -> Interval:
        """Spikes or counts; the drive is proved. A product of noise is below 2^30 by the limits of sigma and of the table."""
        noise = self.noise_bound(graph)
        noise_max = ((noise + (1 << self.sigma_shift >> 1)) >> self.sigma_shift) if self.sigma else 0
        need(self, max(map(abs, bounds[self.input])) + noise_max, ACCUMULATOR, "drive plus noise")
        return 0, 1 if self.emit == "spikes" or self.sampling == "expected" else self.ticks

    def evaluate(self, graph: Graph, tensors: Mapping[str, Array], draws: Draws) -> Array:
        """int8 spikes (batch, ticks, n) or counts (batch, n)."""
        x = tensors[self.input]
        if self.sampling != "ticks":
            return self._sampled(graph, x, draws)
        drive = x if x.ndim == 3 else x[:, None, :]
        word = self.drawn(draws, self.fail_stream, self.ticks, x.shape[-1])
        lost = random_bits.lost(word, self.fail_q)
        noise = self._noise(graph, draws)
        if self.mode == "parallel":
            spikes = self.deliver(graph, drive + noise > graph.value(self.threshold), lost)
        else:
            spikes = self._stateful(graph, np.broadcast_to(drive, lost.shape), np.broadcast_to(noise, lost.shape), lost)
        codes = spikes.astype(np.int8)
        return codes if self.emit == "spikes" else codes.sum(axis=1, dtype=np.int8)

    def _noise(self, graph: Graph, draws: Draws) -> NDArray[np.int32] | np.int32:
        if self.sigma is None:
            return np.int32(0)
        sigma = graph.value(self.sigma)
        word = self.drawn(draws, self.noise_stream, self.ticks, len(sigma))
        return rounded_shift(random_bits.gaussian(word).astype(np.int32) * sigma, self.sigma_shift)

    def deliver(self, graph: Graph, fired: NDArray[np.bool_], lost: NDArray[np.bool_] | bool) -> NDArray[np.bool_]:
        """Delivered spikes: fired and neither lost nor dead, or stuck at 1. Shapes (..., neurons)."""
        spikes = fired & ~np.asarray(lost)
        if self.dead is not None:
            spikes &= graph.value(self.dead) == 0
        if self.stuck is not None:
            spikes |= graph.value(self.stuck) == 1
        return spikes

    def tick(self, graph: Graph, state: ChaosState, drive: NDArray[np.int32], lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Advance one stateful layer by one tick; every product is within int32.

            m <- sat16(m + drive);  m <- (m * (2^15 - r) + 2^14) >> 15;  s = m > threshold, delivered
            r <- min(2^15, ((r * refractory_decay + 2^14) >> 15) + 2^15 * s);  m <- (m * (2^15 - decay) + 2^14) >> 15

        drive: noise included; all arrays (batch, neurons). Returns the delivered spikes; `state` is updated in place.
        """
        membrane = rounded_shift(saturate16(state.membrane + drive) * (Q15 - state.refractory), 15)
        spikes = self.deliver(graph, membrane > graph.value(self.threshold), lost)
        refilled = rounded_shift(state.refractory * np.int32(self.refractory_decay_q15), 15) + np.int32(Q15) * spikes
        state.refractory = np.minimum(np.int32(Q15), refilled)
        state.membrane = rounded_shift(membrane * np.int32(Q15 - self.decay_q15), 15)
        return spikes

    def _stateful(self, graph: Graph, drive: NDArray[Any], noise: NDArray[Any], lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
        batch, ticks, neurons = lost.shape
        state = ChaosState(np.zeros((batch, neurons), np.int32), np.zeros((batch, neurons), np.int32))
        spikes = []
        for t in range(ticks):
            if 0 <= t - self.state_from < self.state_ticks:
                self._break(graph, state)
            spikes.append(self.tick(graph, state, drive[:, t] + noise[:, t], lost[:, t]))
        return np.stack(spikes, axis=1)

    def _break(self, graph: Graph, state: ChaosState) -> None:
        """The membrane or the refractoriness under state_clear and state_flip, as 16 bits."""
        clear, flip = (self.slot_value(graph, name) for name in ("state_clear", "state_flip"))
        if self.state_of:
            state.refractory = np.minimum(Q15, ((state.refractory.astype(np.uint16) & ~clear) ^ flip).astype(np.int32))
        else:
            state.membrane = ((state.membrane.astype(np.uint16) & ~clear) ^ flip).astype(np.int16).astype(np.int32)

    def _sampled(self, graph: Graph, x: NDArray[Any], draws: Draws) -> NDArray[Any]:
        fires = self.deliver(graph, x > graph.value(self.threshold), False)
        if self.sampling == "expected":
            return fires.astype(np.int8)
        word = self.drawn(draws, self.fail_stream, 1, x.shape[-1]).squeeze(1)
        table = random_bits.binomial_table(self.ticks, self.fail_q)
        return (np.searchsorted(table, word >> np.uint32(1), side="right") * fires).astype(np.int8)
