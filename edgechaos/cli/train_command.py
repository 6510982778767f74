"""`edgechaos train`: a data set to a float checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgechaos.cli.common import load_data, output_option, progress_bar


@click.command("train")
@click.option(
    "--data",
    "data_name",
    metavar="NAME|PATH",
    default="mnist5k",
    show_default=True,
    help="digits8x8, mnist5k, mnist, fashion_mnist, emnist_letters, cifar10, ag_news, imdb, or your .npz, .csv or folder of images.",
)
@click.option(
    "--model",
    "kind",
    type=click.Choice(["pixels", "vision", "language", "dlm", "tnn", "mlp", "cnn"]),
    default="pixels",
    show_default=True,
    help="The first three are ChaosNets.",
)
@click.option("--download", is_flag=True, help="Fetch the files into the cache, where EDGECHAOS_DATA is not set.")
@click.option("--hidden", type=click.IntRange(1), multiple=True, help="Neurons of a layer; repeat for more layers.  [default: 64]")
@click.option("--channels", type=click.IntRange(1), multiple=True, help="Of a convolution; repeat (vision, cnn).")
@click.option("--average", is_flag=True, default=None, help="Average over the whole image before the projection (vision).")
@click.option("--embed", type=click.IntRange(1), help="Values into the cortex (vision, language).  [default: 16]")
@click.option("--ticks", type=click.IntRange(1, 127), help="Ticks per inference (ChaosNets).  [default: 10]")
@click.option(
    "--mode", type=click.Choice(["parallel", "stateful"]), help="Ticks from zero state, or one after another.  [default: parallel]"
)
@click.option("--signed", is_flag=True, default=None, help="Keep excitatory and inhibitory rows on their side of 0 (ChaosNets).")
@click.option("--sparsity", type=click.FloatRange(0, 1, min_open=True), help="Share of winners (tnn).  [default: 0.05]")
@click.option("--temperature", type=click.FloatRange(0), help="Of the weights (dlm).  [default: 0.1]")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), help="In training (mlp, cnn).")
@click.option("--noise-std", type=click.FloatRange(0), help="Of membranes (ChaosNets), or of activations in training (mlp, cnn).")
@click.option("--omission", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Share of spikes lost in training, per tick.")
@click.option("--dead", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Largest share of neurons dead in training.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the training items.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="At the start; it falls along half a cosine.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Of weights, order of items and random words."
)
@output_option("the checkpoint", required=True)
def command(
    data_name: str,
    kind: str,
    download: bool,
    omission: float,
    dead: float,
    epochs: int,
    learning_rate: float | None,
    seed: int,
    output: Path,
    **options: Any,
) -> None:
    """Train a ChaosNet or another model.

    Spikes are lost in training as augmentation, and neurons dead where asked. An interrupted run resumes where it stopped.

    \b
    Example: edgechaos train --data mnist5k --hidden 64 --ticks 10 -o pixels.safetensors
    """
    from edgechaos.models.build import build, recipe_for
    from edgechaos.train import Recipe, train

    data = load_data(data_name, download=download)
    given = {key: value for key, value in options.items() if value not in (None, ())}
    if kind != "cnn":
        given.setdefault("hidden", (64,))
    model = build(kind, data, seed=seed, **given)
    rates: dict[str, Any] = recipe_for(kind) | ({} if learning_rate is None else {"learning_rate": learning_rate})
    recipe = Recipe(epochs=epochs, omission=omission, dead=dead, seed=seed, **rates)
    with progress_bar(f"train on {data.name}") as bar:
        train(model, data, recipe, output=output, progress=lambda p: bar(p.done, p.total))
    accuracy = model.facts["accuracy"]
    click.echo(f"{output}: float accuracy {accuracy['float']:.2%} on {accuracy['items']:,} test items")
