"""How long a battery lasts at a duty cycle: inferences of known energy, and a board that sleeps between them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgechaos.devices.meters.contract import MeterError
from edgechaos.firmware_gen.board import load_board
from edgechaos.hil.energy.model import EnergyEstimate
from edgechaos.support.errors import ConfigError

YEAR_S = 365.25 * 86400


@dataclass(frozen=True, slots=True)
class BatteryLife:
    """Seconds, with the band of the modelled joules: the shortest life at their high edge. mode, source: of the sleep power."""

    low_s: float
    usual_s: float
    high_s: float
    per_hour: float
    sleep_w: float
    mode: str
    source: str


def battery_life(capacity_ah: float, voltage_v: float, energy: EnergyEstimate, per_hour: float) -> BatteryLife:
    """Of modelled inferences on a board that states what it draws asleep; self-discharge, waking and other parts are left out.

    Raises ConfigError for a board that states no sleep power, and for more inferences than an hour holds.
    """
    sleep = load_board(energy.board).sleep
    if sleep is None:
        raise ConfigError(f"board '{energy.board}' states no power asleep; add [sleep] to its file, or choose stm32l4r5", "board")
    if per_hour * energy.latency_s().usual > 3600:
        raise ConfigError(
            f"{per_hour:g} inferences of {energy.latency_s().usual:.3g} s take longer than an hour; ask for fewer", "per_hour"
        )
    sleep_w = sleep.nanowatts * 1e-9
    low, usual, high = (
        battery_life_s(capacity_ah, voltage_v, energy_j=joules, per_hour=per_hour, idle_w=sleep_w)
        for joules in (energy.high_j, energy.energy_j, energy.low_j)
    )
    return BatteryLife(low, usual, high, per_hour, sleep_w, sleep.mode, sleep.source)


def battery_life_s(
    capacity_ah: float, voltage_v: float, *, energy_j: float, per_hour: float, idle_w: float, self_discharge_per_year: float = 0.0
) -> float:
    """Seconds that a battery lasts at a duty cycle: capacity * voltage / (idle power + self-discharge + energy above idle * rate).

    energy_j: of one inference, above idle. per_hour: inferences. Voltage and capacity count as constant, whatever temperature and pulses.
    """
    stored_j = capacity_ah * 3600 * voltage_v
    if stored_j <= 0 or energy_j < 0 or per_hour < 0 or idle_w < 0 or not 0 <= self_discharge_per_year < 1:
        raise MeterError("a battery has capacity and voltage above 0, a load none below 0, and a self-discharge per year from 0 to below 1")
    lost_w = self_discharge_per_year * stored_j / YEAR_S
    load_w = idle_w + lost_w + energy_j * per_hour / 3600
    return stored_j / load_w if load_w > 0 else math.inf
