"""`edgechaos train`: a data set to a float checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgechaos.cli.common import output_option, progress_bar


@click.command("train")
@click.option(
    "--data",
    "data_name",
    metavar="NAME|FILE.npz",
    default="mnist5k",
    show_default=True,
    help="digits8x8, mnist5k, mnist, or your own arrays.",
)
@click.option("--download", is_flag=True, help="Fetch the files of 'mnist' into the cache, where EDGECHAOS_DATA does not hold them.")
@click.option(
    "--hidden",
    type=click.IntRange(1),
    multiple=True,
    default=(64,),
    show_default=True,
    help="Neurons of a spiking layer; repeat for more layers.",
)
@click.option("--ticks", type=click.IntRange(1, 127), default=10, show_default=True, help="Ticks per inference.")
@click.option(
    "--mode",
    type=click.Choice(["parallel", "stateful"]),
    default="parallel",
    show_default=True,
    help="Ticks from zero state, or one after another.",
)
@click.option("--omission", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Share of spikes lost in training, per tick.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the training items.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=1e-2,
    show_default=True,
    help="At the start; it falls along half a cosine.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of weights, order of items and random words."
)
@output_option("the checkpoint", required=True)
def command(
    data_name: str,
    download: bool,
    hidden: tuple[int, ...],
    ticks: int,
    mode: str,
    omission: float,
    epochs: int,
    learning_rate: float,
    seed: int,
    output: Path,
) -> None:
    """Train a ChaosNet, spike omission as augmentation.

    An interrupted run resumes where it stopped.

    \b
    Example: edgechaos train --data mnist5k --hidden 64 --ticks 10 -o pixels.safetensors
    """
    from edgechaos.data import load
    from edgechaos.train import Recipe, new_model, train

    data = load(data_name, download=download)
    options: dict[str, Any] = {"hidden": hidden, "ticks": ticks, "mode": mode}
    model = new_model(data, seed=seed, **options)
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate, omission=omission, seed=seed)
    with progress_bar(f"train on {data.name}") as bar:
        train(model, data, recipe, output=output, progress=lambda p: bar(p.done, p.total))
    accuracy = model.facts["accuracy"]
    click.echo(f"{output}: float accuracy {accuracy['float']:.2%} on {accuracy['items']:,} test items")
