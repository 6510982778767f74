"""`edgechaos build`: an artifact to firmware sources and an ELF."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edgechaos.cli.common import json_option, model_argument, output_option
from edgechaos.cli.file_kinds import BOARD
from edgechaos.cli.interrupts import kept
from edgechaos.cli.show import print_json, say


@click.command("build")
@model_argument
@click.option("--board", type=BOARD, default="mps2-an386", show_default=True, help="A board by name, or your own board file (.toml).")
@click.option(
    "--kernel",
    type=click.Choice(["auto", "dense", "event"]),
    default="auto",
    show_default=True,
    help="Matrix kernels; auto decides by activity.",
)
@click.option(
    "--compiler", default="zig", show_default=True, metavar="NAME", help="zig, gcc (arm-none-eabi-gcc from the PATH), or a plug-in's."
)
@click.option("--no-faults", is_flag=True, help="Leave the fault hooks out: for products, not for campaigns.")
@json_option
@output_option("sources, ELF and build.json", default="firmware", folder=True)
def command(model: Path, board: str, kernel: Any, compiler: Any, no_faults: bool, as_json: bool, output: Path) -> None:
    """Generate and build firmware for a board.

    C sources, and an ELF; zig's is byte-identical on every machine.

    \b
    Example: edgechaos build pixels.ecm --board stm32l4r5 -o firmware
    """
    from edgechaos.firmware_gen.board import load_board
    from edgechaos.firmware_gen.compilers.c.generate import generate
    from edgechaos.firmware_gen.projects.elf import build, record
    from edgechaos.graph import artifact
    from edgechaos.support.files import write_atomic

    target = load_board(board)
    firmware = generate(artifact.load(model), target, faults=not no_faults, kernel=kernel)
    with kept(lambda: f"what is in {output} may be incomplete: run the command again"):
        built = build(firmware, output, compiler)
    document = record(firmware, built) | {"elf": str(built.elf), "compiler": compiler}
    write_atomic(output / "build.json", json.dumps(document, indent=2))
    if as_json:
        print_json(document)
        return
    for choice in firmware.kernels.values():
        say(f"kernel  {choice}")
    say(f"flash   {built.flash_bytes:,} of {target.flash.bytes:,} bytes")
    say(f"RAM     {built.ram_bytes:,} of {target.ram.bytes:,} bytes, {built.stack_bytes:,} of them reserved for the stack")
    say(f"{built.elf}: firmware {built.firmware_hash[:12]} for {target.title}")
