"""`edgechaos export`: an artifact to another tool's file."""

from __future__ import annotations

from pathlib import Path

import click

from edgechaos.cli.common import model_argument, output_option


@click.command("export")
@model_argument
@click.option("--target", default="onnx", show_default=True, help="onnx, tvm, or the name of an installed plug-in.")
@click.option("--head", help="Which task of a model with several; by default the first.")
@output_option("the file (default: beside the model)")
def command(model: Path, target: str, head: str | None, output: Path | None) -> None:
    """Write the model for another tool.

    onnx: integer ONNX, opset 21. tvm: a library that TVM compiled for this machine.

    \b
    Example: edgechaos export pixels.ecm -o pixels.onnx
    """
    from edgechaos import artifact
    from edgechaos.export.exporters import exporter

    chosen = exporter(target)
    path = chosen.export(artifact.load(model), output or model.with_suffix(chosen.suffix), head)
    click.echo(f"{path}: {path.stat().st_size:,} bytes")
