"""`edgechaos run`: test items through a device, clean or under faults, with accuracy, speed, instructions and joules."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import items_for, parameters_for
from edgechaos.cli.fault_option import fault_option, parse_faults
from edgechaos.cli.file_kinds import BOARD
from edgechaos.cli.show import print_json, print_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgechaos.devices.contract import Device
    from edgechaos.firmware_gen.core import Cycles

DEFAULT_ENERGY_BOARD = "stm32l4r5"


@click.command("run")
@option.model
@option.head
@option.data
@option.device
@click.option("--items", type=click.IntRange(1), help="Test items to run; by default all.")
@option.seed
@click.option(
    "--board",
    type=BOARD,
    help=f"Whose published energy per cycle and clock turn counts into joules and time.  [default: {DEFAULT_ENERGY_BOARD}]",
)
@click.option("--battery-mah", type=click.FloatRange(0, min_open=True), help="Say how long a battery of that capacity lasts, in mAh.")
@click.option("--battery-v", type=click.FloatRange(0, min_open=True), default=3.0, show_default=True, help="Its voltage, in V.")
@click.option(
    "--per-hour", type=click.FloatRange(0), default=60.0, show_default=True, help="Inferences per hour; the board sleeps between."
)
@option.temperature
@fault_option
@option.json
@click.pass_context
def command(
    context: click.Context,
    model: Path,
    head: str | None,
    data_name: str | None,
    spec: str,
    items: int | None,
    seed: int,
    board: str | None,
    battery_mah: float | None,
    battery_v: float,
    per_hour: float,
    temperature: float | None,
    faults: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run test items on a device, clean or under faults.

    The interval of the accuracy is Wilson's, over items, for this one seed and mask.

    \b
    Example: edgechaos run pixels.ecm --device unicorn --items 100 --fault omission=0.5
    """
    from edgechaos.devices.contract import Product
    from edgechaos.devices.registry import check_spec, open_device
    from edgechaos.faults.plan import apply, resolve
    from edgechaos.graph import artifact
    from edgechaos.hil.energy.battery import YEAR_S, battery_life
    from edgechaos.hil.energy.model import board_energy, energy_per_inference
    from edgechaos.support.statistics import proportion

    check_spec(spec)
    energy_board = board_energy(board or DEFAULT_ENERGY_BOARD)
    graph = artifact.load(model)
    plan, parameters = parse_faults(faults), parameters_for(graph, temperature)
    option.refuse_idle_seed(context, apply(graph, plan).path(head))
    codes, labels = items_for(graph, data_name, items, head=head)
    count = len(codes)
    opened = open_device(spec, graph)
    if not faults and isinstance(opened, Product):  # nothing is injected: run what would be shipped
        opened = opened.product() or opened
    with opened as device:
        if board is not None or battery_mah is not None:
            _require_counts("board" if board is not None else "battery-mah", device, spec, codes, head)
        device.inject(resolve(graph, plan))
        start = time.perf_counter()
        result = device.infer(codes, seed=seed, head=head, parameters=parameters)
        elapsed_s = time.perf_counter() - start
        counters = device.counters()
    accuracy = proportion(int((result.labels == labels).sum()), count)
    document: dict[str, Any] = {
        "device": spec,
        "model_hash": artifact.content_hash(graph),
        "head": graph.head(head).name,
        "faults": plan.to_json(),
        "temperature": temperature,
        "items": count,
        "accuracy": {"value": accuracy.value, "low": accuracy.low, "high": accuracy.high, "method": accuracy.method},
        "items_per_s": count / elapsed_s,
    }
    rows = [
        ("accuracy", f"{accuracy.value:.2%} [{accuracy.low:.2%}, {accuracy.high:.2%}] on {count:,} items, measured"),
        ("speed", f"{count / elapsed_s:,.0f} inferences/s on this machine, measured"),
    ]
    if counters.instructions:
        mix = {name: total / count for name, total in counters.instructions.items()}
        energy = energy_per_inference(mix, energy_board)
        latency = energy.latency_s()
        document |= {
            "instructions_per_inference": mix,
            "energy": energy.to_json(),
            "latency": {
                "value_s": latency.usual,
                "low_s": latency.low,
                "high_s": latency.high,
                "clock_hz": energy.clock_hz,
                "origin": f"{energy.origin}: cycles / clock",
            },
        }
        counted = float(result.instructions.mean()) if result.instructions is not None else 0.0
        rows.append(("instructions", f"{counted:,.0f} per inference, emulated (counted)"))
        low, usual, high = (1e6 * edge_j for edge_j in (energy.low_j, energy.energy_j, energy.high_j))
        rows.append(("energy", f"{usual:.2f} µJ [{low:.2f}, {high:.2f}] per inference on {energy.board}, {energy.origin}"))
        at = f"{energy.board} at {energy.clock_hz / 1e6:g} MHz"
        if battery_mah is not None:
            life = battery_life(battery_mah / 1000, battery_v, energy, per_hour)
            document["battery"] = asdict(life)
            low, usual, high = (edge_s / YEAR_S for edge_s in (life.low_s, life.usual_s, life.high_s))
            asleep = f"asleep {1e9 * life.sleep_w:.3g} nW: {life.mode}"
            rows.append(("battery", f"{usual:.3g} years [{low:.3g}, {high:.3g}] at {per_hour:g} inferences per hour, modelled; {asleep}"))
        rows.append(("latency", f"{_milliseconds(latency)} per inference on {at}, modelled: cycles / clock"))
    if as_json:
        print_json(document)
        return
    from rich.table import Table

    table = Table(
        "",
        "",
        title=f"{graph.name}{f', {graph.head(head).name},' if len(graph.heads) > 1 else ''} on {spec}",
        box=None,
        show_header=False,
        title_justify="left",
    )
    for row in rows:
        table.add_row(*row)
    print_table(table)


def _require_counts(asked: str, device: Device, spec: str, codes: NDArray[Any], head: str | None) -> None:
    """Raises ConfigError where a device counts no instructions: no board's figures mean anything to it."""
    from edgechaos.support.errors import ConfigError

    device.infer(codes[:1], head=head)
    if not device.counters().instructions:
        why = f"means nothing to device '{spec}', which counts no instructions; leave it out, or use unicorn"
        raise ConfigError(f"--{asked} {why}", asked)
    device.reset()


def _milliseconds(seconds: Cycles) -> str:
    from edgechaos.hil.analysis.quantities import milliseconds

    return f"{milliseconds(seconds.usual)} ms [{milliseconds(seconds.low)}, {milliseconds(seconds.high)}]"
