"""`edgechaos quantize`: a float checkpoint to an integer artifact."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from edgechaos.cli.common import output_option, progress_bar


def identifier(text: str) -> str:
    """A model's name from a file's: it reaches C, so it is lower case, digits and underscores."""
    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")[:48]
    return name if name[:1].isalpha() else f"model_{name}"


@click.command("quantize")
@click.argument("checkpoint", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--data", "data_name", metavar="NAME|FILE.npz", help="A data set by name, or your own arrays. Default: the one trained on.")
@click.option(
    "--method",
    type=click.Choice(["qat", "ptq"]),
    default="qat",
    show_default=True,
    help="Fine-tune with quantized weights, or calibrate only.",
)
@click.option("--epochs", type=click.IntRange(1), default=5, show_default=True, help="Of fine-tuning (qat).")
@click.option("--per-channel", is_flag=True, help="One weight scale per neuron instead of one per layer.")
@click.option(
    "--sampling",
    type=click.Choice(["ticks", "binomial", "expected"]),
    default="ticks",
    show_default=True,
    help="How the last spiking layer draws its counts.",
)
@click.option("--weight-bits", type=click.Choice(["8", "4", "2"]), default="8", show_default=True, help="Of all weights; 2 is ternary.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of the fine-tuning.")
@output_option("the artifact (default: beside the checkpoint, .ecm)")
def command(
    checkpoint: Path,
    data_name: str | None,
    method: Any,
    epochs: int,
    per_channel: bool,
    sampling: Any,
    weight_bits: str,
    seed: int,
    output: Path | None,
) -> None:
    """Turn a checkpoint into an integer artifact.

    \b
    Example: edgechaos quantize pixels.safetensors -o pixels.ecm
    """
    from edgechaos import artifact
    from edgechaos.data import load
    from edgechaos.errors import DataError
    from edgechaos.models import checkpoint as checkpoints
    from edgechaos.quantize.pipeline import quantize

    model = checkpoints.load(checkpoint)
    name = data_name or model.facts.get("dataset", {}).get("name")
    if name is None:
        raise DataError(f"{checkpoint} does not name its data set; give one with --data NAME or --data FILE.npz")
    data, text = load(name), getattr(model.config, "text", None)
    if text is not None:
        data = data.tokenized(text, model.config.inputs)
    with progress_bar("quantize") as bar:
        graph = quantize(
            model,
            data,
            method=method,
            per_channel=per_channel,
            epochs=epochs,
            sampling=sampling,
            seed=seed,
            weight_bits=int(weight_bits),
            progress=lambda p: bar(p.done, p.total),
        )
    path = output or checkpoint.with_suffix(".ecm")
    graph = replace(graph, name=identifier(path.stem))
    digest = artifact.save(graph, path)
    accuracy = graph.metadata["accuracy"]
    before = f"float {accuracy['float']:.2%}, " if "float" in accuracy else ""
    click.echo(f"{path}: {before}int{weight_bits} {accuracy['integer']:.2%} on {accuracy['items']:,} test items; model {digest[:12]}")
