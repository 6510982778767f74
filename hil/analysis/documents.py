"""What the JSON files of campaign, verify, build and profile must hold before a report is made of them.

A results file may come from anywhere, cut, edited or of another release, and must end in one line that names the place, never in
a traceback or in a page of wrong figures. So a document is structured into the dataclasses below, and every number is checked to be
one that the report can draw: finite, in its range, a share between 0 and 1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import cattrs

from edgechaos.export.verify import Comparison
from edgechaos.graph.tensors import IDENTIFIER
from edgechaos.hil.analysis.points import Curve, Point
from edgechaos.hil.analysis.profiled import ProfileDocument, profile_problems
from edgechaos.hil.analysis.results import FORMAT, Agreement
from edgechaos.hil.analysis.sampled import SampleResult
from edgechaos.hil.campaign.outcomes import OUTCOMES
from edgechaos.support.errors import ArtifactError, ConfigError
from edgechaos.support.files import read_file
from edgechaos.support.limits import MOST, Count, Share, problems, shown_value, within
from edgechaos.support.settings import strict_converter, structure

LEAST_ENERGY_J = 1e-30
"""Below the bound of a single bit at a thousandth of a kelvin; ratios are made of energies."""
LONGEST_TEXT = 1 << 16
DEEPEST = 24


@dataclass(frozen=True, slots=True)
class AboutCampaign:
    """What the page says of the campaign's design; the whole of it is embedded besides."""

    name: str
    seed: int
    alpha: Share
    margin: Share
    artifact: str
    warnings: tuple[str, ...]
    head: str = ""


@dataclass(frozen=True, slots=True)
class AboutAccuracy:
    """Measured when the model was quantized, where its artifact says so."""

    float_model: Share | None = None
    integer_model: Share | None = None
    items: Count | None = None


@dataclass(frozen=True, slots=True)
class AboutModel:
    """Name, content hash, the loss probability that each spiking layer was deployed with, and `edgechaos.hil.analysis.model_facts`."""

    name: str
    hash: str
    deployed_omission: dict[str, Share]
    architecture: str
    weight_bits: tuple[Count, ...]
    parameters: Count
    macs: Count
    accuracy: AboutAccuracy


@dataclass(frozen=True, slots=True)
class AboutData:
    """Name, the hash of the codes by their number, and that of the data set they were made from."""

    name: str
    hash: dict[str, str]
    source: str = ""


@dataclass(frozen=True, slots=True)
class AboutDevice:
    """Who answered."""

    name: str
    kind: str
    firmware_hash: str


@dataclass(frozen=True, slots=True)
class Trials:
    """How many trials there are, how many have no result, by reason, and how many results were inferred."""

    planned: Count
    with_result: Count
    retried: Count
    without_result: dict[str, Count]
    inferred: Count = 0


@dataclass(frozen=True, slots=True)
class Landauer:
    """The bound that modelled joules are compared with."""

    bits: Count
    temperature_k: Annotated[float, within(0, MOST)]
    energy_j: Annotated[float, within(LEAST_ENERGY_J, MOST)]


@dataclass(frozen=True, slots=True)
class About:
    """Provenance. campaign_file: TOML that runs the campaign again."""

    campaign: AboutCampaign
    campaign_file: str
    model: AboutModel
    data: AboutData
    devices: dict[str, AboutDevice]
    trials: Trials
    landauer: Landauer
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class CampaignDocument:
    """results.json of a campaign."""

    about: About
    curves: tuple[Curve, ...]
    agreements: tuple[Agreement, ...]
    samples: tuple[SampleResult, ...] = ()


@dataclass(frozen=True, slots=True)
class VerificationDocument:
    """What `verify -o` writes."""

    passed: bool
    integers: Count
    model_hash: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True, slots=True)
class BuildDocument:
    """build.json."""

    board: str
    firmware_hash: str
    flash_bytes: Count
    ram_bytes: Count
    stack_bytes: Count
    sections: dict[str, Count] = field(default_factory=dict)
    model_hash: str | None = None


@dataclass(frozen=True, slots=True)
class ShownTable:
    """As text: what a column is, and its cells."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class HardeningDocument:
    """What `edgechaos harden --try` wrote beside its two campaigns. tables: by title."""

    measures: tuple[str, ...]
    tables: dict[str, ShownTable]


KINDS: Mapping[str, type] = {
    "campaign": CampaignDocument,
    "verification": VerificationDocument,
    "build": BuildDocument,
    "hardening": HardeningDocument,
    "profile": ProfileDocument,
}
"""By the name of the report's input."""


