"""Every rule of a graph that the targets rely on, except the accumulators' bounds (`edgechaos.graph.analysis`).

The rules of a graph as a whole are here, those of each kind of node in its class. A GraphError names the node and the rule; graphs
may come from hostile files. Source: docs/semantics.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import numpy as np

from edgechaos.graph.heads import Head
from edgechaos.graph.node import NODE_KINDS, Graph
from edgechaos.graph.rules import MAX_TICKS, require
from edgechaos.graph.signals import MAX_REACH, MIN_REACH, is_float32
from edgechaos.graph.tensors import DTYPE_RANGE, FAULT_CONSTANT, IDENTIFIER, Constant, Tensor, fault_constant
from edgechaos.graph.tokenizer import FIRST_WORD, MAX_WORDS, PATTERNS

MAX_ELEMENTS = 1 << 26
MAX_DEPTH = 32
MAX_SITE = 0x1000
"""What `edgechaos.arithmetic.streams` sets aside for dead units, by site."""
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def check(graph: Graph) -> None:
    """Raises GraphError at the first rule that the graph breaks."""
    _check_names(graph)
    _check_metadata(graph)
    for tensor in graph.tensors.values():
        _check_tensor(tensor)
    for name, constant in graph.constants.items():
        _check_constant(name, constant)
    _check_order(graph)
    for node in graph.nodes:
        node.check(graph)
    for head in graph.heads:
        _check_head(graph, head)


def _check_names(graph: Graph) -> None:
    faulty = {name for n in graph.nodes for f, name in n.constants() if name == fault_constant(n.name, f)}
    own = [name for name in graph.constants if name not in faulty]
    names = [graph.name, *graph.tensors, *own, *(n.name for n in graph.nodes), *(h.name for h in graph.heads)]
    for name in names:
        require(bool(IDENTIFIER.fullmatch(name)), None, f"name {name!r} is not of the form [a-z_][a-z0-9_]* (63 at most)")
    require(len({n.name for n in graph.nodes}) == len(graph.nodes), None, "two nodes share a name")
    sites = {index if node.site is None else node.site for index, node in enumerate(graph.nodes)}
    good = len(sites) == len(graph.nodes) and all(n.site is None or 0 <= n.site < MAX_SITE for n in graph.nodes)
    require(good, None, f"two nodes have one site, or one beyond 0..{MAX_SITE - 1}")
    require(len({h.name for h in graph.heads}) == len(graph.heads), None, "two heads share a name")
    require(bool(graph.nodes) and bool(graph.heads), None, "a graph needs at least one node and one head")
    for key, tensor in graph.tensors.items():
        require(key == tensor.name, None, f"tensor '{key}' is filed under another name than its own, '{tensor.name}'")


def _check_metadata(graph: Graph) -> None:
    """People read it on terminals and in reports: no control characters; and no nesting that recursion could not follow."""
    layer: list[object] = [dict(graph.metadata)]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for value in layer:
            if isinstance(value, Mapping):
                inner += [*value.keys(), *value.values()]
            elif isinstance(value, list | tuple):
                inner += value
            elif isinstance(value, str):
                require(_CONTROL.search(value) is None, None, f"metadata: {value[:80]!r} has a control character")
        layer = inner
    require(not layer, None, f"metadata is nested deeper than {MAX_DEPTH} levels")


def _check_tensor(tensor: Tensor) -> None:
    require(tensor.dtype in DTYPE_RANGE, None, f"tensor '{tensor.name}': unknown dtype {tensor.dtype!r}")
    good = len(tensor.shape) > 0 and all(d > 0 for d in tensor.shape) and 0 <= tensor.ticks <= MAX_TICKS
    require(good and tensor.size <= MAX_ELEMENTS, None, f"tensor '{tensor.name}': shape {tensor.shape} is not acceptable")
    good = tensor.scale is None or (math.isfinite(tensor.scale) and tensor.scale > 0)
    require(good, None, f"tensor '{tensor.name}': scale {tensor.scale} is not a positive number")


def _check_constant(name: str, constant: Constant) -> None:
    value = constant.value
    good = value.dtype in (np.int8, np.int16, np.uint16, np.int32, np.uint32) and value.ndim > 0 and 0 < value.size <= MAX_ELEMENTS
    require(good, None, f"constant '{name}': {value.dtype} {value.shape} is not acceptable")
    packed = value.dtype == np.int8 and constant.bits in (2, 4)
    require(
        packed or constant.bits == 8 * value.dtype.itemsize,
        None,
        f"constant '{name}': {constant.bits} stored bits do not go with {value.dtype}; int8 may be stored in 8, 4 or 2",
    )
    if packed:
        # The overflow proof takes the stored width at its word.
        reach = 1 << (constant.bits - 1)
        require(bool(((value >= -reach) & (value < reach)).all()), None, f"constant '{name}': a value does not fit {constant.bits} bits")
    require(all(math.isfinite(s) and s > 0 for s in constant.scale), None, f"constant '{name}': a scale is not a positive number")


def _check_order(graph: Graph) -> None:
    written: set[str] = set()
    inputs = {h.input for h in graph.heads}
    for node in graph.nodes:
        require(NODE_KINDS.get(type(node).__name__) is type(node), node, f"kind {type(node).__name__} is not known")
        for tensor_name in (*node.inputs(), node.output):
            require(tensor_name in graph.tensors, node, f"tensor '{tensor_name}' is not declared")
        for f, constant_name in node.constants():
            require(constant_name in graph.constants, node, f"{f} '{constant_name}' is not declared")
            of_another = FAULT_CONSTANT.fullmatch(constant_name) and constant_name != fault_constant(node.name, f)
            require(not of_another, node, f"{f} '{constant_name}' is what a fault puts into another place")
        for name in node.inputs():
            require(name in written or name in inputs, node, f"reads '{name}' before it is written")
        require(node.output not in written and node.output not in inputs, node, f"writes '{node.output}' a second time")
        written.add(node.output)


def _check_head(graph: Graph, head: Head) -> None:
    where = f"head '{head.name}'"
    require(head.input in graph.tensors, None, f"{where}: input '{head.input}' is not declared")
    _check_entry(graph, head, where)
    label = graph.producer(head.label)
    require(
        label is not None and label.is_class and label.input == head.logits,
        None,
        f"{where}: its class must be the ArgMax of '{head.logits}'",
    )
    path = graph.path(head.name)
    written = {node.output for node in path}
    entry = next((name for node in path for name in node.inputs() if name not in written and name != head.input), head.input)
    require(entry == head.input, None, f"{where}: its logits come from '{entry}', not from its input '{head.input}'")
    require(all(name.isprintable() for name in head.classes), None, f"{where}: the name of a class has a character that is not printable")
    count = graph.tensors[head.logits].size
    require(len(head.classes) == count, None, f"{where}: {len(head.classes)} classes for {count} logits")
    used: dict[int, str] = {}
    for node in path:
        for stream in node.streams():
            require(stream not in used, node, f"draws from stream {stream}, which '{used.get(stream)}' uses: their draws would be equal")
            used[stream] = node.name


def _check_entry(graph: Graph, head: Head, where: str) -> None:
    entry, encoding = graph.tensors[head.input], head.encoding
    readers = graph.readers(head.input)
    bags = [(n, rows) for n in readers if (rows := n.vocabulary(graph)) is not None]
    wanted = "uint16" if bags else "int8"
    require((entry.dtype, entry.ticks) == (wanted, 0), None, f"{where}: its input must be {wanted} without ticks, not {entry.dtype}")
    require(encoding.kind in ("pixels", "codes", "tokens", "signals"), None, f"{where}: unknown encoding {encoding.kind!r}")
    require((encoding.kind == "tokens") == (encoding.text is not None), None, f"{where}: encoding 'tokens', and no other, has a text")
    require(
        encoding.kind not in ("pixels", "signals") or not bags, None, f"{where}: token ids are not {encoding.kind}; use 'tokens' or 'codes'"
    )
    channels = len(encoding.mean)
    good = channels == len(encoding.reach) and (channels > 0) == (encoding.kind == "signals") and entry.size % max(channels, 1) == 0
    require(good, None, f"{where}: encoding 'signals', and no other, has a mean and a reach for each channel of its {entry.size} inputs")
    good = all(is_float32(m) for m in encoding.mean) and all(is_float32(r) and MIN_REACH <= r <= MAX_REACH for r in encoding.reach)
    require(good, None, f"{where}: a mean is not a float32, or a reach not one of 2^-90..2^90")
    if encoding.text is None:
        return
    words = encoding.text.vocabulary
    require(bool(bags), None, f"{where}: encoding 'tokens' needs an EmbeddingBag that reads '{head.input}'")
    require(
        encoding.text.pattern in PATTERNS,
        None,
        f"{where}: unknown token pattern {encoding.text.pattern!r}; use one of {', '.join(PATTERNS)}",
    )
    require(
        len(set(words)) == len(words) <= MAX_WORDS, None, f"{where}: its vocabulary names a word twice or has more than {MAX_WORDS} words"
    )
    for bag, rows in bags:
        require(
            rows == len(words) + FIRST_WORD, bag, f"has {rows} rows for a vocabulary of {len(words)} words, padding and the unknown word"
        )
