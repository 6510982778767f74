"""Draws docs/architecture.svg from the code: `python -m tests.house.drawing`. tests/house/test_design.py compares the two.

A column is a package, a box a folder or module of it with the first words of its own docstring, from what knows least, at the
bottom, to what knows most. Arrows are the imports between packages.
"""

from __future__ import annotations

import ast
import re
import textwrap
from html import escape

from tests.helpers.places import ROOT
from tests.house.test_circles import ORDER, PACKAGES, imported, modules

FILE = ROOT / "docs" / "architecture.svg"
WIDTH, GAP, BOX, LEFT, TOP = 228, 18, 50, 20, 172
COLORS = {"edgechaos": "#2f6f9f", "export": "#7a5aa6", "firmware_gen": "#2e7d5b", "devices": "#b0662a", "hil": "#a83f55"}
FLOW = {
    "edgechaos": "torch → floats → integer graph",
    "export": "→ ONNX, TVM",
    "firmware_gen": "→ C, ELF, host library",
    "devices": "→ logits, counts",
    "hil": "→ trials → ledger → report",
}
HIDDEN = {"__init__", "__main__"}
STYLE = "text{font-family:Helvetica,Arial,sans-serif;fill:#1d2530}.s{font-size:11px;fill:#48525e}.b{font-size:13px;font-weight:bold}"


def full_name(package: str, part: str = "") -> str:
    return ".".join(filter(None, ("edgechaos", "" if package == "edgechaos" else package, part)))


def says(module: str) -> str:
    """The first sentence of a module's docstring."""
    text = (ast.get_docstring(ast.parse(modules()[module].read_text())) or "").split("\n")[0]
    return re.split(r"[.;](?:\s|$)| \(", text.replace("`", ""))[0]


def parts(package: str) -> list[str]:
    """The folders and modules of a package that there are, from what knows least."""
    order = ORDER["" if package == "edgechaos" else package]
    return [part for part in order if part not in HIDDEN and full_name(package, part) in modules()]


def package_of(module: str) -> str:
    second = module.removeprefix("edgechaos").lstrip(".").partition(".")[0]
    return second if second in PACKAGES else "edgechaos"


def edges() -> set[tuple[str, str]]:
    """(package, package that it imports); the command line and the face, which reach everything, left out."""
    reaching = {"edgechaos", "edgechaos.__main__", *(m for m in modules() if m.startswith("edgechaos.cli"))}
    pairs = {(package_of(m), package_of(other)) for m in modules() if m not in reaching for other in imported(m)}
    return {(a, b) for a, b in pairs if a != b}


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def drawing() -> str:
    tall = max(len(parts(package)) for package in PACKAGES)
    bottom = TOP + tall * BOX
    width = 2 * LEFT + len(PACKAGES) * (WIDTH + GAP) - GAP
    center = {package: LEFT + k * (WIDTH + GAP) + WIDTH / 2 for k, package in enumerate(PACKAGES)}
    between = sorted(edges(), key=lambda e: (PACKAGES.index(e[0]) - PACKAGES.index(e[1]), PACKAGES.index(e[0])))
    height = bottom + 40 + 14 * len(between)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="The packages of EdgeChaos">',
        "<!-- generated: python -m tests.house.drawing -->",
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="#ffffff"/>',
        '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z"/></marker>',
        text(LEFT, 30, "A box imports only boxes below it and packages to its left; edgechaos.cli alone reaches everything, lazily.", "b"),
        text(LEFT, 50, "Arrows at the bottom: which package imports which.", "s"),
    ]
    for package in PACKAGES:
        x, color = center[package] - WIDTH / 2, COLORS[package]
        out.append(
            f'<rect x="{x:g}" y="66" width="{WIDTH}" height="{bottom - 60}" rx="8" fill="{color}" fill-opacity="0.07" stroke="{color}"/>'
        )
        out.append(text(center[package], 88, full_name(package), "b", "middle"))
        lines = [*textwrap.wrap(says(full_name(package)), 36, max_lines=3, placeholder=" …"), FLOW[package]]
        out += [text(center[package], 108 + 16 * k, line, "s", "middle") for k, line in enumerate(lines)]
        for k, part in enumerate(parts(package)):
            y = bottom - (k + 1) * BOX
            out.append(f'<rect x="{x + 8:g}" y="{y}" width="{WIDTH - 16}" height="{BOX - 6}" rx="5" fill="#ffffff" stroke="{color}"/>')
            lines = textwrap.wrap(says(full_name(package, part)), 34, max_lines=2, placeholder=" …")
            out.append(text(x + 15, y + 14, part, "b"))
            out += [text(x + 15, y + 26 + 12 * n, line, "s") for n, line in enumerate(lines)]
    for k, (a, b) in enumerate(between):
        y = bottom + 24 + 14 * k
        start, end = center[a] - 70 + 22 * k, center[b] + 70 - 22 * PACKAGES.index(a)
        path = f"M{start:g} {bottom + 6}V{y}H{end:g}V{bottom + 8}"
        out.append(f'<path d="{path}" fill="none" stroke="{COLORS[a]}" stroke-width="1.6" marker-end="url(#a)"/>')
    return "\n".join([*out, "</svg>", ""])


if __name__ == "__main__":
    FILE.write_text(drawing())
