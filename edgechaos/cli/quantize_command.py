"""`edgechaos quantize`: a float checkpoint to an integer artifact, or to a comparison of all weight formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import bits_label, chosen_data, destination, save_named
from edgechaos.cli.file_kinds import CHECKPOINT, DATA
from edgechaos.cli.show import print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from edgechaos.data import Dataset
    from edgechaos.models.base import Model

SHARE = click.FloatRange(0, 1, max_open=True)
CRITERIA = ("reconstruction", "current", "magnitude", "random")


@click.command("quantize")
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--data", "data_name", type=DATA, help="A data set by name, or your own. Default: the one trained on.")
@click.option(
    "--method",
    type=click.Choice(["qat", "ptq"]),
    default="qat",
    show_default=True,
    help="Fine-tune with quantized weights, or calibrate only.",
)
@option.epochs
@option.per_channel
@option.sampling
@option.weight_bits
@click.option("--prune-neurons", type=SHARE, metavar="SHARE", help="Remove these hidden neurons per layer, the least first; 0: the dead.")
@click.option("--prune-by", type=click.Choice(CRITERIA), default="reconstruction", show_default=True, help="Which neurons are the least.")
@click.option("--prune-weights", type=SHARE, metavar="SHARE", help="Set these smallest weights of each matrix to 0.")
@option.fine_tuning_seed
@click.option("--sweep", "swept", is_flag=True, help="Compare 8, 4 and 2 bits, per tensor and per channel; writes JSON, no artifact.")
@option.picture("Of the sweep: accuracy against flash")
@option.json
@option.output("the artifact or the sweep (default: beside the checkpoint, .ecm or .sweep.json)")
@click.pass_context
def command(
    context: click.Context,
    /,
    checkpoint: Path,
    data_name: str | None,
    per_channel: bool,
    weight_bits: int | dict[str, int],
    swept: bool,
    picture: Path | None,
    as_json: bool,
    output: Path | None,
    **options: Any,
) -> None:
    """Turn a checkpoint into an integer artifact.

    \b
    Example: edgechaos quantize pixels.safetensors -o pixels.ecm
    """
    _refuse_mixed(context, swept)
    if swept:
        _sweep(context, checkpoint, data_name, picture, as_json, output, options)
    else:
        _quantize(context, checkpoint, data_name, as_json, output, {"per_channel": per_channel, "weight_bits": weight_bits, **options})


def _refuse_mixed(context: click.Context, swept: bool) -> None:
    """A sweep sets bits and scales itself; only a sweep has a picture. Raises UsageError."""
    reasons = no_fine_tuning(context.params["method"])
    if swept:
        reasons |= dict.fromkeys(("per_channel", "weight_bits"), "cannot be given with --sweep, which compares them all")
    else:
        reasons |= {"picture": "can only be given with --sweep"}
    if context.params["prune_neurons"] is None:
        reasons["prune_by"] = "needs --prune-neurons; weights go by magnitude"
    option.refuse_without_effect(context, reasons)


def no_fine_tuning(method: str) -> dict[str, str]:
    """Why options of fine-tuning have no effect, where there is none."""
    return dict.fromkeys(("epochs", "seed"), "of fine-tuning, which --method ptq does not do") if method == "ptq" else {}


def refuse_sampling(context: click.Context, model: Model) -> None:
    """A network without spikes draws no counts. Raises UsageError."""
    if not model.spiking_layers():
        option.refuse_without_effect(context, {"sampling": "this model has no spiking layers, whose counts could be drawn; leave it out"})


def model_and_data(checkpoint: Path, data_name: str | None) -> tuple[Model, Dataset]:
    """A checkpoint's model, and the data set of that name or else the one that it was trained on.

    Raises ConfigError for a shared cortex, which has several.
    """
    from edgechaos.models import checkpoint as checkpoints
    from edgechaos.support.errors import ConfigError

    model = checkpoints.load(checkpoint)
    if model.family == "shared":
        raise ConfigError(f"{checkpoint}: a shared cortex has an accuracy per task, and one is compared here; quantize it without --sweep")
    text = getattr(model.config, "text", None)
    return model, chosen_data(data_name, model.facts.get("dataset"), str(checkpoint), text, model.config.inputs)


def _sweep(
    context: click.Context,
    checkpoint: Path,
    data_name: str | None,
    picture: Path | None,
    as_json: bool,
    output: Path | None,
    options: dict[str, Any],
) -> None:
    from edgechaos.support import pictures
    from edgechaos.support.files import write_atomic
    from edgechaos.sweeps import bits as sweep

    if picture is not None:
        pictures.picture_format(picture)  # before the work, not after
    model, data = model_and_data(checkpoint, data_name)
    refuse_sampling(context, model)
    with progress_bar("sweep") as bar:
        result = sweep.sweep(model, data, progress=bar, **options)
    document = result.to_json()
    written = [write_atomic(output or checkpoint.with_suffix(".sweep.json"), json.dumps(document, indent=2) + "\n")]
    if picture is not None:
        written.append(sweep.save_picture(result, picture))
    if as_json:
        print_json(document)
        return
    print_table(sweep.rich_table(result))
    say(" ".join(map(str, written)))


def _quantize(
    context: click.Context, checkpoint: Path, data_name: str | None, as_json: bool, output: Path | None, options: dict[str, Any]
) -> None:
    from edgechaos.quantize.pipeline import quantize

    path = destination(output, checkpoint.with_suffix(".ecm"))
    model, data = _model_and_all_data(checkpoint, data_name)
    refuse_sampling(context, model)
    with progress_bar("quantize") as bar:
        graph = quantize(model, data, progress=lambda p: bar(p.done, p.total), **options)
    graph, digest = save_named(graph, path)
    found, bits = graph.metadata["accuracy"], options["weight_bits"]
    if as_json:
        print_json({"artifact": str(path), "model_hash": digest, "weight_bits": bits, "accuracy": found})
        return
    heads = [f"{head} {_accuracy(one, bits)}" for head, one in found.get("heads", {}).items()]
    say(f"{path}: {'; '.join(heads or [_accuracy(found, bits)])}; model {digest[:12]}")


def _model_and_all_data(checkpoint: Path, data_name: str | None) -> tuple[Model, Dataset | dict[str, Dataset]]:
    """As model_and_data; of a shared cortex the data set of every task, by name."""
    from edgechaos.models import checkpoint as checkpoints
    from edgechaos.models.shared import SharedChaosNet
    from edgechaos.support.errors import ConfigError

    model = checkpoints.load(checkpoint)
    if not isinstance(model, SharedChaosNet):
        return model_and_data(checkpoint, data_name)
    if data_name is not None:
        raise ConfigError(f"{checkpoint}: every task of a shared cortex has the data set that it was trained on; leave --data out", "data")
    records, tasks = model.facts.get("datasets", {}), model.config.tasks
    return model, {t.name: chosen_data(None, records.get(t.name), str(checkpoint), t.config.text, t.config.inputs) for t in tasks}


def _accuracy(accuracy: dict[str, float], bits: int | dict[str, int]) -> str:
    before = f"float {accuracy['float']:.2%}, " if "float" in accuracy else ""
    return f"{before}{bits_label(bits)} {accuracy['integer']:.2%} on {accuracy['items']:,} test items"
