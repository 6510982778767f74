"""The report: one self-contained HTML page from the JSON files that campaign, verify, build and profile wrote.

It fetches nothing, runs nothing but the script that sorts its tables, escapes everything; equal documents give equal bytes. What is not
there is named as not there. Figures are drawn by `edgechaos.hil.report.figures`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from edgechaos.devices.contract import EXTRAS
from edgechaos.faults.base import label_of
from edgechaos.firmware_gen.board import board_names, load_board
from edgechaos.firmware_gen.core import Cycles
from edgechaos.hil.analysis.documents import KINDS, check_document
from edgechaos.hil.analysis.quantities import FILTERS
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.hil.report.figures import accuracy_figure, accuracy_limits, energy_figure
from edgechaos.hil.report.inputs import Document, Inputs, check_same_model
from edgechaos.hil.report.summary import Figure, summary
from edgechaos.support.files import write_atomic

PER_INFERENCE = ("instructions", "cycles", "energy_low_j", "energy_j", "energy_high_j", "bytes_read", "bytes_written")
"""Of a row of a profile, which is of all inferences."""


@dataclass(frozen=True, slots=True)
class Report:
    """A rendered page, its twins for people without a browser and for programs, and the figures that sum it up."""

    html: str
    markdown: str
    document: Document
    figures: tuple[Figure, ...]

    def write(self, path: Path) -> tuple[Path, Path, Path]:
        """The page at `path`, Markdown and JSON beside it under the same name, each atomically."""
        text = json.dumps(self.document, indent=1, sort_keys=True) + "\n"
        twins = ((path, self.html), (path.with_suffix(".md"), self.markdown), (path.with_suffix(".json"), text))
        page, markdown, document = (write_atomic(place, content) for place, content in twins)
        return page, markdown, document


def rendered(template: str, context: dict[str, Any], figures: tuple[Figure, ...], document: Document) -> Report:
    """A Report of the templates TEMPLATE.html and TEMPLATE.md, which know the same names."""
    shared = {"summary": figures, "outcomes": OUTCOMES, **context}
    html = (
        _templates()
        .get_template(f"{template}.html")
        .render(
            script=_script(),
            script_hash=f"'sha256-{base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()}'",
            data=_embedded(document),
            **shared,
        )
    )
    return Report(html, _templates().get_template(f"{template}.md").render(**shared), document, figures)


def markdown(value: object) -> str:
    """Text that stays text in Markdown: no markup, no HTML, no cell's or line's end."""
    text = " ".join(str(value).split())
    return re.sub(r"[\\`*\[\]<>#|~&$!]", lambda found: f"&#{ord(found[0])};", text)


def fenced(text: str) -> str:
    """A block of code that its own content cannot end."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}\n{text.rstrip()}\n{fence}"


def compose(inputs: Inputs) -> Report:
    """The page and its figures. Raises ArtifactError where a document is not what its kind must be."""
    for kind in KINDS:
        if (given := getattr(inputs, kind)) is not None:
            check_document(kind, given, f"the {kind}")
    campaign = complete(inputs.campaign) if inputs.campaign else None
    check_same_model(inputs)
    panels = list(panels_of(campaign)) if campaign else []
    energy = energy_of(campaign) if campaign else None
    verification = _verification(inputs.verification) if inputs.verification else None
    figures = summary(panels, energy, verification, campaign["samples"] if campaign else ())
    context = {
        "campaign": campaign,
        "about": campaign["about"] if campaign else None,
        "artifact_name": _artifact_name(campaign),
        "panels": panels,
        "samples": list(_samples(campaign)) if campaign else [],
        "energy": energy,
        "mix": _mix(campaign) if campaign else None,
        "verification": verification,
        "build": _build(inputs.build) if inputs.build else None,
        "profile": _profile(inputs.profile) if inputs.profile else None,
    }
    parts = {"campaign": campaign, "verification": inputs.verification, "build": inputs.build, "profile": inputs.profile}
    document = {"kind": "edgechaos.report", "format": 1, "figures": [asdict(figure) for figure in figures], **parts}
    return rendered("report", context, figures, document)


