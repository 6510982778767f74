"""What several commands share besides options: data for a model, names of models, run-time parameters."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgechaos.cli.file_kinds import unwritable
from edgechaos.cli.show import note
from edgechaos.support.errors import ConfigError, DataError, EdgeChaosError

if TYPE_CHECKING:  # NumPy alone would double the time that --help takes
    import numpy as np
    from numpy.typing import NDArray

    from edgechaos.data import Dataset
    from edgechaos.graph.integer_graph import IntegerGraph
    from edgechaos.graph.tokenizer import Text


def destination(output: Path | None, default: Path) -> Path:
    """Where a command writes without -o. Raises ConfigError before the work where nothing can be written there."""
    if output is None and (why := unwritable(default)) is not None:
        raise ConfigError(f"{why}, with -o", "output")
    return output or default


def dataset_for(graph: IntegerGraph, data_name: str | None, head: str | None = None) -> Dataset:
    """The data set of that name, or the one that the model's head, by default the first, was trained on.

    Raises DataError where none is given and the model's own is not found (`edgechaos.data.remembered`).
    """
    spec = graph.head(head)
    record = graph.metadata.get("dataset") or graph.metadata.get("datasets", {}).get(spec.name)
    return chosen_data(data_name, record, f"model '{graph.name}'", spec.encoding.text, graph.tensors[spec.input].size)


def chosen_data(data_name: str | None, record: object, where: str, text: Text | None = None, length: int = 0) -> Dataset:
    """The data set of --data, or without it the one on record, `length` tokens of `text` where `text` is given.

    record: the `dataset` of a checkpoint or an artifact, `where`. Raises DataError where it cannot be had.
    """
    from edgechaos.data.remembered import recall

    if data_name is None:
        return recall(record if isinstance(record, dict) else {}, where, text, length)
    return noted(load_data(data_name).tokenized(text, length), data_name) if text is not None else load_data(data_name)


def load_data(name: str, *, download: bool = False) -> Dataset:
    """The data set of a name or a path. Where a path lies is remembered on this machine, so that later commands find it."""
    from edgechaos.data import load

    return noted(load(name, download=download), name)


def noted(data: Dataset, name: str) -> Dataset:
    """The data set as it came; where it was read from a path, that is remembered under its hash."""
    from edgechaos.data.remembered import remember

    try:
        remember(data, name)
    except EdgeChaosError as error:
        note(f"note: where {name} lies is not remembered ({error}); give it to later commands with --data")
    return data


def items_for(
    graph: IntegerGraph, data_name: str | None, count: int | None, default: int | None = None, head: str | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """As `codes_of`, of `dataset_for`."""
    return codes_of(graph, dataset_for(graph, data_name, head), count, default, head)


def codes_of(
    graph: IntegerGraph, data: Dataset, count: int | None, default: int | None = None, head: str | None = None
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The first `count` test items as codes for a head of the graph, by default the first, and their labels.

    Without a count: `default` of them, or all where there are fewer or there is no default.
    Raises DataError where the data set has fewer test items than were asked for.
    """
    from edgechaos.reference import encode

    if count is not None and len(data.test_items) < count:
        raise DataError(
            f"data set '{data.name}' has {len(data.test_items):,} test items, fewer than the {count:,} asked for; lower the count"
        )
    items = data.test_items[: count or default]
    return encode(graph, items, head), data.test_labels[: len(items)]


def identifier(text: str) -> str:
    """A model's name from a file's: it reaches C, so it is lower case, digits and underscores."""
    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")[:48]
    return name if name[:1].isalpha() else f"model_{name}"


def save_named(graph: IntegerGraph, path: Path) -> tuple[IntegerGraph, str]:
    """Save an artifact under the name of its file; returns the renamed graph and its content hash."""
    from dataclasses import replace

    from edgechaos.graph import artifact

    named = replace(graph, name=identifier(path.stem))
    return named, artifact.save(named, path)


def bits_label(weight_bits: int | dict[str, int]) -> str:
    """`int8`, or `int4 (conv0 8)`."""
    if isinstance(weight_bits, int):
        return f"int{weight_bits}"
    named = ", ".join(f"{node} {width}" for node, width in weight_bits.items() if node != "*")
    return f"int{weight_bits.get('*', 8)} ({named})"


def parameters_for(graph: IntegerGraph, temperature: float | None) -> dict[str, int]:
    """The run-time parameters that set every ThermalNoise node to a temperature; none without one.

    Raises ConfigError for a model that has no temperature, GraphError for one above what the model carries.
    """
    if temperature is None:
        return {}
    nodes = [node for node in graph.nodes if node.parameter() is not None]
    if not nodes:
        raise ConfigError(f"model '{graph.name}' has no thermal noise: --temperature means nothing to it, leave it out", "temperature")
    return {node.name: node.parameter_at(graph, temperature) for node in nodes}
