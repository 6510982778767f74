"""A campaign as a TOML file again: what a report embeds, so that whoever reads it can run the same campaign."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields
from typing import Any

from edgechaos.hil.campaign.config import Campaign

UNITS = {"margin": "", "width": "", "timeout": " s", "temperature": " K"}
"""Of the quantities that a file writes as text with their unit; a share has none. `temperature` of [energy], not of the model."""


def to_toml(campaign: Campaign) -> str:
    """The file that `read_campaign` reads as this campaign: without defaults, and without its artifact, whose path is another elsewhere."""
    lines = [*_values(campaign, ("margin", "timeout"), leave_out=("artifact", "images", "energy", "stop", "sweep", "sample"))]
    lines += _table("[images]", campaign.images)
    if campaign.energy is not None:
        lines += _table("[energy]", campaign.energy, quantities=("temperature",))
    if campaign.stop is not None:
        lines += _table("[stop]", campaign.stop, quantities=("width",))
    for sweep in campaign.sweep:
        lines += _table("[[sweep]]", sweep)
    for sample in campaign.sample:
        lines += _table("[[sample]]", sample)
    return "\n".join(lines) + "\n"


def _table(header: str, value: Any, quantities: tuple[str, ...] = ()) -> list[str]:
    inside = [*_values(value, quantities)]
    return ["", header, *inside] if inside else []


def _values(value: Any, quantities: tuple[str, ...] = (), leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    for field in fields(value):
        inner = getattr(value, field.name)
        if field.name not in leave_out and inner is not None and inner != _default(field):
            yield f"{field.name} = {_text(f'{inner!r}{UNITS[field.name]}' if field.name in quantities else inner)}"


def _default(field: Field[Any]) -> Any:
    made = field.default_factory() if field.default_factory is not MISSING else None
    return made if field.default is MISSING else field.default


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {_text(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
