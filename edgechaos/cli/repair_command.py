"""`edgechaos repair`: new words for what reads the dead units of a device, sent without reflashing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli.common import SEED, data_option, dataset_for, destination, head_option, json_option, model_argument, output_option
from edgechaos.cli.diagnose_command import PROBES, damaged_device, show
from edgechaos.cli.fault_option import damage_option, parse_faults
from edgechaos.cli.show import note, print_json, say

if TYPE_CHECKING:
    from edgechaos.faults.plan import FaultPlan
    from edgechaos.graph.integer_graph import IntegerGraph
    from edgechaos.hil.repair.mend import Accuracies, Repair

FIT_ITEMS = 20_000


@click.command("repair")
@model_argument
@head_option
@data_option
@click.option("--device", "spec", default="host", show_default=True, help="host, unicorn, serial:/dev/..., or a plug-in's.")
@click.option("--probes", type=click.IntRange(2), default=PROBES, show_default=True, help="Test items that the diagnosis runs.")
@click.option("--fit-items", type=click.IntRange(1), default=FIT_ITEMS, show_default=True, help="Training items to fit on.")
@click.option("--items", type=click.IntRange(2), help="Test items to measure on, before and after; by default all.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Of the random words.")
@damage_option
@click.option("--dry-run", is_flag=True, help="Predict words and accuracies; send nothing, write nothing.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Of all repairs.  [default: beside the output, .jsonl]")
@json_option
@output_option("the mended model (default: beside the model, .repaired.ecm)")
def command(
    model: Path,
    head: str | None,
    data_name: str | None,
    spec: str,
    probes: int,
    fit_items: int,
    items: int | None,
    seed: int,
    faults: tuple[str, ...],
    dry_run: bool,
    log: Path | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Diagnose a device, fit what reads its dead and stuck units, and send the changed words.

    The mended model is an artifact of its own: the device must give its logits bit for bit. Known flipped words (--fault weight_bit_flip)
    are put back. Accuracies before and after are measured on the device, over the same items.

    \b
    Example: edgechaos repair pixels.ecm --device unicorn --items 500 --fault dead=0.5
    """
    from edgechaos.devices.registry import check_spec
    from edgechaos.faults.plan import resolve
    from edgechaos.graph import artifact
    from edgechaos.hil.repair import mend
    from edgechaos.hil.repair.diagnose import diagnose

    check_spec(spec)
    graph = artifact.load(model)
    path = destination(output, model.with_suffix(".repaired.ecm"))
    journal = destination(log, path.with_suffix(".jsonl"))
    damage = parse_faults(faults)
    fit, test, first = _items(graph, data_name, head, seed, fit_items, items, probes)
    device = damaged_device(spec, graph, damage)
    try:
        info = device.open()
        flips = resolve(graph, damage).patch
        found = diagnose(device, info, mend.with_flips(graph, flips), first.codes, head=head, seed=seed)
        if not found.damaged and not flips:
            text = f"{found.confidence}; nothing is dead or stuck"
            _print(as_json, {"device": spec, "changed": False, "diagnosis": found.to_json()}, text)
            return
        repair = mend.plan_repair(graph, found, fit, flips)
        accuracies = mend.predict(repair, test) if dry_run else mend.send(device, info, repair, test)
    finally:
        device.close()
    facts = repair.to_json() | {"accuracy": accuracies.to_json()}
    if not dry_run:
        artifact.save(repair.mended, path)
        mend.record(journal, "patched", info, facts)
    if as_json:
        print_json({"device": spec, "changed": not dry_run, "artifact": None if dry_run else str(path), **facts})
        return
    show(found, f"{graph.name} on {spec}")
    _say(repair, accuracies, damage)
    say(f"{path} {journal}" if not dry_run else "dry run: nothing was sent, nothing was written")


def _items(graph: IntegerGraph, data_name: str | None, head: str | None, seed: int, fit_items: int, items: int | None, probes: int) -> Any:
    """Training items to fit on, test items to measure on, and the probes: the first of these."""
    from edgechaos.cli.common import codes_of
    from edgechaos.hil.repair.refit import Items
    from edgechaos.reference import encode

    data, spec = dataset_for(graph, data_name, head), graph.head(head)
    fit = encode(graph, data.train_items[:fit_items], head), data.train_labels[:fit_items]
    test = (codes_of(graph, data, count, head=head) for count in (items, probes))
    return tuple(Items(codes, labels, spec.name, seed) for codes, labels in (fit, *test))


def _say(repair: Repair, accuracies: Accuracies, damage: FaultPlan) -> None:
    from edgechaos.hil.analysis.quantities import percent

    how = "measured on the device" if accuracies.measured else "predicted by the reference"
    words = ", ".join(f"{count:,} of {node}" for node, count in repair.changed.items())
    say(f"changed words: {words}")
    for name in ("before", "after"):
        e = getattr(accuracies, name)
        say(f"accuracy {name}: {percent(e.value)} % [{percent(e.low)}, {percent(e.high)}] on {e.n:,} items, {how}")
    gain = accuracies.gain
    say(f"gain: {100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], {gain.method}")
    if damage.faults:
        note("the damage was practice: it ends with this command, and so do the words that were sent")


def _print(as_json: bool, document: dict[str, Any], text: str) -> None:
    print_json(document) if as_json else say(text)
