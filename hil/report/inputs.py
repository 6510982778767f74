"""What a report is made of: the JSON files that campaign, verify, build and profile wrote, found in a folder or given one by one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgechaos.hil.analysis.documents import check_document, read_document
from edgechaos.support.errors import ArtifactError, EdgeChaosError

Document = Mapping[str, Any]
SEARCH_DEPTH = 3


@dataclass(frozen=True, slots=True)
class Inputs:
    """The documents of a report; None where there is none."""

    campaign: Document | None = None
    verification: Document | None = None
    build: Document | None = None
    hardening: Document | None = None
    profile: Document | None = None


def find_inputs(folder: Path) -> Inputs:
    """The documents in a folder and its subfolders, recognised by content; where there are several, the first by path.

    Of several builds, the first for the board whose joules the campaign shows, where there is one.
    Raises EdgeChaosError where the folder holds none of them.
    """
    found: dict[str, Document] = {}
    builds: list[tuple[Document, str]] = []
    for path in sorted(folder.rglob("*.json"), key=lambda p: (len(p.parts), p)):
        if len(path.relative_to(folder).parts) <= SEARCH_DEPTH:
            document = read_document(path)
            kind = _kind(document)
            if kind == "build":
                builds.append((document, os.fspath(path)))
            elif kind is not None and kind not in found:
                check_document(kind, document, os.fspath(path))
                found[kind] = document
    if builds:
        energy = found["campaign"]["about"]["campaign"].get("energy") if "campaign" in found else None
        wanted = energy.get("board") if isinstance(energy, Mapping) else None
        build, place = next((b for b in builds if b[0].get("board") == wanted), builds[0])
        check_document("build", build, place)
        found["build"] = build
    if not found:
        raise EdgeChaosError(f"{folder} holds no results; write them with `edgechaos campaign FILE.toml -o {folder}`")
    return Inputs(**found)


def load_inputs(paths: Sequence[Path]) -> Inputs:
    """Explicit files, or one folder. Raises ArtifactError for a file that is none of ours."""
    if len(paths) == 1 and paths[0].is_dir():
        return find_inputs(paths[0])
    found: dict[str, Document] = {}
    for path in paths:
        document = read_document(path)
        kind = _kind(document)
        if kind is None:
            raise ArtifactError(f"{path} was written by none of campaign, verify, build, profile; leave it out", os.fspath(path))
        check_document(kind, document, os.fspath(path))
        if kind in found:
            raise ArtifactError(f"{path} is a second {kind}, and a page shows one; leave one of them out", os.fspath(path))
        found[kind] = document
    return Inputs(**found)


def check_same_model(inputs: Inputs) -> None:
    """Figures of different models never share a page. Raises ArtifactError that names both."""
    hashes = {
        "campaign": inputs.campaign["about"]["model"]["hash"] if inputs.campaign else None,
        "verify": inputs.verification["model_hash"] if inputs.verification else None,
        "build": inputs.build.get("model_hash") if inputs.build else None,
        "profile": inputs.profile["model_hash"] if inputs.profile else None,
    }
    of = {name: value for name, value in hashes.items() if value is not None}
    if len(set(of.values())) > 1:
        named = ", ".join(f"{name} of model {str(value)[:12]}" for name, value in of.items())
        raise ArtifactError(
            f"these results are of different models ({named}); run the older commands again, or name the files that belong together"
        )


def _kind(document: Document) -> str | None:
    """Which of the Inputs a document is: by the key that nothing else has."""
    if (named := {"edgechaos.campaign": "campaign", "edgechaos.profile": "profile"}.get(str(document.get("kind")))) is not None:
        return named
    return next((kind for key, kind in (("comparisons", "verification"), ("flash_bytes", "build")) if key in document), None)
