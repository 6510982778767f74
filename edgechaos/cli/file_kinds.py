"""What a file that a user named is, told from its content: a command that was given another kind names it and says what to do with it.

Reads at most PEEK bytes, builds nothing, and decides nothing on its own: a file that is not recognized goes to its reader, whose errors
say more.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edgechaos.support.files import open_regular

PEEK = 1 << 18


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file. called: with its article; advice: what a user may do with the file at `{path}`."""

    called: str
    advice: str


KINDS = {
    "artifact": FileKind("an artifact (.ecm)", "it is quantized already: edgechaos inspect, verify, build, run and campaign take it"),
    "checkpoint": FileKind("a checkpoint", "quantize it first: edgechaos quantize {path}"),
    "published": FileKind("a PyTorch file", "import it first: edgechaos import {path} --data NAME"),
    "safetensors": FileKind("a safetensors file of another program", "load it there and save the state_dict with torch.save; import that"),
    "onnx": FileKind("an ONNX file", "give the artifact (.ecm) that it was exported from"),
    "elf": FileKind("a compiled program or library (ELF)", "give the artifact (.ecm) that it was built from"),
    "library": FileKind("a compiled library", "give the artifact (.ecm) that it was built from"),
    "campaign": FileKind("a campaign file", "run it: edgechaos campaign {path}"),
    "policy": FileKind("a policy file", "hold results to it: edgechaos campaign or compare --policy {path}"),
    "board": FileKind("a board file", "build for it: edgechaos build MODEL.ecm --board {path}"),
    "ledger": FileKind("a campaign's ledger", "results.json beside it holds the results"),
    "results": FileKind("the results of a campaign", "show them: edgechaos report {path}"),
    "comparison": FileKind("a comparison of two campaigns", "compare their results.json again: edgechaos compare FIRST SECOND"),
    "hardening": FileKind("the record of edgechaos harden", "show the folder that it lies in: edgechaos report FOLDER"),
    "verification": FileKind("the result of edgechaos verify", "show it: edgechaos report {path}"),
    "build": FileKind("the record of edgechaos build", "show it: edgechaos report {path}"),
    "profile": FileKind("the result of edgechaos profile", "show it: edgechaos report {path}"),
    "json": FileKind("a JSON file", "results.json, verify's and build.json go to edgechaos report"),
    "arrays": FileKind("a file of arrays (.npz)", "give it as --data {path}"),
    "zip": FileKind("a zip archive", "unpack it first"),
    "gzip": FileKind("a gzip archive", "unpack it first"),
    "page": FileKind("an HTML page", "open it in a browser"),
    "picture": FileKind("a picture", "a folder of pictures with a sub-folder per class is a data set: --data FOLDER"),
}
_MAGIC = (
    (b"\x7fELF", "elf"),
    (b"SQLite format 3\0", "ledger"),
    (b"\x1f\x8b", "gzip"),
    (b"\x89PNG\r\n\x1a\n", "picture"),
    (b"\xff\xd8\xff", "picture"),
    (b"MZ", "library"),
    (b"\xcf\xfa\xed\xfe", "library"),
)


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """The key in KINDS of a regular file; None where it is not recognized, not readable or not there."""
    try:
        with open_regular(path) as file:
            head = file.read(PEEK)
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - PEEK))
            tail = file.read(PEEK)
    except (OSError, ValueError):
        return None
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head.startswith(b"PK\3\4"):
        return "published" if b"data.pkl" in head else "arrays" if b".npy" in head else "zip"
    return _safetensors(head, size) or _onnx(head) or _text(head, tail, size)


def _safetensors(head: bytes, size: int) -> str | None:
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or not 2 <= length <= size - 8:
        return None
    # Not parsed: the header of a large artifact holds more than was read. Its metadata come first.
    metadata = head[8 : 8 + min(length, PEEK)]
    if b'"edgechaos_checkpoint"' in metadata:
        return "checkpoint"
    return "artifact" if b'"edgechaos"' in metadata else "safetensors"


def _onnx(head: bytes) -> str | None:
    """A ModelProto: field 1, ir_version, a small varint; then a length-delimited field of a low number."""
    good = len(head) > 4 and head[0] == 8 and 3 <= head[1] < 32 and head[2] in (0x12, 0x1A, 0x22, 0x32, 0x3A, 0x42)
    return "onnx" if good else None


def _text(head: bytes, tail: bytes, size: int) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "page"
    if start.startswith((b"{", b"[\n", b"[{")) and tail.rstrip().endswith((b"}", b"]")):
        return _json(head, size)
    return _toml(head) if size <= PEEK else None


