"""One word per thing: the words that docs/glossary.md does not use name nothing in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.places import ROOT

FOLDERS = ("edgechaos", "export", "firmware_gen", "devices", "hil", "benchmarks", "tests")
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
ROW = re.compile(r"^\| \*\*(?P<term>[^|*]+)\*\* \| (?P<meaning>[^|]+) \| (?P<banned>[^|]*)\|$", re.M)
BANNED = {word for row in ROW.finditer(GLOSSARY) for word in re.findall(r"`(\w+)`", row["banned"])}
"""A word in small letters is banned in every name; one with a capital is no class of ours."""
STORED = {"modules_alongside": "part of the names in the state files of interrupted trainings"}
COMMENT_OR_TEXT = re.compile(r"/\*.*?\*/|//[^\n]*|\"[^\"\n]*\"", re.S)


def files(*suffixes: str) -> list[Path]:
    """The links inside edgechaos/ are not followed."""
    return [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*")) if p.suffix in suffixes]


def words(name: str) -> set[str]:
    """`lostSpikes_Q15` -> lost, spikes, q15."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*", name)}


def defined(tree: ast.AST) -> Iterator[str]:
    """The names that a module gives to things; what it imports has the names of others."""
    for node in ast.walk(tree):
        if (isinstance(node, ast.FunctionDef) and not node.name.startswith("test_")) or isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def wrong(names: Iterator[str] | list[str], path: Path) -> list[str]:
    there = {*names, path.stem} - STORED.keys()
    return sorted(name for name in there if words(name) & BANNED or name in BANNED)


def test_the_glossary_is_read() -> None:
    assert {"mortal", "alongside", "Linear", "Winners"} <= BANNED
    assert GLOSSARY.count("\n| **") == len(list(ROW.finditer(GLOSSARY))), "a row that is no row of three cells"
    terms = [row["term"] for row in ROW.finditer(GLOSSARY)]
    assert terms == sorted(set(terms), key=str.lower), "terms in the order of the alphabet, each once"


def test_a_banned_name_is_found() -> None:
    tree = ast.parse("class Linear(nn.Module):\n    def f(self, mortalUnits):\n        self.so_loud = Table()")
    assert wrong(defined(tree), Path("tired.py")) == ["Linear", "mortalUnits", "so_loud", "tired"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_python_names(folder: str) -> None:
    found = {str(p.relative_to(ROOT)): wrong(defined(ast.parse(p.read_text())), p) for p in files(".py") if p.is_relative_to(ROOT / folder)}
    assert not {path: names for path, names in found.items() if names}


def test_c_names() -> None:
    found = {}
    for path in files(".c", ".h", ".S"):
        found[str(path.relative_to(ROOT))] = wrong(re.findall(r"[A-Za-z_]\w*", COMMENT_OR_TEXT.sub(" ", path.read_text())), path)
    assert not {path: names for path, names in found.items() if names}
