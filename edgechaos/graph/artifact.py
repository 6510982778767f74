"""One file per model: safetensors weights, the graph as JSON in its header, a content hash and a format version.

What is read is hostile until checked: names, shapes and dtypes are validated against the bytes before anything is built, unknown
keys are refused, nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

import cattrs
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from edgechaos.graph.heads import Head
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.graph.node import NODE_KINDS, Node
from edgechaos.graph.tensors import Constant, Tensor
from edgechaos.support.errors import ArtifactError, EdgeChaosError
from edgechaos.support.files import read_file, write_atomic
from edgechaos.support.registry import load_all

FORMAT_VERSION = 1
"""Changes whenever docs/semantics.md changes what a stored graph computes."""
KEY = "edgechaos"
KINDS = "edgechaos.graph.kinds"
"""The folder of node kinds, and the entry-point group of plug-ins' modules."""
MAX_HEADER = 1 << 23
"""Bytes: the largest vocabulary has 65,534 words. JSON of 8 MB becomes some 100 MB of objects."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """The JSON part of an artifact."""

    format: int
    hash: str
    name: str
    tensors: tuple[Tensor, ...]
    constants: dict[str, dict[str, Any]]
    nodes: tuple[Node, ...]
    heads: tuple[Head, ...]
    metadata: dict[str, Any]


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    converter.register_structure_hook_func(lambda t: t is Node, lambda value, _: _structure_node(converter, value))
    return converter


def _structure_node(converter: cattrs.Converter, value: Mapping[str, Any]) -> Node:
    rest = dict(value)
    kind = rest.pop("kind", None)
    if kind not in NODE_KINDS:
        load_all(KINDS, KINDS)
    if kind not in NODE_KINDS:
        raise ArtifactError(f"node kind {kind!r} is not known; this version knows {', '.join(NODE_KINDS)}")
    node: Node = converter.structure(rest, NODE_KINDS[kind])
    return node


def _describe(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, ArtifactError) else cattrs.v.format_exception(error, kind)


def _plain(value: Any) -> Any:
    """JSON of a dataclass without the fields that hold their default: a field added later changes no stored model's hash."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"kind": type(value).__name__} if isinstance(value, Node) else {}
        return kind | {f.name: _plain(v) for f in fields(value) if (v := getattr(value, f.name)) != _default(f)}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _default(of: Field[Any]) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def _graph_json(graph: IntegerGraph) -> dict[str, Any]:
    return {
        "name": graph.name,
        "tensors": [_plain(t) for t in graph.tensors.values()],
        "constants": {k: {"bits": c.bits, "scale": list(c.scale)} for k, c in graph.constants.items()},
        "nodes": [_plain(n) for n in graph.nodes],
        "heads": [_plain(h) for h in graph.heads],
        "metadata": dict(graph.metadata),
    }


def content_hash(graph: IntegerGraph) -> str:
    """SHA-256 (64 hex digits) over what the model computes and says of itself, independent of file layout."""
    digest = hashlib.sha256(json.dumps({"format": FORMAT_VERSION, **_graph_json(graph)}, sort_keys=True).encode())
    for name in sorted(graph.constants):
        value = np.ascontiguousarray(graph.constants[name].value)
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def to_bytes(graph: IntegerGraph) -> bytes:
    """The whole file, byte-identical for equal graphs."""
    stored = {"format": FORMAT_VERSION, "hash": content_hash(graph), **_graph_json(graph)}
    arrays = {name: np.ascontiguousarray(c.value) for name, c in sorted(graph.constants.items())}
    return save_safetensors(arrays, metadata={KEY: json.dumps(stored, sort_keys=True)})


def save(graph: IntegerGraph, path: str | os.PathLike[str]) -> str:
    """Validate and write atomically; returns the content hash."""
    write_atomic(path, to_bytes(graph.validate()))
    return content_hash(graph)


def load(path: str | os.PathLike[str]) -> IntegerGraph:
    """Read, check and validate an artifact.

    Raises ArtifactError where it is missing, truncated, corrupt, of another format, or hostile, and GraphError where
    the graph inside breaks a rule.
    """
    data = read_file(path, "artifact")
    try:
        return from_bytes(data)
    except ArtifactError as error:
        raise ArtifactError(f"{os.fspath(path)}: {error}", os.fspath(path)) from error


def from_bytes(data: bytes) -> IntegerGraph:
    """The graph in an artifact's bytes; errors as for `load`."""
    remedy = "write it again with `edgechaos quantize`"
    try:
        header = read_header(data)
        arrays: dict[str, NDArray[Any]] = load_safetensors(data)
        document = json.loads(header["__metadata__"][KEY])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"not an EdgeChaos artifact, or truncated ({error}); {remedy}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT_VERSION:
        found = document.get("format") if isinstance(document, dict) else None
        raise ArtifactError(f"format version {found} is not {FORMAT_VERSION}, the one this release reads; {remedy}")
    try:
        stored = _converter().structure(document, _Stored)
        graph = _assemble(stored, arrays)
        graph.validate()
        actual = content_hash(graph)
    except EdgeChaosError as error:
        raise ArtifactError(f"the model inside breaks a rule: {error}") from error
    except Exception as error:  # cattrs raises groups of anything: every one means a malformed document
        raise ArtifactError(
            f"the graph inside is malformed: {'; '.join(cattrs.transform_error(error, format_exception=_describe)[:3])}"
        ) from error
    if actual != stored.hash:
        raise ArtifactError(f"content hash {actual[:12]} is not the recorded {stored.hash[:12]}: the file was altered; {remedy}")
    return graph


def read_header(data: bytes) -> Any:
    """The JSON header of a safetensors file. Raises ValueError where it is larger than MAX_HEADER or no JSON."""
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER:
        raise ValueError(f"its header claims {size:,} bytes, more than {MAX_HEADER:,}")
    return json.loads(data[8 : 8 + size])


def _assemble(stored: _Stored, arrays: Mapping[str, NDArray[Any]]) -> IntegerGraph:
    if arrays.keys() != stored.constants.keys():
        raise ArtifactError(f"weights and graph disagree about {sorted(arrays.keys() ^ stored.constants.keys())[:3]}")
    constants = {}
    for name, about in stored.constants.items():
        if set(about) != {"bits", "scale"}:
            raise ArtifactError(f"constant '{name}' must have 'bits' and 'scale'")
        constants[name] = Constant(arrays[name].copy(), int(about["bits"]), tuple(float(s) for s in about["scale"]))
    tensors = {t.name: t for t in stored.tensors}
    if len(tensors) != len(stored.tensors):
        raise ArtifactError("two tensors share a name")
    return IntegerGraph(stored.name, tensors, constants, stored.nodes, stored.heads, stored.metadata)
