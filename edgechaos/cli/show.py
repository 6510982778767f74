"""All that the commands print: results on stdout, errors, notes and progress on stderr.

Names out of files and boards pass through `edgechaos.support.printable` here. Tables never cut a number or a command: where the terminal is
too narrow for them side by side, every row becomes a block of lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from edgechaos.support.printable import message_line, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Progress = Callable[..., None]
"""Called with (done, total) and, where there is something to say beside the bar, a text; total may change between calls."""
LEAST_TEXT = 16
"""Columns of text that may wrap get at least these; below, the table is no table any more."""
UNLIMITED = 10_000
"""Columns of an output that is no terminal: nothing is wrapped there, so that other programs find whole lines."""


def say(text: str) -> None:
    """One line of a result, on stdout."""
    click.echo(printable(text))


def note(text: str) -> None:
    """One line beside the result, on stderr."""
    click.echo(message_line(text), err=True)


def say_error(text: str, *details: str, label: str = "error:") -> None:
    """One line on stderr, and one for each detail. NO_COLOR (https://no-color.org) and an output that is no terminal get no color."""
    color = {"error:": "red", "interrupted:": "yellow"}.get(label)
    head = click.style(label, fg=color, bold=True) if color and not os.environ.get("NO_COLOR") else label
    click.echo(f"{head} {message_line(text)}", err=True)
    for line in details:
        click.echo(f"  {message_line(line)}", err=True)


def print_json(document: Any) -> None:
    """JSON on stdout, keys in the order given."""
    click.echo(json.dumps(document, indent=2))


@contextmanager
def progress_bar(description: str) -> Iterator[Progress]:
    """A bar on stderr, fed by calls (done, total)."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    start = (TextColumn("{task.description:<28}", markup=False), BarColumn(), MofNCompleteColumn())
    columns = (*start, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[beside]}", markup=False))
    with Progress(*columns, console=terminal(stderr=True)) as bar:
        task = bar.add_task(printable(description), total=None, beside="")
        yield lambda done, total, beside="": bar.update(task, completed=done, total=total, beside=printable(beside))


def print_table(table: Table, console: Console | None = None) -> None:
    """A rich table, by default on stdout. Cells are plain text, or rich Text where they are styled.

    What stands in right-aligned and no_wrap columns is never cut or wrapped; other columns wrap in a terminal. Where the former do not
    fit side by side, every row becomes lines of `header  cell`.
    """
    from rich.cells import cell_len

    console = console or terminal()
    if not console.is_terminal:
        console.width = UNLIMITED
    widest = [max(cell_len(_plain(cell)) for cell in (c.header, *c.cells, c.footer)) for c in table.columns]
    between = console.measure(table, options=console.options.update(width=UNLIMITED)).maximum - sum(widest)
    widths = [
        width if column.no_wrap or column.justify == "right" else min(width, LEAST_TEXT)
        for column, width in zip(table.columns, widest, strict=True)
    ]
    room = console.width - between - sum(widths)
    if room < 0:
        _print_rows(table, console)
        return
    for k in sorted(range(len(widths)), key=lambda k: widest[k]):
        more = min(widest[k] - widths[k], room)
        widths[k], room = widths[k] + more, room - more
    for column, width in zip(table.columns, widths, strict=True):
        column.width, column.overflow = width, "fold"
    console.print(table)


def checklist(first: str, *headers: str) -> Table:
    """A table of what is there and what is not: a mark (`mark`), the name, more, and last the command that helps, whole."""
    from rich.table import Table

    table = Table("", box=None, header_style="bold")
    for header in (first, *headers):
        table.add_column(header, no_wrap=header in (first, headers[-1]))
    return table


def mark(good: bool) -> Text:
    """The first cell of a row of a `checklist`."""
    from rich.text import Text

    return Text("✓", "green") if good else Text("–", "yellow")


def terminal(**options: Any) -> Console:
    """A console on stdout whose text is plain: what looks like markup in a name is no markup, and control characters are escaped."""
    from rich.console import Console

    class Plain(Console):
        def render_str(self, text: str, **settings: Any) -> Text:  # type: ignore[override]
            return super().render_str(printable(text), **settings)

    return Plain(markup=False, emoji=False, highlight=False, **options)


def _plain(cell: Any) -> str:
    plain = getattr(cell, "plain", None)
    return plain if isinstance(plain, str) else printable(str(cell))


def _print_rows(table: Table, console: Console) -> None:
    """Every row as a block of lines, for what is wider than the terminal."""
    headers = [_plain(column.header) for column in table.columns]
    label_width = max(map(len, headers))
    totals = [column.footer for column in table.columns] if table.show_footer else []
    columns = [list(column.cells) for column in table.columns]
    if table.title:
        console.print(table.title, style="italic", soft_wrap=True)
    for row in [*zip(*columns, strict=True), *([totals] if any(totals) else [])]:
        for header, cell in zip(headers, row, strict=True):
            if _plain(cell):
                console.print(f"{header:<{label_width}} ", cell, soft_wrap=True)
        console.print()
    if table.caption:
        console.print(table.caption, style="dim italic", soft_wrap=True)