def _json(head: bytes, size: int) -> str:
    document: Any = None
    if size <= PEEK:
        try:
            document = json.loads(head)
        except (ValueError, RecursionError):
            return "json"
    if isinstance(document, dict):
        for key, kind, of_type in (("comparisons", "verification", list), ("firmware_hash", "build", str)):
            if isinstance(document.get(key), of_type):
                return kind
    names = {"campaign": "results", "comparison": "comparison", "hardening": "hardening", "profile": "profile"}
    kinds = {f'"edgechaos.{name}"'.encode(): kind for name, kind in names.items()}
    return next((kind for name, kind in kinds.items() if name in head[:200]), "json")


def _toml(head: bytes) -> str | None:
    if re.search(rb"^\s*\[\[\s*sweep\s*\]\]", head, re.MULTILINE):
        return "campaign"
    if re.search(rb"^\s*policy\s*=", head, re.MULTILINE):
        return "policy"
    return "board" if all(re.search(rb"^\s*\[?\s*" + key, head, re.MULTILINE) for key in (rb"core\s*=", b"flash", b"ram")) else None


def refusal(path: str | os.PathLike[str], wanted: tuple[str, ...], what: str) -> str | None:
    """Why a file cannot be `what`, and what to do; None where it is of a kind in `wanted`, or of none that is known."""
    kind = kind_of(path)
    if kind is None or kind in wanted:
        return None
    return f"{os.fspath(path)} is {KINDS[kind].called}, not {what}: {KINDS[kind].advice.format(path=os.fspath(path))}"


class InputFile(click.Path):
    """A file that a command reads: of the kinds `wanted`, called `what` in errors. Folders are refused unless `folders`."""

    def __init__(self, what: str, *wanted: str, folders: bool = False) -> None:
        super().__init__(path_type=Path)
        self.what, self.wanted, self.folders = what, wanted, folders

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error where there is a file of another kind. A missing file is its reader's to report."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not self.folders and path.is_dir():
            self.fail(f"{path} is a folder, not {self.what}", param, ctx)
        if (why := refusal(path, self.wanted, self.what)) is not None:
            self.fail(why, param, ctx)
        return path


class NameOrFile(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases alone
    """A name, or the path of a file of the kinds `wanted`: a file of another kind is refused, all else is passed on."""

    def __init__(self, metavar: str, what: str, *wanted: str) -> None:
        self.name, self.what, self.wanted = metavar, what, wanted

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text as it came; a usage error where it is the path of a file of another kind."""
        if (why := refusal(value, self.wanted, self.what)) is not None:
            self.fail(why, param, ctx)
        return value


class Output(click.Path):
    """Where a command will write: checked before hours of work, not after them. Folders on the way are made when it is written."""

    def __init__(self, folder: bool = False) -> None:
        super().__init__(path_type=Path)
        self.folder = folder

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; a usage error where nothing can be written there."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if (why := unwritable(path, self.folder)) is not None:
            self.fail(why, param, ctx)
        return path


def unwritable(path: Path, folder: bool = False) -> str | None:
    """Why no file, or no folder of files, can be written at a path; None where it seems to be possible."""
    try:
        if path.is_dir() and not folder:
            return f"{path} is a folder; name a file in it"
        if path.exists() and not path.is_dir() and folder:
            return f"{path} is a file; name a folder"
        place = path if path.is_dir() else next((p for p in path.absolute().parents if p.exists()), path)
    except (OSError, ValueError) as error:  # a name too long, or with a NUL
        return f"{path}: {getattr(error, 'strerror', None) or error}"
    if not place.is_dir():
        return f"{place} is a file, so that nothing can be written below it; choose another place"
    return None if os.access(place, os.W_OK | os.X_OK) else f"the folder {place} is read-only; choose another place"


ARTIFACT = InputFile("an artifact", "artifact")
CHECKPOINT = InputFile("a checkpoint", "checkpoint")
PUBLISHED = InputFile("a published checkpoint (.pt)", "published")
VOCABULARY = InputFile("a vocabulary (JSON)", "json")
CAMPAIGN = InputFile("a campaign file", "campaign")
POLICY = InputFile("a policy file", "policy")
DATA = NameOrFile("NAME|PATH", "a data set", "arrays")
BOARD = NameOrFile("NAME|FILE.toml", "a board file", "board")
RESULTS = InputFile("results of campaign, verify, build or profile", "results", "verification", "build", "profile", folders=True)
CAMPAIGN_RESULTS = InputFile("results of a campaign", "results", folders=True)
