"""Every block of code in the documentation: run, in the order of its page, in a folder with one model.

Commands run with fewer epochs and items than the page's (FEWER), the campaign with two masks. A block after a comment
`<!-- not run: REASON -->` is checked for what can be checked: that commands have the options, files exist, code compiles.
A block whose first line is a comment with a file's name is that file, for the blocks that follow. Of a workflow of GitHub Actions, the
commands of its steps run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from edgechaos.cli import main
from tests.helpers.places import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:# |/\* )(?P<name>\w+\.(?:toml|c|py))(?: \*/)?\n")
FEWER = {
    "train": ("--epochs", "1"),
    "quantize": ("--epochs", "1"),
    "verify": ("--items", "10", "--fault-items", "2"),
    "run": ("--items", "20"),
    "repair": ("--items", "20", "--fit-items", "200"),
}


@dataclass(frozen=True)
class Block:
    """reason: why it is not run; empty where it is."""

    page: str
    line: int
    language: str
    text: str
    reason: str

    def commands(self) -> list[list[str]]:
        """The words of every line, comments and leading assignments left out; of a workflow, those of its steps."""
        text = "\n".join(self.steps()) if self.language == "yaml" else self.text
        lines = [shlex.split(line, comments=True) for line in text.splitlines()]
        return [list(dropwhile(lambda w: "=" in w and w.split("=")[0].isupper(), words)) for words in lines if words]

    def steps(self) -> list[str]:
        """What a workflow runs; nothing for another YAML document, which must be readable all the same."""
        document = yaml.safe_load(self.text)
        jobs = document.get("jobs", {}) if isinstance(document, dict) else {}
        return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page.name, text.count("\n", 0, m.start("text")), m["language"], m["text"], m["reason"] or "") for m in BLOCK.finditer(text)
    ]


EVERY = [block for page in PAGES for block in blocks(page)]
RUN = sorted({block.page for block in EVERY if not block.reason})


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the model that the pages speak of, and the example campaign with few masks, rates and items."""
    folder = tmp_path
    monkeypatch.chdir(folder)
    for name, source in (("pixels.ecm", "pixels.ecm"), ("model.ecm", "pixels.ecm"), ("pixels.safetensors", "pixels.safetensors")):
        shutil.copy(ROOT / "benchmarks" / source, folder / name)
    (folder / "examples").mkdir()
    text = (ROOT / "examples" / "demo.toml").read_text()
    for long, short in ((r"masks = \d+", "masks = 2"), (r"(images|count) = \d+", r"\1 = 20"), (r"rates = \[.*\]", "rates = [0, 0.5]")):
        text = re.sub(long, short, text)
    (folder / "examples" / "demo.toml").write_text(text)
    return folder


@pytest.mark.trains
@pytest.mark.parametrize("page", RUN)
@pytest.mark.usefixtures("folder")
def test_blocks_run(page: str) -> None:
    module = ModuleType("page")
    for block in (b for b in EVERY if b.page == page and not b.reason):
        if named_file := FILE.match(block.text):
            Path(named_file["name"]).write_text(block.text)
        if block.language == "python" and not named_file:
            exec(compile(block.text, named(block), "exec"), module.__dict__)
        elif block.language in ("sh", "yaml"):
            for words in block.commands():
                execute(words, named(block))
        else:
            check(block)


def execute(words: list[str], where: str) -> None:
    """One command line of ours, smaller than it stands there; the tests of a page's files."""
    if words[0] == "pytest":
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p edgechaos.devices.pytest_plugin"}
        done = subprocess.run([sys.executable, "-m", *words], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{where}: {' '.join(words)}\n{done.stdout}{done.stderr}"
        return
    if words[0] == "pip":
        check_command(words)
        return
    assert words[0] == "edgechaos", f"{where}: '{words[0]}' cannot be run here; mark the block, with the reason"
    fewer = FEWER.get(words[1], ())
    more = [word for option, value in zip(fewer[::2], fewer[1::2], strict=True) if option not in words for word in (option, value)]
    result = CliRunner().invoke(main, [*words[1:], *more])
    assert result.exit_code == 0, f"{where}: {' '.join(words)}\n{result.output}"


@pytest.mark.parametrize("block", [b for b in EVERY if b.reason], ids=named)
def test_blocks_that_are_not_run(block: Block) -> None:
    assert len(block.reason) > 10
    check(block)


def check(block: Block) -> None:
    """What holds for a block whether or not it can be run."""
    if block.language == "toml":
        assert tomllib.loads(block.text)
    elif block.language == "python":
        compile(block.text, named(block), "exec")
    elif block.language == "sh":
        for words in block.commands():
            check_command(words)


def check_command(words: list[str]) -> None:
    if words[0] == "edgechaos":
        command = main.get_command(click.Context(main), words[1])
        assert command is not None, words
        command.make_context(words[1], words[2:])
    elif words[:2] == ["pip", "install"]:
        extras: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        for requirement in words[2:]:
            name, _, wanted = requirement.rstrip("]").partition("[")
            assert name == "edgechaos"
            assert set(filter(None, wanted.split(","))) <= extras.keys(), requirement
    elif words[0] == "pytest":
        assert words[1:]
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), words
    else:
        assert words[0] == "dask", words


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_block_says_its_language_and_none_hides_in_an_indent(page: Path) -> None:
    text = page.read_text()
    assert {block.language for block in blocks(page)} <= {"sh", "python", "toml", "c", "yaml"}
    assert text.count("```") == 2 * len(blocks(page))
    outside = BLOCK.sub("", text)
    assert not re.search(r"^ {4}(edgechaos|pip|python|dask|import|from) ", outside, re.MULTILINE)
