"""How objects show themselves in notebooks: one small table, everything in it escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def html_table(title: str, rows: Iterable[Sequence[str]], heading: Sequence[str] = ()) -> str:
    """A table under a title, as `_repr_html_` returns it."""
    head = f"<tr>{''.join(f'<th>{html.escape(h)}</th>' for h in heading)}</tr>" if heading else ""
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{html.escape(title)}</caption>{head}{body}</table>"
