"""`edgechaos repair`: new words for what reads the dead units of a device, sent without reflashing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import dataset_for, destination
from edgechaos.cli.diagnose_command import PROBES, damaged_device, show
from edgechaos.cli.fault_option import damage_option, parse_faults
from edgechaos.cli.file_kinds import ARTIFACT
from edgechaos.cli.run_command import DEFAULT_ENERGY_BOARD
from edgechaos.cli.show import note, print_json, say

if TYPE_CHECKING:
    from edgechaos.faults.plan import FaultPlan
    from edgechaos.graph.integer_graph import IntegerGraph
    from edgechaos.hil.energy.model import EnergyEstimate
    from edgechaos.hil.repair.mend import Accuracies, Repair

FIT_ITEMS = 20_000
OF_A_NEW_REPAIR = ("head", "data_name", "probes", "fit_items", "items", "seed", "faults", "output")


@click.command("repair")
@option.model
@option.head
@option.data
@option.device
@click.option("--probes", type=click.IntRange(2), default=PROBES, show_default=True, help="Test items that the diagnosis runs.")
@click.option("--fit-items", type=click.IntRange(1), default=FIT_ITEMS, show_default=True, help="Training items to fit on.")
@click.option("--items", type=click.IntRange(2), help="Test items to measure on, before and after; by default all.")
@option.seed
@damage_option
@click.option("--commit", is_flag=True, help="Make them words of the device's model, until it restarts.")
@click.option("--again", type=ARTIFACT, metavar="MENDED", help="Commit a mended model again, to a device that has lost it.")
@click.option("--undo", is_flag=True, help="MODEL is a mended one: give the device back the model that was flashed.")
@click.option("--dry-run", is_flag=True, help="Predict words and accuracies; send nothing, write nothing.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Of all repairs.  [default: beside the output, .jsonl]")
@option.json
@option.output("the mended model (default: beside the model, .repaired.ecm)")
@click.pass_context
def command(
    context: click.Context,
    model: Path,
    head: str | None,
    data_name: str | None,
    spec: str,
    probes: int,
    fit_items: int,
    items: int | None,
    seed: int,
    faults: tuple[str, ...],
    commit: bool,
    again: Path | None,
    undo: bool,
    dry_run: bool,
    log: Path | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Diagnose a device, fit what reads its dead and stuck units, and send the changed words.

    The mended model is an artifact of its own: the device must give its logits bit for bit. Known flipped words (--fault weight_bit_flip)
    are put back. Accuracies before and after are measured on the device, over the same items. Committed words are lost with the device's
    RAM: it is refused until they are sent --again.

    \b
    Example: edgechaos repair pixels.ecm --device unicorn --items 500 --fault dead=0.5
    """
    from edgechaos.devices.registry import check_spec
    from edgechaos.faults.plan import apply, resolve
    from edgechaos.faults.words import with_rows
    from edgechaos.graph import artifact
    from edgechaos.hil.energy.model import board_energy
    from edgechaos.hil.repair import mend
    from edgechaos.hil.repair.diagnose import diagnose

    if undo + dry_run + (again is not None) > 1 or (commit and (undo or again is not None)):
        raise click.UsageError("--undo, --again and --dry-run are given alone, --commit with --dry-run at most")
    if undo or again is not None:
        option.refuse_without_effect(context, dict.fromkeys(OF_A_NEW_REPAIR, "of a new repair, which --again and --undo do not make"))
    check_spec(spec)
    graph = artifact.load(model)
    if undo or again is not None:
        kept = log or (again or model).with_suffix(".jsonl")
        _restate(graph, spec, None if again is None else artifact.load(again), kept, as_json)
        return
    path = destination(output, model.with_suffix(".repaired.ecm"))
    journal = destination(log, path.with_suffix(".jsonl"))
    damage = parse_faults(faults)
    option.refuse_idle_seed(context, apply(graph, damage).path(head))
    fit, test, first = _items(graph, data_name, head, seed, fit_items, items, probes)
    device = damaged_device(spec, graph, damage)
    try:
        info = device.open()
        flips = resolve(graph, damage).patch
        found = diagnose(device, info, with_rows(graph, flips), first.codes, head=head, seed=seed)
        if not found.damaged and not flips:
            text = f"{found.confidence}; nothing is dead or stuck"
            _print(as_json, {"device": spec, "changed": False, "diagnosis": found.to_json()}, text)
            return
        repair = mend.plan_repair(graph, found, fit, flips)
        if dry_run:
            accuracies = mend.predict(repair, test)
        else:
            accuracies = mend.commit(device, repair, test) if commit else mend.send(device, info, repair, test)
    finally:
        device.close()
    energy = accuracies.energy(board_energy(DEFAULT_ENERGY_BOARD))
    facts = repair.to_json() | {"accuracy": accuracies.to_json(), "energy": {name: e.to_json() for name, e in energy.items()}}
    if not dry_run:
        artifact.save(repair.mended, path)
        mend.record(journal, "committed" if commit else "patched", info, facts)
    if as_json:
        print_json({"device": spec, "changed": not dry_run, "artifact": None if dry_run else str(path), **facts})
        return
    show(found, f"{graph.name} on {spec}")
    _say(repair, accuracies, energy, damage)
    say(f"{path} {journal}" if not dry_run else "dry run: nothing was sent, nothing was written")


