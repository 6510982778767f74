"""TOML in, frozen dataclasses out: the one way in which people's files become values.

One ConfigError lists every unknown key, missing key and value of a wrong type with its path (`expected a number, got 'x' @
sweep[0].rates[1]`). Types are strict: cattrs alone would read 3.7 as the int 3. Quantities are written with their unit ("0.278 nJ")
and are SI floats from here on.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

import cattrs

from edgechaos.support.errors import ConfigError
from edgechaos.support.files import read_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

PREFIXES = {"": 1.0, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}
_QUANTITY = re.compile(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*([^\s\d]*)\s*")


def quantity(text: object, unit: str) -> float:
    """A number with its unit as an SI float: quantity("0.278 nJ", "J") = 2.78e-10. Percent: quantity("1 %", "1") = 0.01.

    Raises ValueError where the text is not a number, a prefix and that unit.
    """
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        value, symbol = float(match[1]), match[2]
        if unit == "1" and symbol in ("", "%"):
            return value / 100 if symbol else value
        if unit != "1" and symbol.endswith(unit) and symbol.removesuffix(unit) in PREFIXES:
            return value * PREFIXES[symbol.removesuffix(unit)]
    raise ValueError(f'expected a quantity such as "{"1 %" if unit == "1" else f"1 {unit}"}", got {text!r}')


def strict_converter() -> cattrs.Converter:
    """A cattrs converter that refuses unknown keys and values of another type than the one declared."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def number(value: Any, _: type) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"expected a number, got {value!r}")
        try:
            return float(value)
        except OverflowError as error:  # an integer of hundreds of digits
            raise ValueError("expected a number, got one that no float holds") from error

    def exactly(kind: type, name: str) -> None:
        def hook(value: Any, _: type) -> Any:
            if type(value) is not kind:
                raise ValueError(f"expected {name}, got {value!r}")
            return value

        converter.register_structure_hook(kind, hook)

    converter.register_structure_hook(float, number)
    exactly(int, "an integer")
    exactly(str, "a string")
    exactly(bool, "true or false")
    return converter


def structure(document: Any, kind: type[T], where: str, converter: cattrs.Converter | None = None) -> T:
    """The document as an instance of `kind`. Raises ConfigError with every defect and its path; `where` names the file."""
    try:
        return (converter or strict_converter()).structure(document, kind)
    except Exception as error:  # cattrs raises groups of anything that a hook or a __post_init__ raises
        messages = cattrs.transform_error(error, path="", format_exception=_describe)
        keys = [m.rpartition(" @ ")[2].removeprefix(".") for m in messages]
        text = "; ".join(m.replace(" @ .", " @ ").removesuffix(" @ ") for m in messages)
        raise ConfigError(f"{where}: {text}", keys[0] if keys else None) from error


def _describe(error: BaseException, kind: type | None) -> str:
    if isinstance(error, cattrs.errors.ForbiddenExtraKeysError):
        return f"unknown key {', '.join(map(repr, sorted(error.extra_fields)))}"
    if isinstance(error, KeyError):
        return "missing key"
    if isinstance(error, ValueError):
        return str(error)
    return f"expected {getattr(kind, '__name__', kind)}"


MAX_BYTES = 1 << 18
MAX_DOTS = 100
"""Between two commas, brackets or ends of line: the parser's time grows with the square of a dotted key's parts."""
MAX_DEPTH = 32
_BETWEEN = re.compile(r"[,\[\]{}\n]")


def read_toml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    """The document in a TOML file. Raises ConfigError where it is not TOML, EdgeChaosError where it cannot be read."""
    where = f"{what} {os.fspath(path)}"
    data = read_file(path, what, MAX_BYTES)
    try:
        text = data.decode("utf-8-sig")
        if max(part.count(".") for part in _BETWEEN.split(text)) > MAX_DOTS:
            raise ConfigError(f"{where}: has more than {MAX_DOTS} dots in a row; write the table as [section] and short keys")
        document = tomllib.loads(text)
    except ValueError as error:  # of TOML, of UTF-8, and of integers of thousands of digits
        raise ConfigError(f"{where} is not valid TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: brackets are nested too deeply; at most {MAX_DEPTH} levels are read") from error
    if deeper_than(document, MAX_DEPTH):
        raise ConfigError(f"{where}: tables or lists are nested too deeply; at most {MAX_DEPTH} levels are read")
    return document


def deeper_than(document: Any, levels: int) -> bool:
    """Whether dicts and lists lie inside each other beyond that many levels; recursion over such a document would not end well."""
    layer = [document]
    for _ in range(levels):
        layer = [inner for value in layer for inner in _inside(value)]
    return any(isinstance(value, dict | list) for value in layer)


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
