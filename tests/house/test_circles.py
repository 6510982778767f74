"""No two modules need each other, in whatever way they are imported; each package, and each folder in it, imports only downward."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

PACKAGES = ("edgechaos", "export", "firmware_gen", "devices", "hil")
ORDER = {
    "": [
        "support",
        "arithmetic",
        "graph",
        "faults",
        "reference",
        "floatgraph",
        "data",
        "models",
        "train",
        "prune",
        "quantize",
        "harden",
        "sweeps",
        "continual",
        "cli",
        "__init__",
        "__main__",
    ],
    "export": ["__init__", "exporters", "onnx", "tvm", "engines", "verify", "plans"],
    "firmware_gen": [
        "__init__",
        "places",
        "core",
        "cores",
        "ports",
        "protocol",
        "board",
        "plan",
        "compilers",
        "toolchain",
        "toolchains",
        "project",
        "projects",
    ],
    "devices": [
        "__init__",
        "contract",
        "entry",
        "conformance",
        "meters",
        "protocol",
        "fakes",
        "boards",
        "host",
        "emulators",
        "kinds",
        "registry",
        "hardware_map",
        "pytest_plugin",
    ],
    "hil": ["__init__", "campaign", "execute", "energy", "analysis", "repair", "report", "runner", "harden"],
}
"""Inside a package, from what knows least to what knows most. `devices.kinds` opens the others."""
REGISTRY = "edgechaos.support.registry"


@cache
def modules() -> dict[str, Path]:
    """Every module by its import name; the links inside edgechaos/ are not followed."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if package == "edgechaos" and parts[1] in PACKAGES[1:]:
                continue
            name = parts if package == "edgechaos" else ("edgechaos", *parts)
            found[".".join(name[:-1] if name[-1] == "__init__" else name)] = path
    return found


@cache
def imported(name: str) -> frozenset[str]:
    """What a module imports anywhere in its text: at the top, in a function, for type checkers."""
    found = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            longer = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if full in modules() else str(node.module) for full in longer}
    return frozenset(found & modules().keys()) - {name}


def circles(edges: dict[str, frozenset[str]]) -> list[tuple[str, ...]]:
    """Groups of modules that reach each other."""
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for to in edges[waiting.pop()] - seen:
                seen.add(to)
                waiting.append(to)
        reach[start] = seen
    return sorted({tuple(sorted(b for b in reach[a] if a in reach[b])) for a in edges if a in reach[a]}, key=str)


def test_a_circle_is_found() -> None:
    edges = {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset("b"), "d": frozenset("a")}
    assert circles(edges) == [("b", "c")]
    assert circles({"a": frozenset("b"), "b": frozenset()}) == []


def test_no_two_modules_need_each_other() -> None:
    assert circles({name: imported(name) for name in modules()}) == []


def test_modules_are_imported_by_name_in_one_place() -> None:
    found = [n for n, path in modules().items() if "import_module" in path.read_text() or "__import__(" in path.read_text()]
    assert found == [REGISTRY]


@pytest.mark.parametrize("name", [n for n in modules() if "." in n])
def test_no_module_imports_the_face_of_its_own_package(name: str) -> None:
    path = modules()[name]
    own = {".".join(name.split(".")[:k]) for k in range(1, name.count(".") + (2 if path.name == "__init__.py" else 1))} - {name}
    faces = {face for face in own if len(ast.parse(modules()[face].read_text()).body) > 1}
    assert not imported(name) & faces - ({"edgechaos.cli"} if name == "edgechaos.__main__" else set())


@pytest.mark.parametrize("package", ORDER)
def test_inside_a_package_imports_point_downward(package: str) -> None:
    order, prefix = ORDER[package], ("edgechaos", package) if package else ("edgechaos",)

    def place(name: str) -> int | None:
        parts = tuple(name.split("."))
        if parts[: len(prefix)] != prefix or (not package and len(parts) > 1 and parts[1] in PACKAGES):
            return None
        return order.index(parts[len(prefix)] if len(parts) > len(prefix) else "__init__")

    wrong = [
        f"{name} imports {other}"
        for name in modules()
        for other in imported(name)
        if (a := place(name)) is not None and (b := place(other)) is not None and b > a
    ]
    assert not wrong
