"""`edgechaos export`: an artifact to another tool's file."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli import option
from edgechaos.cli.show import print_json, say


@click.command("export")
@option.model
@click.option("--target", default="onnx", show_default=True, help="onnx, tvm, or the name of an installed plug-in.")
@click.option("--head", help="Which task of a model with several; by default the first.")
@option.json
@option.output("the file (default: beside the model)")
def command(model: Path, target: str, head: str | None, as_json: bool, output: Path | None) -> None:
    """Write the model for another tool.

    onnx: integer ONNX, opset 21. tvm: a library that TVM compiled for this machine.

    \b
    Example: edgechaos export pixels.ecm -o pixels.onnx
    """
    from edgechaos.export.exporters import EXPORTERS
    from edgechaos.graph import artifact

    chosen = EXPORTERS.load(target)
    graph = artifact.load(model)
    path = chosen.export(graph, output or model.with_suffix(chosen.suffix), head)
    if as_json:
        about = {"file": str(path), "bytes": path.stat().st_size, "target": target, "head": graph.head(head).name}
        print_json(about | {"model_hash": artifact.content_hash(graph)})
        return
    say(f"{path}: {path.stat().st_size:,} bytes")