def read_document(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; empty where it holds another value. Raises ArtifactError where it is no JSON."""
    try:
        document = json.loads(read_file(path, "results", limit=1 << 28))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not JSON, or truncated ({error}); write it again", os.fspath(path)) from error
    return document if isinstance(document, dict) else {}


def campaign_document(path: Path) -> CampaignDocument:
    """The results of a campaign. Raises ArtifactError for what is none, EdgeChaosError where it cannot be read."""
    document = read_document(path)
    if document.get("kind") != "edgechaos.campaign":
        raise ArtifactError(f"{path} holds no results of a campaign; write them with `edgechaos campaign`", os.fspath(path))
    known: CampaignDocument = check_document("campaign", document, os.fspath(path))
    return known


def check_document(kind: str, document: Mapping[str, Any], where: str) -> Any:
    """The document as its class of KINDS.

    Raises ArtifactError, in one line with the place, where it is not what `where` and `kind` say it is.
    """
    known: Any = None
    if kind == "campaign" and document.get("format") != FORMAT:
        found = f"{document.get('format')!r:.20}"
        raise ArtifactError(f"{where}: campaign results have format {found}, this release reads {FORMAT}; run the campaign again", where)
    problem = next(_impossible_values(document, "", 0), None)
    if problem is None:
        try:
            known = structure(document, KINDS[kind], where, _converter())
        except ConfigError as error:
            problem = str(error).removeprefix(f"{where}: ")
        else:
            problem = next(_problems(known), None)
    if problem is not None:
        raise ArtifactError(f"{where} is no {kind} document that can be reported: {problem:.200}; write it again", where)
    return known


@cache
def _converter() -> cattrs.Converter:
    """Types are strict; fields that the report does not know are left alone."""
    converter = strict_converter()
    converter.forbid_extra_keys = False
    return converter


def _impossible_values(value: Any, path: str, depth: int) -> Iterator[str]:
    """Whatever no document holds anywhere: numbers that are not finite or too large, texts that UTF-8 cannot write, deep nesting."""
    if depth > DEEPEST:
        yield f"{path} is nested more than {DEEPEST} deep"
    elif isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from _impossible_values(key, f"the key of {path}", depth + 1)
            yield from _impossible_values(item, f"{path}.{key!s:.40}" if isinstance(value, dict) else f"{path}[{key}]", depth + 1)
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
            yield f"{path} is no text of at most {LONGEST_TEXT:,} characters"
    elif isinstance(value, int | float) and not -MOST <= value <= MOST:  # NaN is not, either
        yield f"{path} = {value!s:.20} is no number that can be shown"


def _problems(document: Any) -> Iterator[str]:
    """Values of the right type that contradict what the field means."""
    yield from (f"{path} = {shown_value(value)} {wrong}" for path, value, wrong in problems(document))
    if isinstance(document, CampaignDocument):
        if not all(count.isascii() and count.isdecimal() for count in document.about.data.hash):
            yield "about.data.hash has a key that is no number of items"
        for k, curve in enumerate(document.curves):
            yield from _curve_problems(f"curves[{k}]", curve)
        for k, sample in enumerate(document.samples):
            if not IDENTIFIER.fullmatch(sample.fault) or sample.outcome not in OUTCOMES:
                yield f"samples[{k}] has no kind of fault or no outcome that there is"
    if isinstance(document, ProfileDocument):
        yield from profile_problems(document)
    if isinstance(document, BuildDocument):
        yield from _not_in("the sizes", (document.ram_bytes - document.stack_bytes,), 0, MOST)


def _curve_problems(path: str, curve: Curve) -> Iterator[str]:
    if not IDENTIFIER.fullmatch(curve.fault):
        yield f"{path}.fault = {curve.fault!r:.40} is not the name of a kind of fault"
    if not IDENTIFIER.fullmatch(curve.swept):
        yield f"{path}.swept = {curve.swept!r:.40} is not the name of a field"
    limits = (0, 1) if curve.swept == "rate" else (-MOST, MOST)
    yield from _not_in(f"{path}.rate, empty_rates", (*(p.rate for p in curve.points), *curve.empty_rates), *limits)
    for k, point in enumerate(curve.points):
        yield from _point_problems(f"{path}.points[{k}]", point)
        columns = point.per_mask
        if columns and (
            not {"mask", "correct", "clean"} <= columns.keys() or {len(column) for column in columns.values()} != {point.masks}
        ):
            yield f"{path}.points[{k}].per_mask has not one mask, correct and clean for each of {point.masks} masks"
        elif columns and len({*columns["mask"]}) != point.masks:
            yield f"{path}.points[{k}].per_mask names a mask twice"
        counts = tuple(count for name, column in columns.items() for count in column if name != "mask")
        yield from _not_in(f"{path}.points[{k}].per_mask", counts, 0, curve.images)


def _point_problems(path: str, p: Point) -> Iterator[str]:
    if unknown := sorted(p.outcomes.keys() - OUTCOMES.keys()):
        yield f"{path}.outcomes has {unknown[0]!r:.40}, which is no outcome"
    yield from _not_in(f"{path}.outcomes: their sum", (sum(p.outcomes.values()),), 1, MOST)
    if p.energy is not None:
        cycles = (p.energy.cycles.low, p.energy.cycles.usual, p.energy.cycles.high)
        yield from _not_in(f"{path}.energy.clock_hz", (p.energy.clock_hz,), 1, MOST)
        yield from _not_in(f"{path}.energy", (p.energy.energy_j, p.energy.low_j, p.energy.high_j, *cycles), LEAST_ENERGY_J, MOST)


def _not_in(path: str, values: tuple[float, ...], low: float, high: float) -> Iterator[str]:
    for value in values:
        if not low <= value <= high:
            yield f"{path}: {value:g} is outside {low:g}..{high:g}"
