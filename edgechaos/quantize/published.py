"""A published checkpoint to an integer graph in one call, refused where it is less accurate than it was.

A wrong answer about a network (a stride, an activation, a normalization) costs accuracy and nothing else: whoever knows the
accuracy can have it checked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgechaos.data import Dataset
from edgechaos.graph.integer_graph import IntegerGraph
from edgechaos.models.evaluate import evaluate
from edgechaos.models.importers import load_published
from edgechaos.quantize.pipeline import quantize
from edgechaos.support.errors import ConfigError, VerificationError

TOLERANCE = 0.01
"""One point: test sets differ, and so do sums of floats; a wrong architecture costs more."""


def import_published(
    path: str | os.PathLike[str],
    data: Dataset,
    *,
    expect_accuracy: float | None = None,
    tolerance: float = TOLERANCE,
    quantization: Mapping[str, Any] | None = None,
    **answers: Any,
) -> tuple[IntegerGraph, Dataset]:
    """The integer graph of a published checkpoint, calibrated on training items, and the data set as the model reads it.

    answers: as for `load_published`. quantization: options of `edgechaos.quantize.pipeline.quantize`, such as weight_bits.
    expect_accuracy: in 0..1, on the test items of `data`; where it is given, the architecture of a plain network may be left out: the
    form `plain` is tried.
    Raises VerificationError where the float or the integer accuracy is below expect_accuracy - tolerance, and what `load_published` and
    `quantize` raise.
    """
    place = os.fspath(path)
    if expect_accuracy is not None and not (0 < expect_accuracy <= 1 and 0 <= tolerance < 1):
        raise ConfigError(f"expect_accuracy = {expect_accuracy!r}, tolerance = {tolerance!r}: both are shares in 0..1", "expect_accuracy")
    model = load_published(path, assume_plain=expect_accuracy is not None, classes=data.classes, **answers)
    text = getattr(model.config, "text", None)
    if text is not None:
        data = data.tokenized(text, model.config.inputs)
    accuracy = evaluate(model, data)
    _check(place, "float", accuracy, expect_accuracy, tolerance, len(data.test_items))
    model.facts = {"accuracy": {"float": accuracy, "items": len(data.test_items)}, "imported": Path(place).name}
    graph = quantize(model, data, **{"method": "ptq", **(quantization or {})})
    _check(place, "integer", graph.metadata["accuracy"]["integer"], expect_accuracy, tolerance, len(data.test_items))
    return graph, data


CAUSES: Mapping[str, str] = MappingProxyType(
    {
        "float": "the architecture, the normalization, the data set or another answer is not what the network was trained with",
        "integer": "quantization costs too much; give it more weight bits, or one scale per channel",
    }
)


def _check(place: str, what: str, accuracy: float, expected: float | None, tolerance: float, items: int) -> None:
    if expected is not None and accuracy < expected - tolerance:
        wanted = f"expected {expected:.2%}, less {100 * tolerance:g} points at most"
        raise VerificationError(f"{place}: {what} accuracy {accuracy:.2%} on {items:,} test items, {wanted}: {CAUSES[what]}")