def _restate(graph: IntegerGraph, spec: str, mended: IntegerGraph | None, journal: Path, as_json: bool) -> None:
    """Commit a mended model to a device that holds the flashed one, or with None revert a device that holds `graph`, a mended one."""
    from edgechaos.devices.contract import Repairable
    from edgechaos.devices.protocol.repairs import KEY
    from edgechaos.devices.registry import open_device
    from edgechaos.graph.artifact import content_hash
    from edgechaos.hil.repair import mend
    from edgechaos.support.errors import ConfigError, VerificationError

    facts = (graph if mended is None else mended).metadata.get(KEY)
    if not isinstance(facts, dict):
        raise ConfigError("this model is no mended one: it does not say which it mends; give what `edgechaos repair` wrote")
    with open_device(spec, graph) as device:
        if not isinstance(device, Repairable):
            raise ConfigError(f"device '{spec}' takes no repair that stays")
        info = device.revert() if mended is None else device.commit(mended)
    wanted = facts.get("of") if mended is None else content_hash(mended)
    if info.model_hash != wanted:
        raise VerificationError(f"device '{spec}' holds model {info.model_hash[:12]} now, not {str(wanted)[:12]}; reset it and look again")
    action = "undone" if mended is None else "committed again"
    mend.record(journal, action, info, {"of": facts.get("of"), "mended": content_hash(graph if mended is None else mended)})
    _print(
        as_json,
        {"device": spec, "action": action, "model_hash": info.model_hash},
        f"{action}: {spec} holds {info.model_hash[:12]}; {journal}",
    )


def _items(graph: IntegerGraph, data_name: str | None, head: str | None, seed: int, fit_items: int, items: int | None, probes: int) -> Any:
    """Training items to fit on, test items to measure on, and the probes: the first of these."""
    from edgechaos.cli.common import codes_of
    from edgechaos.hil.repair.refit import Items
    from edgechaos.reference import encode

    data, spec = dataset_for(graph, data_name, head), graph.head(head)
    fit = encode(graph, data.train_items[:fit_items], head), data.train_labels[:fit_items]
    test = (codes_of(graph, data, count, head=head) for count in (items, probes))
    return tuple(Items(codes, labels, spec.name, seed) for codes, labels in (fit, *test))


def _say(repair: Repair, accuracies: Accuracies, energy: Mapping[str, EnergyEstimate], damage: FaultPlan) -> None:
    from edgechaos.hil.analysis.quantities import percent

    how = "measured on the device" if accuracies.measured else "predicted by the reference"
    words = ", ".join(f"{count:,} of {node}" for node, count in repair.changed.items())
    say(f"changed words: {words}")
    for name in ("before", "after"):
        e = getattr(accuracies, name)
        say(f"accuracy {name}: {percent(e.value)} % [{percent(e.low)}, {percent(e.high)}] on {e.n:,} items, {how}")
    gain = accuracies.gain
    say(f"gain: {100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], {gain.method}")
    for name, e in energy.items():
        low, usual, high = (1e6 * edge_j for edge_j in (e.low_j, e.energy_j, e.high_j))
        say(f"energy {name}: {usual:.2f} µJ [{low:.2f}, {high:.2f}] per inference on {e.board}, {e.origin}")
    if damage.faults:
        note("the damage was practice: it ends with this command, and so do the words that were sent")


def _print(as_json: bool, document: dict[str, Any], text: str) -> None:
    print_json(document) if as_json else say(text)
