"""`edgechaos train`: a data set to a float checkpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import load_data
from edgechaos.cli.file_kinds import DATA
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import print_json, print_table, progress_bar, say

TASK = re.compile(r"(?P<task>[a-z0-9_]+)=(?P<front>vision|dense|language):(?P<data>.+)")


@click.command("train")
@click.option(
    "--data",
    "data_name",
    type=DATA,
    default="mnist5k",
    show_default=True,
    help="digits8x8, mnist5k, mnist, fashion_mnist, emnist_letters, cifar10, ag_news, imdb, or your .npz, .csv or folder of images.",
)
@click.option(
    "--model",
    "kind",
    type=click.Choice(["pixels", "vision", "language", "dlm", "tnn", "mlp", "cnn", "shared"]),
    default="pixels",
    show_default=True,
    help="The first three are ChaosNets; shared is several on one cortex.",
)
@click.option("--task", "tasks", multiple=True, metavar="NAME=FRONT:DATA", help="Of a shared cortex, in the order of training; repeat.")
@click.option(
    "--strategy",
    type=click.Choice(["trained", "frozen", "rehearsal"]),
    help="What later tasks do to a shared cortex: train it, leave it, or train it with earlier items.  [default: trained]",
)
@click.option("--share", type=click.FloatRange(0, 1, min_open=True), help="Of earlier training items, for rehearsal.  [default: 0.05]")
@click.option("--download", is_flag=True, help="Fetch the files into the cache, where EDGECHAOS_DATA is not set.")
@click.option("--hidden", type=click.IntRange(1), multiple=True, help="Neurons of a layer; repeat for more layers.  [default: 64]")
@click.option("--residual", is_flag=True, default=None, help="Every hidden layer but the first adds its input (mlp, cnn; one width).")
@click.option("--channels", type=click.IntRange(1), multiple=True, help="Of a convolution; repeat (vision, cnn, shared).")
@click.option("--average", is_flag=True, default=None, help="Average over the whole image before the projection (vision, shared).")
@click.option("--embed", type=click.IntRange(1), help="Values into the cortex (vision, language, shared).  [default: 16]")
@click.option("--ticks", type=click.IntRange(1, 127), help="Ticks per inference (ChaosNets).  [default: 10]")
@click.option(
    "--mode", type=click.Choice(["parallel", "stateful"]), help="Ticks from zero state, or one after another.  [default: parallel]"
)
@click.option("--threshold", type=float, help="Membrane value above which a neuron fires (ChaosNets).  [default: 0.5]")
@click.option("--decay", type=click.FloatRange(0, 1), help="Share of its membrane that a stateful neuron loses per tick.  [default: 0.02]")
@click.option("--refractory-decay", type=click.FloatRange(0, 1), help="Share of its refractoriness that it keeps.  [default: 0.95]")
@click.option(
    "--fail-prob",
    type=click.FloatRange(0, 1),
    help="Share of spikes that the network loses by itself, in training and wherever it is deployed (ChaosNets).  [default: 0]",
)
@click.option("--signed", is_flag=True, default=None, help="Keep excitatory and inhibitory rows on their side of 0 (ChaosNets).")
@click.option("--sparsity", type=click.FloatRange(0, 1, min_open=True), help="Share of winners (tnn).  [default: 0.05]")
@click.option("--temperature", type=click.FloatRange(0), help="Of the weights (dlm).  [default: 0.1]")
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), help="In training (mlp, cnn).")
@click.option("--noise-std", type=click.FloatRange(0), help="Of membranes (ChaosNets), or of activations in training (mlp, cnn).")
@click.option(
    "--omission",
    type=click.FloatRange(0, 1),
    help="Share of spikes lost in training, per tick, or of the values of units.  "
    "[default: --fail-prob; without it 0.5 for ChaosNets, else 0]",
)
@click.option(
    "--omission-draw",
    type=click.Choice(["uniform", "fixed"]),
    help="Whether each training step draws its share from 0 to --omission, or loses just that.  [default: uniform]",
)
@click.option("--dead", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Largest share of units dead in training.")
@click.option("--epochs", type=click.IntRange(1), default=20, show_default=True, help="Passes over the training items.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="At the start; it falls along half a cosine.")
@click.option("--seed", type=option.SEED, default=0, show_default=True, help="Of weights, order of items and random words.")
@option.json
@option.output("the checkpoint", required=True)
@click.pass_context
def command(
    context: click.Context,
    /,
    data_name: str,
    kind: str,
    tasks: tuple[str, ...],
    strategy: str | None,
    share: float | None,
    download: bool,
    omission: float | None,
    omission_draw: str | None,
    dead: float,
    epochs: int,
    learning_rate: float | None,
    seed: int,
    as_json: bool,
    output: Path,
    **options: Any,
) -> None:
    """Train a ChaosNet or another model.

    Spikes are lost in training as augmentation, and units dead where asked. An interrupted run resumes where it stopped.

    \b
    Example: edgechaos train --data mnist5k --hidden 64 --ticks 10 -o pixels.safetensors
    \b
    Several tasks: edgechaos train --model shared --task text=language:ag_news --task digits=vision:mnist -o shared.safetensors
    """
    given = {key: value for key, value in options.items() if value not in (None, ())}
    if kind != "cnn":
        given.setdefault("hidden", (64,))
    settings: dict[str, Any] = {"epochs": epochs, "omission": omission, "dead": dead, "seed": seed}
    settings |= {} if omission_draw is None else {"omission_draw": omission_draw}
    rate = {} if learning_rate is None else {"learning_rate": learning_rate}
    with kept(lambda: _what_is_kept(output, epochs)):
        _refuse_mixed(context, kind, given, tasks)
        from edgechaos.models.build import build, recipe_for
        from edgechaos.train.fit import Recipe, train

        if kind == "shared":
            sequence = {key: value for key, value in (("strategy", strategy), ("share", share)) if value is not None}
            _train_shared(tasks, download, given, settings, rate, sequence, as_json, output)
            return
        data = load_data(data_name, download=download)
        model = build(kind, data, seed=seed, **given)
        recipe = Recipe(**(settings | recipe_for(kind) | rate))
        with progress_bar(f"train on {data.name}") as bar:
            train(model, data, recipe, output=output, progress=lambda p: bar(p.done, p.total))
    if as_json:
        print_json({"checkpoint": str(output), "family": model.family, **model.facts})
        return
    accuracy = model.facts["accuracy"]
    say(f"{output}: float accuracy {accuracy['float']:.2%} on {accuracy['items']:,} test items")


def _what_is_kept(output: Path, epochs: int) -> str:
    """What an interrupted training leaves on disk."""
    from edgechaos.train.fit import kept_epochs

    done = kept_epochs(output)
    kept = [f"the finished tasks in {output}.tasks"] if Path(f"{output}.tasks").exists() else []
    kept += [f"epoch {done} of {epochs} in {output}.state"] if done else []
    return f"{' and '.join(kept)}: the same command continues" if kept else "nothing yet"


def _refuse_mixed(context: click.Context, kind: str, options: dict[str, Any], tasks: tuple[str, ...]) -> None:
    """A shared cortex has tasks, each with its data set; nothing else has. What would change nothing is refused. Raises UsageError."""
    from edgechaos.models.options import SPIKING, without_effect

    if kind == "shared" and not tasks:
        raise click.UsageError("--model shared needs its tasks: --task NAME=FRONT:DATA, such as digits=vision:mnist5k")
    reasons = without_effect(kind, options)
    if kind == "shared":
        reasons["data_name"] = "cannot be given with --model shared, whose tasks name their data"
        if not any("=vision:" in task for task in tasks):
            reasons |= dict.fromkeys(("channels", "average"), "no task has a vision front-end")
        if len(tasks) == 1:
            reasons["strategy"] = "says what later tasks do, and there is one task"
    else:
        reasons |= dict.fromkeys(("tasks", "strategy", "share"), "can only be given with --model shared")
    if context.params["strategy"] != "rehearsal":
        reasons.setdefault("share", "can only be given with --strategy rehearsal")
    own, omission = context.params["fail_prob"], context.params["omission"]
    if omission == 0 or (omission is None and (own or kind not in SPIKING)):
        reasons["omission_draw"] = "says how --omission is drawn; give that too, above 0"
    option.refuse_without_effect(context, reasons)


def _train_shared(
    tasks: tuple[str, ...],
    download: bool,
    options: dict[str, Any],
    settings: dict[str, Any],
    rate: dict[str, float],
    sequence: dict[str, Any],
    as_json: bool,
    output: Path,
) -> None:
    """Train the tasks one after another and print what is still known of each."""
    from edgechaos.continual.retention import Retention
    from edgechaos.continual.sequence import train_in_sequence
    from edgechaos.models.build import build, recipe_for
    from edgechaos.support.errors import ConfigError
    from edgechaos.train.fit import Recipe

    datasets, fronts = {}, {}
    for text in tasks:
        match = TASK.fullmatch(text)
        if match is None or match["task"] in fronts:
            raise ConfigError(
                f"--task {text!r}: expected NAME=FRONT:DATA, every name once, with FRONT one of vision, dense, language", "task"
            )
        fronts[match["task"]] = match["front"]
        datasets[match["task"]] = load_data(match["data"], download=download)
    model: Any = build("shared", datasets, seed=settings["seed"], fronts=fronts, **options)
    recipes = {task: Recipe(**(settings | recipe_for(front) | rate)) for task, front in fronts.items()}
    with progress_bar("train") as bar:
        train_in_sequence(model, datasets, recipes, output=output, progress=lambda p: bar(p.done, p.total), **sequence)
    if as_json:
        print_json({"checkpoint": str(output), "family": model.family, **model.facts})
        return
    found = model.facts["retention"]
    print_table(Retention(tuple(datasets), found["items"], found["correct"]).rich_table())
    rest = ", ".join(
        f"{name.replace('_', ' ')} {found[name]:.2%}" for name in ("average_accuracy", "average_retention", "forgetting") if name in found
    )
    say(f"{output}: {rest}")