def _artifact_name(campaign: Document | None) -> str:
    """The model's file without its folder, which is another elsewhere."""
    return Path(campaign["about"]["campaign"]["artifact"]).name if campaign and campaign["about"]["campaign"]["artifact"] else "MODEL.ecm"


@cache
def _templates() -> Environment:
    """HTML is escaped by itself, Markdown by the filter `md` where a text comes from outside."""
    environment = Environment(
        loader=PackageLoader("edgechaos.hil.report"),
        autoescape=lambda name: bool(name and name.endswith(".html")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS, md=markdown, fenced=fenced)
    return environment


@cache
def _script() -> Markup:
    """What sorts tables: the one script that the page's policy lets run, by its hash; no text of a document can become another."""
    return Markup((files("edgechaos.hil.report") / "templates" / "sort.js").read_text("utf-8"))


def _embedded(document: Document) -> Markup:
    """JSON that may stand in a script element: no character that could end it."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def complete(campaign: Document) -> Document:
    """The document with what those of earlier releases left out."""
    return {"samples": [], **campaign, "curves": [{"swept": "rate", **curve} for curve in campaign["curves"]]}


def _samples(campaign: Document) -> Iterator[dict[str, Any]]:
    """Rankings of each sample: bars by layer and by bit, a map of layer x bit, and the most critical sites, each on one scale."""
    for s in campaign["samples"]:
        of_bits = [row for row in s["strata"] if row["bit"] is not None]
        layers, bits = (list(dict.fromkeys(row[key] for row in of_bits)) for key in ("layer", "bit"))
        cells = {(row["layer"], row["bit"]): row["share"] for row in of_bits}
        rankings = [("By layer", s["layers"] or s["strata"], "layer")] if not of_bits or len(layers) > 1 else []
        rankings += [("By bit", s["bits"] or s["strata"], "bit")] if of_bits else []
        yield {
            **s,
            "title": label_of(s["fault"], "title"),
            "rankings": [
                {"title": title, "rows": rows, "name": name, "scale": max([row["share"]["high"] for row in rows]) or 1.0}
                for title, rows, name in rankings
            ],
            "map": {"layers": layers, "bits": sorted(bits), "cells": cells} if len(layers) > 1 and len(bits) > 1 else None,
            "hottest": max((share["value"] for share in cells.values()), default=0.0) or 1.0,
        }


def panels_of(campaign: Document, *, drawn: bool = True) -> Iterator[dict[str, Any]]:
    """One panel per fault kind and site: its curve with the most images; the other devices' curves stand in the agreement."""
    curves = [c for c in campaign["curves"] if c["points"]]
    places = dict.fromkeys((c["persistence"] != "intermittent", c["fault"], c["site"]) for c in curves)
    limits = accuracy_limits([c["points"] for c in curves]) if curves else (0.0, 100.0)
    for k, (_, fault, site) in enumerate(sorted(places)):
        here = [c for c in curves if (c["fault"], c["site"]) == (fault, site)]
        curve = max(here, key=lambda c: (c["images"] * max(p["masks"] for p in c["points"]), len(c["points"])))
        counted = max((c for c in here if c["points"][0]["energy"]), key=lambda c: len(c["points"]), default=None)
        title, axis = label_of(fault, "title"), label_of(fault, "axis")
        yield {
            "fault": fault,
            "title": title,
            "curve": curve,
            "half": min(curve["points"], key=lambda p: (abs(p["rate"] - 0.5), p["rate"])),
            "figure": Markup(accuracy_figure(curve["points"], curve["swept"], axis, f"a{k}-", limits)) if drawn else None,
            "energy_curve": counted,
            "energy_figure": Markup(energy_figure(counted["points"], counted["swept"], axis, f"e{k}-")) if counted and drawn else None,
        }


def energy_of(campaign: Document) -> dict[str, Any] | None:
    """The joules of the point nearest to clean, one whose plan changes nothing or else the lowest, of death if that was counted."""
    counted = [c for c in campaign["curves"] if c["points"] and c["points"][0]["energy"]]
    if not counted:
        return None
    curve = next((c for c in counted if c["fault"] == "dead"), counted[0])
    point = next((p for p in curve["points"] if _is_clean(p)), curve["points"][0])
    floor, energy = campaign["about"]["landauer"], point["energy"]
    latency = Cycles(*(energy["cycles"][edge] / energy["clock_hz"] for edge in ("low", "usual", "high")))
    return {
        "curve": curve,
        "point": point,
        "clean": _is_clean(point),
        **energy,
        "latency": latency,
        "landauer": floor,
        "ratio": energy["energy_j"] / floor["energy_j"],
    }


def _is_clean(point: Mapping[str, Any]) -> bool:
    return set(point["outcomes"]) == {"not_activated"}


def _mix(campaign: Document) -> dict[str, Any] | None:
    """Instructions per inference by class, most first, with their shares."""
    for curve in campaign["curves"]:
        for point in curve["points"]:
            counts = {k: v for k, v in point["instructions"].items() if v > 0 and k not in EXTRAS}
            if counts:
                total = sum(counts.values())
                classes = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
                rows = [{"name": name.replace("_", " "), "count": count, "share": count / total} for name, count in classes]
                return {
                    "device": curve["device"],
                    "rate": point["rate"],
                    "swept": curve["swept"],
                    "fault": curve["fault"],
                    "total": total,
                    "rows": rows,
                }
    return None


def _verification(document: Document) -> dict[str, Any]:
    """Per backend: plans, items, integers, mismatches, and the first difference."""
    rows: dict[str, dict[str, Any]] = {}
    for comparison in document["comparisons"]:
        row = rows.setdefault(comparison["backend"], {"plans": 0, "items": 0, "integers": 0, "mismatches": 0, "first": None})
        row["plans"] += 1
        for key in ("items", "integers", "mismatches"):
            row[key] += comparison[key]
        row["first"] = row["first"] or comparison.get("first")
    return {"passed": document["passed"], "model_hash": document["model_hash"], "integers": document["integers"], "rows": rows}


def _build(document: Document) -> dict[str, Any]:
    """Flash and RAM against what the board has, where the board is known."""
    name = document["board"]
    board = load_board(name) if name in board_names() else None  # the capacity of a board file of the user's own is not known here
    flash, ram, stack = (document[key] for key in ("flash_bytes", "ram_bytes", "stack_bytes"))
    flash_total, ram_total = (board.flash.bytes, board.ram.bytes) if board else (None, None)
    used = [("flash", flash, flash_total), ("RAM, static", ram - stack, ram_total), ("RAM, reserved for the stack", stack, ram_total)]
    return {
        "board": name,
        "title": board.title if board else name,
        "firmware_hash": document["firmware_hash"],
        "used": used,
        "sections": _sections(document),
    }


def _profile(document: Document) -> dict[str, Any]:
    """Per inference, by layer and by function, with shares of all instructions."""
    count, whole = document["inferences"], document["total"]

    def per_inference(row: Document) -> dict[str, Any]:
        figures = {key: row[key] / count for key in PER_INFERENCE}
        return {**row, **figures, "share": row["instructions"] / whole["instructions"]}

    rows = {kind: [per_inference(row) for row in document[kind]] for kind in ("layers", "functions")}
    return {**document, "total": per_inference(whole), **rows}


def _sections(document: Document) -> list[tuple[str, int, float]]:
    """(name, bytes, share of the largest) of the sections that take memory, the largest first."""
    sizes = sorted(((name, size) for name, size in document.get("sections", {}).items() if size), key=lambda item: (-item[1], item[0]))
    return [(name, size, size / sizes[0][1]) for name, size in sizes]
