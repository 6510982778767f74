"""`edgechaos import`: a published checkpoint to an integer artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgechaos.cli import option
from edgechaos.cli.common import bits_label, destination, load_data, noted, save_named
from edgechaos.cli.file_kinds import DATA, PUBLISHED, VOCABULARY
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import print_json, progress_bar, say


@click.command("import")
@click.argument("file", type=PUBLISHED)
@click.option("--data", "data_name", required=True, type=DATA, help="Training items calibrate, test items measure.")
@click.option("--mode", type=click.Choice(["parallel", "stateful"]), help="Tick mode of a ChaosNet.")
@click.option("--ticks", type=click.IntRange(1, 127), help="Ticks per inference of a ChaosNet.")
@click.option("--fail-prob", type=click.FloatRange(0, 1), help="Share of spikes that a ChaosNet loses, per tick.")
@click.option("--noise-std", type=click.FloatRange(0), help="Membrane noise of a ChaosNet.  [default: 0.01]")
@click.option("--threshold", type=float, help="Membrane value above which a ChaosNet's neuron fires.  [default: 0.5]")
@click.option("--decay", type=click.FloatRange(0, 1), help="Share of its membrane that a stateful neuron loses per tick.  [default: 0.02]")
@click.option("--refractory-decay", type=click.FloatRange(0, 1), help="Share of its refractoriness that it keeps.  [default: 0.95]")
@click.option("--normalization", help="Of the pixels: mnist, fashion, cifar10, none.")
@click.option(
    "--architecture",
    metavar="LAYERS|plain",
    help="Of a plain network, such as 'conv(stride=2, pad=1) relu linear'; plain: relu between layers, conv(pad=1) relu maxpool(2).",
)
@click.option(
    "--expect-accuracy",
    type=click.FloatRange(1, 100),
    metavar="PERCENT",
    help="Write nothing where the float or integer accuracy on the test items is lower.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 100, max_open=True),
    metavar="POINTS",
    help="How much lower it may be.  [default: 1]",
)
@click.option("--image", type=(int, int), help="Height and width, for convolutions.")
@click.option("--vocabulary", type=VOCABULARY, help="JSON of a language model: {word: id}.")
@click.option("--length", type=click.IntRange(1, 65535), help="Tokens per text of a language model.")
@click.option("--sparsity", type=click.FloatRange(0, 1, min_open=True), help="Share of winners of a TNN.")
@click.option("--current-strength", type=float, help="Share of the velocity that acts in a DLM.")
@click.option("--temperature", type=click.FloatRange(0), help="Of a DLM at inference.")
@option.per_channel
@option.weight_bits
@click.option("--verify/--no-verify", "verified", default=True, show_default=True, help="Compare with ONNX Runtime on 100 test items.")
@option.json
@option.output("the artifact (default: beside the file, .ecm)")
@click.pass_context
def command(
    context: click.Context,
    /,
    file: Path,
    data_name: str,
    per_channel: bool,
    weight_bits: int | dict[str, int],
    verified: bool,
    as_json: bool,
    expect_accuracy: float | None,
    tolerance: float | None,
    output: Path | None,
    **answers: Any,
) -> None:
    """Turn a published state_dict into an artifact.

    ChaosNet, DLM and TNN, as their programs save them (.pt), and plain networks: conv1, conv2, ..., fc or fc1, fc2, ...

    What the weights do not say is asked for, never guessed: run it with --data alone to see the questions.

    \b
    Example: edgechaos import mnist.pt --data mnist --mode parallel --ticks 5 --fail-prob 0 --normalization mnist
    \b
    Example: edgechaos import mlp.pt --data mnist --normalization mnist --architecture "linear relu linear" --expect-accuracy 97.5
    """
    if answers["mode"] == "parallel":
        reason = "acts in stateful mode alone, as parallel ticks start from zero state"
        option.refuse_without_effect(context, dict.fromkeys(("decay", "refractory_decay"), reason))
    if expect_accuracy is None:
        option.refuse_without_effect(context, {"tolerance": "belongs to --expect-accuracy"})
    from edgechaos.quantize.published import TOLERANCE, import_published

    path = destination(output, file.with_suffix(".ecm"))
    given = {key: value for key, value in answers.items() if value is not None}
    graph, data = import_published(
        file,
        load_data(data_name),
        expect_accuracy=None if expect_accuracy is None else expect_accuracy / 100,
        tolerance=TOLERANCE if tolerance is None else tolerance / 100,
        quantization={"per_channel": per_channel, "weight_bits": weight_bits},
        **given,
    )
    noted(data, data_name)
    graph, digest = save_named(graph, path)
    family, accuracy = graph.metadata["family"], graph.metadata["accuracy"]
    accuracies = f"float {accuracy['float']:.2%}, {bits_label(weight_bits)} {accuracy['integer']:.2%}"
    about = {"artifact": str(path), "family": family, "model_hash": digest, "accuracy": accuracy}
    if not as_json:
        say(f"{path}: {family}, {accuracies} on {accuracy['items']:,} test items; model {digest[:12]}")
    result = None
    if verified:
        from edgechaos import reference
        from edgechaos.export.verify import engine_backend, verify

        engines = {name: engine_backend(name) for name in ("onnxruntime-off", "onnxruntime-on")}
        with kept(lambda: f"{path} is written, but was not compared with ONNX Runtime"), progress_bar("verify") as bar:
            codes = reference.encode(graph, data.test_items[:100])
            result = verify(graph, codes, engines, progress=lambda done, total, _: bar(done, total)).require()
    if as_json:
        print_json(about | {"verified": None if result is None else result.to_json()})
    elif result is not None:
        say(f"{result.integers:,} integers of ONNX Runtime, optimizations off and on, equal the reference's")
