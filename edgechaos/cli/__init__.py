"""The command line: parses, calls the library, prints. The only place that reaches every package, and lazily.

Results go to stdout, progress and logs to stderr. Exit codes: 0 good; 1 failed; 2 a command line or a configuration file that cannot be
carried out; 130 interrupted.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from edgechaos.cli.interrupts import imports_are_finished
from edgechaos.cli.show import say_error
from edgechaos.support.errors import ConfigError, EdgeChaosError
from edgechaos.support.registry import Registry, one_of
from edgechaos.support.suggest import suggestion
from edgechaos.support.version import __version__

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
    "profile",
    "diagnose",
    "repair",
    "harden",
    "measure",
    "campaign",
    "compare",
    "report",
    "faults",
    "devices",
    "doctor",
)
"""In the order in which a model passes through them."""
REGISTRY = Registry("command", one_of(click.Command), table={name: f"edgechaos.cli.{name}_command:command" for name in COMMANDS})

FAILED, USAGE, INTERRUPTED = 1, 2, 130


class Commands(click.Group):
    """Imports a command's module when it is asked for, and turns what goes wrong into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in pipeline order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None where there is none."""
        return REGISTRY.load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, and a wrong name gets a suggestion and the list."""
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(REGISTRY.refusal(args[0]))
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command line; in standalone mode exit with its code, after one line about what went wrong."""
        # The products of integer networks are small, and OpenBLAS's idle threads spin: verify took a fifth more processor time for nothing.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        if not extra.pop("standalone_mode", True):
            return super().main(args, prog_name, standalone_mode=False, **extra)
        _exit(lambda: super(Commands, self).main(args, prog_name, standalone_mode=False, **extra))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command. Ctrl-C keeps its words on what was kept: click knows only that something was aborted."""
        try:
            with imports_are_finished():
                return super().invoke(ctx)
        except KeyboardInterrupt as error:
            say_error(f"{error}" or "nothing was written", label="interrupted:")
            ctx.exit(INTERRUPTED)


def _exit(run: Callable[[], Any]) -> NoReturn:
    code = 0
    try:
        result = run()
        code = result if isinstance(result, int) else 0
    except click.UsageError as error:
        say_error(_usage_message(error))
        if error.ctx is not None:
            say_error(f"edgechaos {_subcommand(error.ctx)}--help", label="see")
        code = USAGE
    except click.ClickException as error:
        say_error(error.format_message())
        code = FAILED
    except click.Abort:
        say_error("nothing was written", label="interrupted:")
        code = INTERRUPTED
    except EdgeChaosError as error:
        say_error(*map(str, error.args))
        code = USAGE if isinstance(error, ConfigError) else FAILED
    except OSError as error:
        # What reaches this place was foreseen nowhere nearer: a full disk or a lost folder must still be one line.
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        say_error(f"{where}{error.strerror or error}; free space, or choose another place")
        code = FAILED
    sys.exit(code)


def _subcommand(ctx: click.Context) -> str:
    return f"{ctx.info_name} " if ctx.parent is not None else ""


def _usage_message(error: click.UsageError) -> str:
    """click's words; where a choice was misspelt, with a suggestion."""
    text = error.format_message()
    choices = getattr(getattr(getattr(error, "param", None), "type", None), "choices", None)
    wrong = re.search(r"'([^']*)' is not one of", text)
    if choices and wrong:
        text = f"{text.rstrip('.')}{suggestion(wrong[1], map(str, choices))}"
    return text


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="edgechaos")
def main() -> None:
    """Put fault-tolerant networks on devices that fail, and measure what failing costs.

    A model passes through: train (or import), quantize, inspect, export, verify, build, run, campaign, report. Each command works
    from the file that the one before it wrote.
    """
