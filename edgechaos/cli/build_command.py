"""`edgechaos build`: an artifact to firmware sources and an ELF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgechaos.cli import option
from edgechaos.cli.file_kinds import BOARD
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import print_json, say


@click.command("build")
@option.model
@click.option("--board", type=BOARD, default="mps2-an386", show_default=True, help="A board by name, or your own board file (.toml).")
@click.option(
    "--kernel",
    type=click.Choice(["auto", "dense", "event"]),
    default="auto",
    show_default=True,
    help="Matrix kernels; auto decides by activity.",
)
@click.option(
    "--compiler",
    default="zig",
    show_default=True,
    metavar="NAME",
    help="zig, gcc (arm-none-eabi-gcc), riscv-gcc, or a plug-in's.",
)
@click.option(
    "--project",
    default="elf",
    show_default=True,
    metavar="KIND",
    help="elf; inference (no server); library or server (this host); or a plug-in's.",
)
@click.option("--no-faults", is_flag=True, help="Leave the fault hooks out: for products, not for campaigns.")
@option.json
@option.output("sources, ELF and build.json", default="firmware", folder=True)
def command(model: Path, board: str, kernel: Any, compiler: str, project: str, no_faults: bool, as_json: bool, output: Path) -> None:
    """Generate and build firmware for a board, or for this host.

    C sources, and an ELF; zig's is byte-identical on every machine.

    \b
    Example: edgechaos build pixels.ecm --board stm32l4r5 -o firmware
    """
    from edgechaos.firmware_gen.board import load_board
    from edgechaos.firmware_gen.compilers.c.generate import generate
    from edgechaos.firmware_gen.project import PROJECTS
    from edgechaos.graph import artifact
    from edgechaos.support.files import write_atomic

    kind = PROJECTS.load(project)
    target = load_board(board) if kind.for_board else None
    firmware = generate(artifact.load(model), target, faults=not no_faults, kernel=kernel)
    with kept(lambda: f"what is in {output} may be incomplete: run the command again"):
        made = kind.make(firmware, output, compiler)
    write_atomic(output / "build.json", json.dumps(made.record, indent=2))
    if as_json:
        print_json(made.record)
        return
    for choice in firmware.kernels.values():
        say(f"kernel  {choice}")
    for line in made.lines:
        say(line)
