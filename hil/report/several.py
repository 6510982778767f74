"""Several campaigns on one page: their figures side by side, their curves in one picture per fault, and what changed against the first.

Changes are paired mask by mask where `edgechaos.hil.analysis.compare` allows it; where it does not, the page says why. Nothing is averaged
over campaigns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edgechaos.faults.base import label_of
from edgechaos.hil.analysis.compare import compare
from edgechaos.hil.analysis.documents import check_document, read_document
from edgechaos.hil.report.figures import accuracy_limits, overlay_figure
from edgechaos.hil.report.inputs import Document, Inputs, load_inputs
from edgechaos.hil.report.page import Report, complete, energy_of, panels_of, rendered
from edgechaos.hil.report.summary import Figure, summary
from edgechaos.support.errors import ArtifactError, ConfigError

HARDENING = "hardening.json"
LABELS = "ABCDEFGH"
"""One letter and one color for each."""


def load_several(paths: Sequence[Path]) -> tuple[Inputs, ...]:
    """One Inputs, or one for each path where two or more of them hold a campaign; before and after of a folder of `edgechaos harden --try`.

    Raises ArtifactError, EdgeChaosError.
    """
    if len(paths) == 1 and (record := paths[0] / HARDENING).is_file():
        before, after = (load_inputs([paths[0] / side / "results.json"]) for side in ("before", "after"))
        hardening = read_document(record)
        check_document("hardening", hardening, str(record))
        return before, replace(after, hardening=hardening)
    if len(paths) == 1:
        return (load_inputs(paths),)
    each = [load_inputs([path]) for path in paths]
    if sum(inputs.campaign is not None for inputs in each) < 2:
        return (load_inputs(paths),)
    for path, inputs in zip(paths, each, strict=True):
        if inputs.campaign is None:
            raise ArtifactError(f"{path} holds no campaign, and several are compared; leave it out", str(path))
    return tuple(each)


def compose_several(inputs: Sequence[Inputs]) -> Report:
    """The page. Raises ArtifactError for more campaigns than there are letters, or a document that is not what its kind must be."""
    if len(inputs) > len(LABELS):
        raise ArtifactError(f"{len(inputs)} campaigns are more than one page compares, {len(LABELS)}; leave some out")
    known = [check_document("campaign", each.campaign or {}, f"campaign {label}") for label, each in zip(LABELS, inputs, strict=False)]
    campaigns = [complete(each.campaign) for each in inputs if each.campaign is not None]
    columns = [_column(label, c) for label, c in zip(LABELS, campaigns, strict=False)]
    changes = []
    for column, other in zip(columns[1:], known[1:], strict=True):
        try:
            found = compare(known[0], other)
        except ConfigError as error:
            changes.append({"label": column["label"], "reasons": list(error.args), "curves": [], "unmatched": []})
        else:
            changes.append({"label": column["label"], "reasons": [], **found.to_json()})
    figures = tuple(
        Figure(f"{column['label']}: {figure.label}", figure.value, figure.unit, figure.note, figure.kind)
        for column in columns
        for figure in column["figures"]
    )
    hardening = next((each.hardening for each in inputs if each.hardening is not None), None)
    context = {"columns": columns, "panels": list(_panels(columns)), "changes": changes, "hardening": hardening}
    document = {
        "kind": "edgechaos.report",
        "format": 1,
        "figures": [asdict(f) for f in figures],
        "campaigns": {c["label"]: campaign for c, campaign in zip(columns, campaigns, strict=True)},
        "changes": changes,
        **({"hardening": hardening} if hardening else {}),
    }
    return rendered("several", context, figures, document)


def _column(label: str, campaign: Document) -> dict[str, Any]:
    energy = energy_of(campaign)
    return {
        "label": label,
        "about": campaign["about"],
        "figures": summary(list(panels_of(campaign, drawn=False)), energy, None, campaign["samples"]),
        "curves": [c for c in campaign["curves"] if c["points"]],
        "confidence": 1 - campaign["about"]["campaign"]["alpha"],
    }


def _panels(columns: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One per fault, site and swept field: of each campaign its curve with the most images and masks."""
    places = dict.fromkeys((c["fault"], c["site"], c["swept"]) for column in columns for c in column["curves"])
    every = [c["points"] for column in columns for c in column["curves"]]
    limits = accuracy_limits(every) if every else (0.0, 100.0)
    for k, place in enumerate(sorted(places)):
        curves = {}
        for column in columns:
            here = [c for c in column["curves"] if (c["fault"], c["site"], c["swept"]) == place]
            if here:
                curves[column["label"]] = max(here, key=lambda c: (c["images"] * max(p["masks"] for p in c["points"]), len(c["points"])))
        fault, site, swept = place
        rates = sorted({p["rate"] for curve in curves.values() for p in curve["points"]})
        yield {
            "fault": fault,
            "title": label_of(fault, "title"),
            "site": site,
            "swept": swept,
            "persistence": next(iter(curves.values()))["persistence"],
            "curves": curves,
            "figure": Markup(overlay_figure({n: c["points"] for n, c in curves.items()}, swept, label_of(fault, "axis"), f"s{k}-", limits)),
            "rows": [(rate, {n: next((p for p in c["points"] if p["rate"] == rate), None) for n, c in curves.items()}) for rate in rates],
        }
