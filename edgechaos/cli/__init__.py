"""The command line: parses, calls the library, prints. The only place that reaches every package, and lazily.

Results go to stdout, progress and logs to stderr. Exit codes: 0 good, 1 failed, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
from typing import Any

import click

from edgechaos import __version__
from edgechaos.errors import EdgeChaosError

COMMANDS = (
    "train",
    "continual",
    "import",
    "prune",
    "quantize",
    "inspect",
    "export",
    "verify",
    "build",
    "run",
    "campaign",
    "report",
    "devices",
    "doctor",
)
"""In the order in which a model passes through them. Each is the function `command` of edgechaos.cli.<name>_command."""


class Commands(click.Group):
    """Imports a command's module when it is asked for, and turns our errors into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in pipeline order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgechaos.cli.{cmd_name}_command").command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command; EdgeChaosError exits 1 with its message, Ctrl-C exits 130."""
        try:
            return super().invoke(ctx)
        except EdgeChaosError as error:
            click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted; what was finished is kept", err=True)
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgechaos")
def main() -> None:
    """Put fault-tolerant networks on devices that fail, and measure what failing costs.

    A model passes through: train (or import), quantize, inspect, export, verify, build, run, campaign, report. Each command works
    from the file that the one before it wrote.
    """
